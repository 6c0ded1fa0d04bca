"""`segkit models`, `bench`, `doctor` and `report`."""

import json
from importlib import metadata
from pathlib import Path

import pytest

import segkit
from segkit.cli import doctor
from segkit.core.files import sha256_file, write_json
from segkit.models import build_model
from segkit.models.settings import MODELS, SAUNetSettings
from segkit.tasks.weights import TENSORS
from segkit.weights import shipped_models
from tests.pipelines.tiny import segkit_here


def test_models_lists_every_network_with_size_cost_paper_and_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segkit_here("models", "--json", str(tmp_path / "models.json")) == 0
    out = capsys.readouterr().out
    written = json.loads((tmp_path / "models.json").read_text())
    cards, networks = written[: -len(MODELS)], written[-len(MODELS) :]
    assert [entry["name"] for entry in networks] == [kind.model_fields["name"].default for kind in MODELS]
    assert {card["name"]: card["card"]["threshold"] for card in cards} == {
        name: segkit.load(name).threshold for name in shipped_models()
    }
    for entry in networks:
        assert f"{entry['parameters']:,} parameters; {entry['multiply_adds'] / 1e9:.2f} billion" in out
        assert all(entry[key] in out for key in ("name", "paper", "authors_code", "licence"))
        assert entry["settings"]["name"] == entry["name"]
    [wnet] = [entry for entry in networks if entry["name"] == "little-wnet"]
    assert wnet["parameters"] == 68_482


def test_models_lists_the_settings_of_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("models", "sa-unet") == 0
    out = capsys.readouterr().out
    count = sum(parameter.numel() for parameter in build_model(SAUNetSettings()).parameters())
    assert f"{count:,} parameters" in out
    assert [name for name in SAUNetSettings.model_fields if f"\n  {name} = " not in out] == []
    assert "unet++" not in out


def test_models_prints_the_card_of_a_shipped_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("models", "vessels") == 0
    out = capsys.readouterr().out
    folder = shipped_models()["vessels"]
    notes = json.loads((folder / "model.json").read_text())["details"]["card"]["notes"]
    assert {"Data", "Limits"} <= {line.partition(":")[0] for line in notes.splitlines()}
    for text in (*notes.splitlines(), f"threshold: {segkit.load().threshold:g}", sha256_file(folder / TENSORS)):
        assert text in out


def test_models_prints_the_scores_in_the_card_of_an_exported_model(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, evaluation = (next(finished_runs.glob(pattern)) for pattern in ("teacher-*", "evaluate-*"))
    args = ("--weights", str(teacher), "--evaluation", str(evaluation), "--out", str(tmp_path / "mine"))
    assert segkit_here("export", *args) == segkit_here("models", str(tmp_path / "mine")) == 0
    measured = json.loads((evaluation / "measurements.json").read_text())["test"]["teacher"]
    [dice] = [m for m in measured if (m["metric"], m["averaging"], m["region"]) == ("dice", "pooled", "fov")]
    assert f"test images, region fov, pooled, n = 2: dice {dice['value']:.3f}" in capsys.readouterr().out
    assert segkit_here("models", "teacher", "--runs", str(finished_runs)) == 0
    said = capsys.readouterr()
    assert f"in {teacher}" in said.out
    assert f"weights teacher: {teacher} (the newest" in said.err


@pytest.mark.parametrize("name", ["u-net", "latest", "a-folder"])
def test_models_refuses_a_name_that_no_network_and_no_model_has(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-folder").mkdir()
    assert segkit_here("models", name) == 2
    assert f"no network is called '{name}'" in capsys.readouterr().err


@pytest.mark.slow
def test_bench_prints_and_writes_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "bench.json"
    args = ("--size", "32", "--batch", "2", "--repeats", "3", "--precision", "32-true", "--precision", "bf16-mixed")
    assert segkit_here("bench", *args, "--json", str(path)) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("sa-unet, 32x32, batch 2; ")
    written = json.loads(path.read_text())
    assert (written["model"], written["size"], written["batch"], written["repeats"]) == ("sa-unet", 32, 2, 3)
    assert [(row["mode"], row["precision"]) for row in written["rows"]] == [
        (mode, precision) for mode in ("train", "predict") for precision in ("32-true", "bf16-mixed")
    ]
    for line, row in zip(lines, written["rows"], strict=True):
        assert row["low"] <= row["images_per_second"] <= row["high"]
        assert line.split()[:3] == [row["mode"], row["precision"], f"{row['images_per_second']:.2f}"]
        assert f"{row['ratio']:.2f} x 32-true" in line
    assert written["rows"][0]["ratio"] == 1.0


def test_bench_refuses_a_size_the_network_cannot_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("bench", "--size", "20", "--repeats", "3") == 2
    assert "size 20 is not a multiple of sa-unet's stride 8; try 24" in capsys.readouterr().err


def test_doctor_names_versions_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert segkit_here("doctor") == 0
    out = capsys.readouterr().out
    said = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert said["torch"] == metadata.version("torch")
    assert said["cpu"].split()[1] == "cores,"
    assert {"gpu", "precision", "wandb", "disk"} <= {key.split()[0] for key in said}


def test_doctor_finds_what_is_missing_and_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "monai":
            raise metadata.PackageNotFoundError(name)
        return "0.1+cu0" if name == "torchvision" else real(name)

    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    problems = [*doctor.missing_packages(), *doctor.torchvision_problems()]
    assert problems == [
        "monai is not installed; `pip install monai`",
        f"torchvision 0.1+cu0 does not fit torch {real('torch')} (operator torchvision::nms does not exist); "
        "segkit does not need it: `pip uninstall torchvision`",
    ]
    with pytest.raises(SystemExit) as end:
        doctor.doctor.main(args=[], standalone_mode=False)
    assert end.value.code == 1
    assert f"problem: {problems[1]}" in capsys.readouterr().out


def page(folder: Path, text: str, minute: int = 0) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "done.json", {"finished": f"2026-01-01T12:{minute:02d}:00+0000"})
    (folder / "report.html").write_text(text)
    return folder / "report.html"


def test_report_finds_the_newest_finished_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of a folder has new times of its files, so the record's time counts."""
    new, old, begun = (
        page(tmp_path / f"report-{name}", name, minute) for name, minute in (("bbb", 8), ("aaa", 7), ("ccc", 9))
    )
    (begun.parent / "done.json").unlink()
    assert segkit_here("report", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"{new}\n"
    assert segkit_here("report", str(old.parent)) == 0
    assert capsys.readouterr().out == f"{old}\n"


def test_report_finds_pages_in_folders_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("demo", "drive/seed1", "drive/seed2")
    pages = [page(tmp_path / name / "report-aaa", name, 9 - number) for number, name in enumerate(names)]
    for folder, newest in (("", pages[0]), ("drive", pages[1]), ("drive/seed2", pages[2])):
        assert segkit_here("report", str(tmp_path / folder)) == 0
        assert capsys.readouterr().out == f"{newest}\n"


def test_report_can_be_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page(tmp_path / "report-aaa", "hello")
    copied = tmp_path / "mine.html"
    assert segkit_here("report", str(tmp_path), "--out", str(copied)) == 0
    assert copied.read_text() == "hello"
    assert capsys.readouterr().out == f"{copied}\n"


def test_a_folder_without_a_report_a_missing_one_and_a_file_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").write_text("")
    problems = {
        tmp_path: f"{tmp_path} holds no finished report; ",
        tmp_path / "nothing": f"there is no folder {tmp_path / 'nothing'}; ",
        tmp_path / "a-file": f"{tmp_path / 'a-file'} is not a folder; ",
    }
    for path, problem in problems.items():
        assert segkit_here("report", str(path)) == 2
        assert capsys.readouterr().err.startswith(f"error: {problem}")


def test_a_finished_pipeline_has_a_report(finished_runs: Path, tmp_path: Path) -> None:
    copied = tmp_path / "report.html"
    assert segkit_here("report", str(finished_runs), "--out", str(copied)) == 0
    assert copied.read_text().lstrip().lower().startswith("<!doctype html>")
