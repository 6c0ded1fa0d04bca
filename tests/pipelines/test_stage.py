"""Identity: what changes a stage's fingerprint, and what does not."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution.process import stage_command
from pipelines.stage import AnyStage, Stage, StageType, read_stage
from pipelines.stage_types import STAGE_TYPES, TRAIN
from segkit.core.config import Settings
from segkit.core.errors import ConfigError, RequestError
from segkit.tasks.settings import RuntimeSettings, TrainSettings
from tests.pipelines.tiny import STAGES, plan, write_config

DATA_AND_AFTER = set(STAGES)
STUDENT_AND_AFTER = {"mixed", "mixed-control", "ensemble", "evaluate", "report"}


def prints(config: Path, *overrides: str, **given: Any) -> dict[str, str]:
    return {item.stage.name: item.fingerprint for item in plan(config, Path("runs"), *overrides, **given)}


def changed(config: Path, *overrides: str) -> set[str]:
    """Names of the stages whose fingerprint the overrides change."""
    before, after = prints(config), prints(config, *overrides)
    assert list(before) == list(after)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("students.mixed.phases.0.epochs=2", STUDENT_AND_AFTER),
        ("students.mixed.loss=bce", STUDENT_AND_AFTER),
        (
            "samples.truncation_psi=0.5",
            STUDENT_AND_AFTER - {"mixed-control"} | {"samples", "fidelity", "pseudo-labels"},
        ),
        ("gan.kimg=0.1", STUDENT_AND_AFTER - {"mixed-control"} | {"gan", "samples", "fidelity", "pseudo-labels"}),
        ("teacher.phases.0.epochs=3", DATA_AND_AFTER - {"data", "gan", "samples", "mixed-control"}),
        ("ensemble.rules=[mean]", {"ensemble", "evaluate", "report"}),
        ("evaluate.num_resamples=200", {"evaluate", "report"}),
        ("fidelity.num_images=9", {"fidelity", "report"}),
        ("fidelity.max_copy_share=0.2", {"fidelity", "report"}),
        ("report.title=Hello", {"report"}),
        ("data.num_val=3", DATA_AND_AFTER),
        ("data.phantom.seed=2", DATA_AND_AFTER),
    ],
)
def test_a_changed_setting_changes_its_stage_and_what_follows(config: Path, override: str, stages: set[str]) -> None:
    assert changed(config, override) == stages


def test_a_second_student_leaves_the_first_one_alone(tmp_path: Path, config: Path) -> None:
    other = write_config(tmp_path / "two.yaml", {"students.other": {"phases": [{"data": "real", "epochs": 1}]}})
    before, after = prints(config), prints(other)
    assert {name for name in before if before[name] != after[name]} == {"ensemble", "evaluate", "report"}
    assert changed(other, "students.other.phases.0.epochs=2") == {
        "other", "other-control", "ensemble", "evaluate", "report",
    }  # fmt: skip


@pytest.mark.parametrize(
    "override",
    [
        "runtime.devices=2",
        "runtime.num_nodes=2",
        "runtime.num_workers=4",
        "runtime.tracker=none",
        "runtime.share_images=true",
        "runtime.strategy=ddp",
        "runtime.accelerator=auto",
        "runtime.wandb_project=other",
        "gan.checkpoint_kimg=1",
    ],
)
def test_how_a_result_is_computed_does_not_change_what_it_is(config: Path, override: str) -> None:
    # the report lists the settings of the GAN, and with them how often it is saved
    assert changed(config, override) <= ({"report"} if override.startswith("gan") else set())


@pytest.mark.parametrize("override", ["runtime.seed=1", "runtime.precision=bf16-mixed", "runtime.deterministic=true"])
def test_what_can_change_every_result_changes_every_fingerprint(config: Path, override: str) -> None:
    assert changed(config, override) == set(STAGES)


class Cut(Settings):
    """Settings of a stage type of this file."""

    depth: int = 1
    tool: str = "knife"


CUT = StageType("cut", Cut, "nowhere", not_fingerprinted=frozenset({"tool"}), external_digests=lambda _: {"wood": "ab"})
CUTTING: AnyStage = Stage("cutting", CUT, Cut(), {"log": "tree"})


@pytest.mark.parametrize(
    "other",
    [
        replace(CUTTING, type=replace(CUT, name="carve")),
        replace(CUTTING, type=replace(CUT, version=2)),
        replace(CUTTING, type=replace(CUT, external_digests=lambda _: {"wood": "ac"})),
        replace(CUTTING, settings=Cut(depth=2)),
        replace(CUTTING, runtime=RuntimeSettings(seed=1)),
    ],
    ids=["type", "version", "external digest", "setting", "seed"],
)
def test_everything_that_can_change_a_result_is_part_of_its_fingerprint(other: AnyStage) -> None:
    assert CUTTING.fingerprint({"log": "cd"}) != other.fingerprint({"log": "cd"})
    assert CUTTING.fingerprint({"log": "cd"}) != CUTTING.fingerprint({"log": "ce"})


def test_a_fingerprint_is_a_sha256_over_canonical_json() -> None:
    parts = ["cut", 1, {"depth": 1}, {"seed": 0, "precision": "auto", "deterministic": False}, {"wood": "ab"}]
    text = json.dumps([*parts, {"a": "1", "log": "cd"}], sort_keys=True, separators=(",", ":"))
    assert CUTTING.fingerprint({"log": "cd", "a": "1"}) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        replace(CUTTING, name="carving"),
        replace(CUTTING, settings=Cut(tool="saw")),
        replace(CUTTING, runtime=RuntimeSettings(devices=2)),
        replace(CUTTING, group="a run", tags=("drive",), after=("lunch",)),
    ],
    ids=["name", "setting", "devices", "tracker"],
)
def test_nothing_else_is_part_of_a_fingerprint(other: AnyStage) -> None:
    assert CUTTING.fingerprint({"log": "cd"}) == other.fingerprint({"log": "cd"})


def test_data_in_another_folder_is_the_same_data(config: Path, phantoms: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(phantoms, tmp_path / "elsewhere" / "called otherwise")
    assert prints(config, data=f"drive:{moved}") == prints(config, data=f"drive:{phantoms}")


@pytest.mark.parametrize("file", ["training/images", "training/1st_manual", "test/mask"])
def test_one_changed_byte_of_the_data_changes_everything(
    config: Path, phantoms: Path, tmp_path: Path, file: str
) -> None:
    copy = shutil.copytree(phantoms, tmp_path / "DRIVE")
    before = prints(config, data=f"drive:{copy}")
    victim = sorted((copy / file).iterdir())[-1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    after = prints(config, data=f"drive:{copy}")
    assert all(before[name] != after[name] for name in STAGES)


def test_a_file_that_is_not_of_the_data_set_changes_nothing(config: Path, phantoms: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(phantoms, tmp_path / "DRIVE")
    (copy / "readme.txt").write_text("hello")
    assert prints(config, data=f"drive:{copy}") == prints(config, data=f"drive:{phantoms}")


def test_first_weights_of_the_gan_count_by_their_content_and_not_their_place(config: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "generator.safetensors").write_bytes(b"weights")
    one, two = prints(config, f"gan.init_from={here}"), prints(config, f"gan.init_from={there}")
    assert one["gan"] == two["gan"] != prints(config)["gan"]
    (there / "generator.safetensors").write_bytes(b"weightz")
    assert prints(config, f"gan.init_from={there}")["gan"] != one["gan"]


def test_a_plan_up_to_a_stage_asks_for_nothing_that_later_stages_need(config: Path) -> None:
    missing = "gan.init_from=not/there.pkl"
    assert list(prints(config, missing, upto="teacher")) == ["data", "teacher"]
    with pytest.raises(RequestError, match=r"not/there\.pkl"):
        prints(config, missing)


def test_no_data_is_answered_with_how_to_name_it(tmp_path: Path) -> None:
    config = write_config(tmp_path / "none.yaml", {"data.source": None})
    with pytest.raises(RequestError, match="--data"):
        prints(config)


STAGE = Stage(
    "mixed",
    TRAIN,
    TrainSettings.model_validate({"model": {"widths": [4, 8]}, "loss": "bce"}),
    {"data": "data", "synthetic": "pseudo-labels"},
    runtime=RuntimeSettings(seed=3, devices=2),
    group="synthetic-aug-0123",
    tags=("drive",),
)


def test_a_stage_that_is_written_and_read_is_the_same_stage(tmp_path: Path) -> None:
    path = tmp_path / "stage.yaml"
    path.write_text(STAGE.to_yaml("f" * 64))
    assert read_stage(path, STAGE_TYPES) == STAGE


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stage: a\ntype: trian\n", "type = 'trian'; expected one of data, "),
        ("stage: a\ntype: train\nsetings: {}\n", "unknown key 'setings'.*did you mean 'settings'"),
        ("stage: a\ntype: train\nsettings: {los: bce}\n", "unknown key 'los'.*did you mean 'loss'"),
        ("stage: a\ntype: train\nruntime: {seed: -1}\n", r"runtime\.seed"),
        ("type: train\n", "stage"),
    ],
)
def test_a_mistake_in_a_stage_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "stage.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_stage(path, STAGE_TYPES)


def test_the_command_of_a_stage_names_its_file_its_inputs_and_its_folder() -> None:
    command = stage_command(Path("r.yaml"), STAGE.name, {"data": Path("/d"), "synthetic": Path("/s")}, Path("/o"))
    assert command[1:] == [
        "-P", "-m", "segkit", "stage", "mixed", "-c", "r.yaml",
        "--input", "data=/d", "--input", "synthetic=/s", "--out", "/o",
    ]  # fmt: skip
