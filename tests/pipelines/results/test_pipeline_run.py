"""Small pipelines with W&B's files written offline, which are read back by W&B's format, not by W&B."""

import functools
import hashlib
import io
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.execution import runner
from pipelines.results import pipeline_run
from pipelines.results.pipeline_run import readable_title
from segkit.core.versions import git_commit
from segkit.data import phantom
from segkit.tasks import wandb_runs
from tests.pipelines.tiny import STAGES, files_below, launch_here, segkit_here, write_config
from tests.reference.pictures import SIGNATURES, picture_formats
from tests.reference.tasks_wandb import payloads, read_run

PATIENT = "Erika Mustermann"
"""Part of the folder of the data set and of every file name in it, as in a clinic."""
PICTURES = {".png", ".jpg", ".tif", ".gif", ".webp", ".html"}
PSIS = ("0.7", "0.5")


@dataclass(frozen=True)
class Tracked:
    """A runs folder with W&B's files, and W&B's own folder in the user's home."""

    root: Path
    config: Path
    data: str

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def run(self, *overrides: str, upto: tuple[str, ...] = ()) -> int:
        options = [part for text in ("runtime.tracker=wandb", *overrides) for part in ("--set", text)]
        return segkit_here(
            "pipeline", "run", "synthetic-aug", "-c", str(self.config), "--data", self.data,
            "--runs", str(self.runs), *options, *upto,
        )  # fmt: skip

    def pipelines(self) -> list[dict[str, Any]]:
        return [read_run(folder) for folder in sorted(self.runs.glob("pipeline-*"))]

    def stage(self, name: str) -> dict[str, Any]:
        [folder] = self.runs.glob(f"{name}-[0-9a-f]*")
        return read_run(folder)


def tracked(root: Path, phantoms: Path, *overrides: tuple[str, ...]) -> Iterator[Tracked]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("HOME", str(root / "home"))
        patch.setattr(runner, "run", functools.partial(runner.run, launch=launch_here))
        made = Tracked(root, write_config(root / "tiny.yaml"), f"drive:{phantoms}")
        for given in overrides:
            assert made.run(*given) == 0
        yield made


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled phantoms whose folder is named after a patient."""
    root = tmp_path_factory.mktemp("data") / PATIENT / "DRIVE"
    phantom.write_dataset(root, num_train=6, num_test=2, height=48, width=52, seed=1)
    return root


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, clinic: Path) -> Iterator[Tracked]:
    """Two pipelines of another psi that share their data, teacher, GAN and control."""
    yield from tracked(
        tmp_path_factory.mktemp("private"), clinic, *((f"samples.truncation_psi={psi}",) for psi in PSIS)
    )


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, clinic: Path) -> Iterator[Tracked]:
    """The same with `share_images`."""
    yield from tracked(tmp_path_factory.mktemp("sharing"), clinic, ("runtime.share_images=true",))


def artifact_entries(made: Tracked) -> dict[str, Path]:
    """Every file in an artifact of any run: `artifact/path` and the file that is uploaded."""
    folders = [folder.parents[1] for folder in made.runs.glob("*/wandb/offline-run-*")]
    return {
        f"{artifact.name}/{entry.path}": Path(entry.local_path)
        for folder in folders
        for artifact in read_run(folder)["artifacts"]
        for entry in artifact.manifest.contents
    }


def all_bytes(made: Tracked) -> Iterator[tuple[str, bytes]]:
    """Whatever W&B has written or would upload: logs, files of runs, staged files, files of artifacts."""
    places = [*made.runs.glob("*/wandb"), made.root / "home"]
    for path in sorted(path for place in places for path in place.rglob("*") if path.is_file()):
        yield str(path), path.read_bytes()
        if path.suffix == ".wandb":
            for record in payloads(path.read_bytes()):  # in the file, records are cut into blocks
                yield str(path), record
    for name, path in artifact_entries(made).items():
        yield name, path.read_bytes()


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, as W&B shows them."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


@pytest.mark.slow
def test_no_picture_leaves_unasked(private: Tracked) -> None:
    pictures = {name: formats for name, data in all_bytes(private) if (formats := picture_formats(data))}
    assert pictures == {}
    entries = artifact_entries(private)
    assert {Path(name).suffix for name in entries} == {".json", ".csv", ".txt", ".safetensors"}
    # neither under another name
    kept = [path for path in private.runs.rglob("*") if path.suffix in {*PICTURES, ".npz"}]
    kept += list(private.runs.glob("gan-*/**/*.safetensors"))
    assert len(kept) > 50
    secret = {hashlib.sha256(path.read_bytes()).digest() for path in kept}
    assert [name for name, path in entries.items() if hashlib.sha256(path.read_bytes()).digest() in secret] == []


@pytest.mark.slow
def test_with_share_images_pictures_and_the_gan_are_there(sharing: Tracked) -> None:
    """The other way round, so that the test before can fail."""
    formats = {format_ for _, data in all_bytes(sharing) for format_ in picture_formats(data)}
    assert {"png", "tiff", "data URI"} <= formats
    names = set(artifact_entries(sharing))
    assert {"data/images/21_training.tif", "samples/images/seed0000.png", "report/report.html"} <= names
    assert {"gan/generator_ema.safetensors", "fidelity/nearest.png"} <= names
    assert {"gan/grids/reals.png", "pseudo-labels/pseudo/seed0000.png"} <= names
    shown = {key for name in ("gan", "samples", "fidelity") for row in sharing.stage(name)["history"] for key in row}
    assert {"gan/samples", "gan/truncated-samples", "gan/nearest-photographs"} <= shown


@pytest.mark.slow
def test_no_name_of_a_photograph_or_of_a_folder_leaves_unasked(private: Tracked, sharing: Tracked) -> None:
    def named(made: Tracked) -> set[str]:
        logs = {str(path) for path in made.runs.glob("*/wandb/*/logs/*")}  # which W&B does not upload
        return {
            name
            for name, data in all_bytes(made)
            if name not in logs and (PATIENT.encode() in data or b"21_training" in data or b"01_test" in data)
        }

    assert named(private) == set()
    assert named(sharing) != set()


@pytest.mark.slow
def test_a_data_set_is_recorded_by_digest_and_count(private: Tracked) -> None:
    [artifact] = private.stage("data")["artifacts"]
    [folder] = private.runs.glob("data-*")
    metadata = json.loads(artifact.metadata)
    done = json.loads((folder / "done.json").read_text())
    assert metadata["contents"] == done["contents"]
    assert len(metadata["contents"]["data"]) == 64
    assert metadata["settings"]["source"] == "drive"
    assert metadata["num_files"][".tif"] == 8
    assert sum(metadata["num_files"].values()) == len(done["outputs"])
    assert [entry.path for entry in artifact.manifest.contents] == ["record.json"]


@pytest.mark.slow
def test_dice_against_psi_is_read_from_the_pipeline_runs_alone(private: Tracked) -> None:
    points = {
        run["config"]["samples"]["truncation_psi"]: run["summary"]["test/ensemble/fov/pooled/dice"]
        for run in private.pipelines()
    }
    assert sorted(points) == [0.5, 0.7]
    for folder in private.runs.glob("evaluate-*"):
        [dice] = [
            record["value"]
            for record in json.loads((folder / "measurements.json").read_text())["test"]["ensemble"]
            if (record["metric"], record["region"], record["averaging"]) == ("dice", "fov", "pooled")
        ]
        assert dice in points.values()
    assert points[0.5] != points[0.7]


@pytest.mark.slow
def test_a_pipeline_run_has_every_final_number_with_its_interval_and_n(private: Tracked) -> None:
    [run] = [run for run in private.pipelines() if run["config"]["samples"]["truncation_psi"] == 0.7]
    summary, stages = run["summary"], run["config"]["stages"]
    measurements = json.loads((private.runs / stages["evaluate"]["folder"] / "measurements.json").read_text())
    num_scores = 0
    for split, models in measurements.items():
        for model, records in models.items():
            for record in records:
                key = f"{split}/{model.replace(' ', '-')}/{record['region']}/{record['averaging']}/{record['metric']}"
                for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n")):
                    assert summary.get(key + suffix) == record[part], key
                num_scores += 1
    assert num_scores > 300
    verdict = json.loads((private.runs / stages["report"]["folder"] / "verdict.json").read_text())
    assert summary["verdict/sentence"] == verdict["headline"]
    assert summary["verdict/outcome"] == "too-few-images"
    comparison = verdict["students"][0]["comparison"]
    assert summary["verdict/mixed/dice_difference_low"] == comparison["low"]
    assert summary["verdict/mixed/dice_difference_n"] == 2
    kids = [key for key in summary if re.fullmatch(r"fidelity/samples/kid\w+_teacher(_low|_high)?", key)]
    assert len(kids) == 3


@pytest.mark.slow
def test_a_pipeline_run_has_the_whole_configuration_under_dotted_keys(private: Tracked) -> None:
    runs = private.pipelines()
    assert len(runs) == len(PSIS)
    for run in runs:
        config = flat(run["config"])
        assert config["gan.kimg"] == 0.08
        assert config["teacher.phases.0.epochs"] == 2
        assert config["students.mixed.phases.1.optimizer.learning_rate"] == 0.001
        assert config["teacher.model.widths"] == [4, 8]
        assert config["data.source"] == "drive"
        assert config["segkit.commit"] == git_commit()
        assert len(config["dataset_sha256"]) == 64


@pytest.mark.slow
def test_a_pipeline_run_says_what_it_is(private: Tracked) -> None:
    runs = private.pipelines()
    assert len({run["group"] for run in runs}) == 2
    for run, folder in zip(runs, sorted(private.runs.glob("pipeline-*")), strict=True):
        assert (run["job_type"], run["id"], run["ended"]) == ("pipeline", folder.name, True)
        psi = run["config"]["samples"]["truncation_psi"]
        assert run["name"] == f"tiny truncation_psi={psi} {run['config']['fingerprint'][:4]}"
        commit = git_commit()
        assert run["tags"] == ["synthetic-aug", "drive", "sa-unet", *([f"segkit-{commit[:7]}"] if commit else [])]


@pytest.mark.slow
def test_stage_runs_are_referred_to_whether_or_not_they_were_cached(private: Tracked) -> None:
    states = {}
    for run in private.pipelines():
        stages = run["config"]["stages"]
        assert list(stages) == STAGES
        for name, stage in stages.items():
            written = read_run(private.runs / stage["folder"])
            assert written["id"] == stage["wandb_run"]
            assert written["config"]["fingerprint"] == stage["fingerprint"]
            assert (written["job_type"], written["tags"]) == (name, run["tags"])
            if stage["state"] == "run":
                assert written["group"] == run["group"]
        states[run["config"]["samples"]["truncation_psi"]] = {n for n, s in stages.items() if s["state"] == "cached"}
    assert states == {0.7: set(), 0.5: {"data", "teacher", "gan", "mixed-control"}}


@pytest.mark.slow
def test_curves_are_kept_on_their_own_clocks(private: Tracked) -> None:
    gan, teacher = private.stage("gan"), private.stage("teacher")
    assert gan["clocks"]["gan/*"] == "gan/kimg"
    rows = [row for row in gan["history"] if "gan/loss_g" in row]
    assert [row["gan/kimg"] for row in rows] == pytest.approx([0.004 * number for number in range(1, 21)])
    assert (teacher["clocks"]["train/*"], teacher["clocks"]["val/*"]) == ("trainer/global_step", "trainer/global_step")
    assert all("trainer/global_step" in row for row in teacher["history"] if "val/dice" in row)


@pytest.mark.slow
def test_the_same_command_again_writes_nothing(private: Tracked) -> None:
    def state() -> dict[str, int]:
        return {name: (private.runs / name).stat().st_mtime_ns for name in files_below(private.runs)}

    before = state()
    assert private.run("samples.truncation_psi=0.7") == 0
    assert state() == before


@pytest.mark.slow
def test_a_lost_pipeline_run_is_written_again_under_the_same_id(private: Tracked) -> None:
    before = [run["id"] for run in private.pipelines()]
    for folder in private.runs.glob("pipeline-*"):
        (folder / pipeline_run.RECORD).unlink()  # as if the machine had gone down while it was written
    for psi in PSIS:
        assert private.run(f"samples.truncation_psi={psi}") == 0
    assert [run["id"] for run in private.pipelines()] == before


@pytest.mark.slow
def test_a_part_of_a_pipeline_has_no_pipeline_run(private: Tracked) -> None:
    assert private.run("samples.truncation_psi=0.6", upto=("--upto", "samples")) == 0
    assert len(private.pipelines()) == 2
    shutil.rmtree(next(folder for folder in private.runs.glob("samples-*") if _psi(folder) == 0.6))


def _psi(folder: Path) -> float:
    return float(json.loads((folder / "done.json").read_text())["settings"]["truncation_psi"])


def table(run: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The rows of a table that a run logged."""
    [entry] = [row[key] for row in run["history"] if key in row]
    content = json.loads((run["files"] / entry["path"]).read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


@pytest.mark.slow
def test_a_pipeline_run_has_the_metrics_of_each_image_with_names_only_if_shared(
    private: Tracked, sharing: Tracked
) -> None:
    [shared] = sharing.pipelines()
    for run, names in ((private.pipelines()[0], {1, 2}), (shared, {"01_test", "02_test"})):
        rows = table(run, "test/images")
        models = {row["model"] for row in rows}
        assert {"teacher", "mixed", "ensemble"} <= models
        assert {row["image"] for row in rows} == names
        assert len(rows) == len(models) * len(names)
        for model in models:  # checked against the mean that the pipeline measured
            values = [row["dice"] for row in rows if row["model"] == model]
            expected = run["summary"][f"test/{model.replace(' ', '-')}/fov/per-image/dice"]
            assert sum(values) / len(values) == pytest.approx(expected)


@pytest.mark.slow
def test_a_pipeline_run_has_curves_whose_area_is_the_measured_one(private: Tracked) -> None:
    run = private.pipelines()[0]
    points = [row for row in table(run, "test/roc_table") if row["model"] == "ensemble"]
    x, y = ([row[name] for row in points] for name in ("1 - specificity", "sensitivity"))
    assert x == sorted(x)
    heights = np.convolve([0, *y], [0.5, 0.5], mode="valid")
    assert np.diff([0, *x]) @ heights == pytest.approx(run["summary"]["test/ensemble/fov/pooled/auroc"], abs=0.01)
    assert {row["model"] for row in table(run, "test/precision-recall_table")} >= {"teacher", "ensemble"}


@pytest.mark.slow
def test_only_a_shared_pipeline_run_has_the_report(private: Tracked, sharing: Tracked) -> None:
    [run] = sharing.pipelines()
    [entry] = [row["report"] for row in run["history"] if "report" in row]
    [page] = sharing.runs.glob("report-*/report.html")
    assert (run["files"] / entry["path"]).read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert not any("report" in row for other in private.pipelines() for row in other["history"])


@pytest.mark.slow
def test_the_summary_has_the_best_value_of_a_validation_metric(private: Tracked) -> None:
    teacher = private.stage("teacher")
    logged = [row["val/dice"] for row in teacher["history"] if "val/dice" in row]
    assert len(logged) > 1
    assert teacher["best"]["val/dice"] == "max"
    assert teacher["best"]["val/log_loss"] == "min"
    assert teacher["summary"]["val/dice"]["max"] == pytest.approx(max(logged))


@pytest.mark.slow
def test_grids_are_logged_while_the_gan_trains_and_validation_images_with_masks(sharing: Tracked) -> None:
    [folder] = sharing.runs.glob("gan-*/grids")
    history = sharing.stage("gan")["history"]
    expected = sorted(float(path.stem.removeprefix("kimg")) for path in folder.glob("kimg*.png"))
    assert [row["gan/kimg"] for row in history if "gan/samples" in row] == pytest.approx(expected)
    places = [number for number, row in enumerate(history) if "gan/samples" in row]
    assert any("gan/loss_g" in row for row in history[places[0] : places[-1]])
    [overlays] = [row["val/overlays"] for row in sharing.stage("teacher")["history"] if "val/overlays" in row]
    assert all(set(masks) == {"prediction", "labels"} for masks in overlays["all_masks"])


@pytest.mark.slow
def test_offline_runs_keep_what_they_were_made_from_and_all_of_them_are_sent(private: Tracked) -> None:
    assert list(private.runs.glob("ensemble-*/wandb/lineage.json"))
    for path in private.runs.glob("*/wandb/lineage.json"):
        lineage = json.loads(path.read_text())
        inputs = json.loads((path.parents[1] / "done.json").read_text())["inputs"]
        assert {name.partition(":")[2] for name in lineage["inputs"]} == {
            entry["fingerprint"][:12] for entry in inputs.values()
        }
        assert lineage["run"] == path.parents[1].name
    assert set(wandb_runs.unsent_runs(private.runs)) == {path.parent for path in private.root.rglob("*.wandb")}
    assert len(wandb_runs.unsent_runs(private.runs)) == 11 + 7 + 2


@pytest.mark.slow
def test_a_wandb_that_fails_costs_a_warning_and_no_pipeline(
    private: Tracked, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any, **given: Any) -> None:
        raise OSError(28, "No space left on device")

    run = private.pipelines()[0]
    psi, report = run["config"]["samples"]["truncation_psi"], run["config"]["stages"]["report"]["folder"]
    shutil.rmtree(private.runs / report)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb_runs, "start_run", fail)
        patch.setattr(pipeline_run, "start_run", fail)
        capsys.readouterr()
        assert private.run(f"samples.truncation_psi={psi}") == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2  # the stage's and the pipeline's
    assert all("No space left on device" in line for line in warnings)
    assert (private.runs / report / "report.html").exists()
    assert private.run(f"samples.truncation_psi={psi}") == 0  # and the pipeline's run is written after all
    [written] = [again for again in private.pipelines() if again["id"] == run["id"]]
    assert written["summary"]["verdict/outcome"] == run["summary"]["verdict/outcome"]
    assert written["config"]["stages"]["report"]["wandb_run"] is None


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_tried_once_for_all_stages(
    private: Tracked, capsys: pytest.CaptureFixture[str]
) -> None:
    run = private.pipelines()[0]
    psi, stages = run["config"]["samples"]["truncation_psi"], run["config"]["stages"]
    for name in ("ensemble", "evaluate", "report"):
        shutil.rmtree(private.runs / stages[name]["folder"])
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as listener:
        patch.delenv("WANDB_MODE")
        patch.setenv("WANDB_API_KEY", "0" * 40)
        patch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.close()
        capsys.readouterr()
        assert private.run(f"samples.truncation_psi={psi}") == 0
        assert len([line for line in capsys.readouterr().out.splitlines() if "does not answer" in line]) == 1
        assert private.run(f"samples.truncation_psi={psi}") == 0  # nothing is to be done, so nothing is tried
        assert "does not answer" not in capsys.readouterr().out
    [again] = [again for again in private.pipelines() if again["id"] == run["id"]]
    assert {name for name, stage in again["config"]["stages"].items() if stage["state"] == "run"} == {
        "ensemble", "evaluate", "report",
    }  # fmt: skip
    assert again["summary"]["test/ensemble/fov/pooled/dice"] == run["summary"]["test/ensemble/fov/pooled/dice"]


def test_a_title_names_what_was_set_and_can_change_the_result() -> None:
    assert readable_title("demo", []) == "demo"
    given = [
        "samples.truncation_psi=0.5",
        "gan.kimg= 200",
        "runtime.seed=3",
        "runtime.tracker=wandb",
        "data.source=x:y",
        "data.group_pattern=^(Mustermann|.*)_",
        "gan.init_from=/home/mustermann/gan.pkl",
        "models.deep.init_from=/home/mustermann/coco.pth",
    ]
    assert readable_title("demo", given) == "demo truncation_psi=0.5 kimg=200 seed=3"
    assert readable_title("demo", ["model.phases.1.init_from=scratch"]) == "demo init_from=scratch"
    alike = ["teacher.phases.0.epochs=3", "students.mixed.phases.0.epochs=4", "gan.kimg=1", "gan.kimg=2"]
    assert readable_title("demo", alike) == ("demo teacher.phases.0.epochs=3 students.mixed.phases.0.epochs=4 kimg=2")
    assert len(readable_title("demo", [f"students.s{number}.loss=bce" for number in range(20)])) == 100


@pytest.mark.parametrize("format_", ["png", "jpeg", "gif", "webp", "tiff"])
def test_a_picture_would_be_found_in_other_bytes(format_: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), (1, 2, 3)).save(file, format_)
    assert picture_formats(b"abc" + file.getvalue() + b"def") == {format_}
    assert format_ in SIGNATURES
