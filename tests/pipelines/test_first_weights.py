"""Whether the GAN can start from its first weights is found out before anything else starts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan.checkpoints import weights
from gan.settings import GanSettings
from pipelines.execution import runner
from pipelines.execution.process import run_preflight
from pipelines.execution.runner import check, run
from pipelines.stage import Preflight
from pipelines.stage_types import GAN, GAN_FIELDS, GanStageSettings
from segkit.core.errors import RequestError, SegkitError, WeightsError
from tests.gan.small_networks import networks, states
from tests.pipelines.execution.test_runner import FakeLauncher
from tests.pipelines.tiny import TINY, plan, segkit_here, write_config
from tests.reference import gan_official_pickle as official


@pytest.fixture
def trained(finished_runs: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a GAN trained with the tiny settings."""
    return shutil.copytree(next(finished_runs.glob("gan-*")), tmp_path / "trained")


def settings(**changes: Any) -> Any:
    """The tiny GAN's own settings, some of them changed."""
    return GanSettings.model_validate({key: TINY["gan"][key] for key in TINY["gan"] if key in GAN_FIELDS} | changes)


MISFIT = (
    "trained does not fit: resolution is 16 there and 32 in the settings. Change the settings to the weights' values"
)


@pytest.mark.parametrize(
    "command",
    [
        ["pipeline", "run", "synthetic-aug"],
        ["pipeline", "run", "synthetic-aug", "--dry-run"],
        ["gan", "train"],
    ],
    ids=" ".join,
)
def test_weights_of_another_size_end_the_command_before_anything_is_started(
    command: list[str], trained: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["--set", f"gan.init_from={trained}", "--set", "gan.resolution=32"]
    assert segkit_here(*command, "-c", str(config), "--runs", str(tmp_path / "runs"), *wrong) == 2
    output = capsys.readouterr()
    assert output.out == f"checking that {trained} fits the GAN's settings\n"
    assert MISFIT in output.err
    assert "init_adapt: [resolution]" in output.err
    assert not (tmp_path / "runs").exists()


def test_weights_that_fit_let_the_plan_be_shown(
    trained: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitting = ["--set", f"gan.init_from={trained}", "--set", "rounds=2"]
    args = ["pipeline", "run", "synthetic-aug", "-c", str(config), "--runs", str(tmp_path / "runs"), "--dry-run"]
    assert segkit_here(*args, *fitting) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "checking" in line] == lines[:1]  # both rounds start from the same weights
    assert "] gan-r2: would run (" in "".join(lines)


def cut_short(folder: Path) -> str:
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return f"cannot read weights {path}"


def of_other_networks(folder: Path) -> str:
    other = networks(settings(w_dim=6))
    weights.save(folder, {"generator_ema": other["generator_ema"]}, settings())
    return f"{folder} (generator_ema) does not fit the network: "


def preflight(settings: GanSettings) -> None:
    """The check of the stage type `gan`."""
    check = GAN.preflight(GanStageSettings.model_validate(settings.model_dump()))
    assert check is not None
    run_preflight(check)


@pytest.mark.parametrize("damage", [cut_short, of_other_networks])
def test_a_damaged_folder_is_refused(damage: Callable[[Path], str], trained: Path) -> None:
    words = damage(trained)
    with pytest.raises(RequestError) as refused:
        preflight(settings(init_from=trained))
    assert str(refused.value).startswith(words)


def test_an_official_snapshot_is_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "faces.pkl"
    path.write_bytes(official.dumps(official.snapshot(*states(networks(settings())))))
    preflight(settings(init_from=path))
    with pytest.raises(RequestError, match="num_mapping_layers is 1"):
        preflight(settings(init_from=path, num_mapping_layers=2))


def test_the_message_is_the_one_that_the_training_itself_would_end_with(trained: Path) -> None:
    wrong = settings(init_from=trained, image_channels=1)
    with pytest.raises(WeightsError) as there:
        weights.load_all(trained, wrong, networks(wrong))
    with pytest.raises(RequestError) as here:
        preflight(wrong)
    assert str(here.value) == str(there.value)


def test_a_checker_that_fails_is_not_taken_for_a_yes() -> None:
    with pytest.raises(SegkitError, match=r"gan\.nothing") as failed:
        run_preflight(Preflight("that it fits", "gan.nothing", ""))
    assert failed.value.exit_code == 1


def test_only_a_gan_that_is_asked_for_and_not_trained_yet_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[Preflight] = []
    monkeypatch.setattr(runner, "run_preflight", checks.append)
    (tmp_path / "faces.pkl").write_bytes(b"weights")
    config = write_config(tmp_path / "tiny.yaml", {"gan.init_from": str(tmp_path / "faces.pkl")})
    planned = plan(config, tmp_path / "runs")
    check(plan(config, tmp_path / "runs", upto="teacher"), print)
    assert checks == []
    check(planned, print)
    [only] = checks
    assert GanSettings.model_validate_json(only.request) == settings(init_from=tmp_path / "faces.pkl")
    run(planned, print, FakeLauncher())
    check(planned, print)
    assert len(checks) == 1
