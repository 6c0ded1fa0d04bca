import csv
import io
import json
from pathlib import Path

import pytest

from pipelines.run_comparison import page, text
from pipelines.run_comparison.compare import RunComparison, compare_runs
from pipelines.run_comparison.finished import find_run, find_runs, list_runs, read_run
from segkit.core.errors import RequestError
from segkit.core.files import read_json, write_json, write_text
from segkit.metrics.metrics import METRICS
from tests.pipelines.finished_runs import multiclass_scores, scores, write_run


def pair(runs: Path, noise_a: float, noise_b: float) -> list[Path]:
    """Two runs that differ in their seed and the noise of their maps."""
    return [
        write_run(runs, scores(noise, noise_seed=seed), minute=seed, seed=seed)
        for seed, noise in enumerate([noise_a, noise_b])
    ]


def compared(folders: list[Path], **options: object) -> RunComparison:
    return compare_runs([read_run(folder) for folder in folders], **options)  # type: ignore[arg-type]


def test_the_better_of_two_runs_is_recognised(tmp_path: Path) -> None:
    folders = pair(tmp_path, 0.5, 0.3)
    (item,) = compared(folders).differences
    assert item.result == "better"
    assert item.comparison.low > 0
    assert item.p == pytest.approx(2 / 2**8)
    assert item.num_better == 8
    (turned,) = compared(folders[::-1]).differences
    assert turned.result == "worse"
    assert turned.comparison.difference == pytest.approx(-item.comparison.difference)


def test_two_runs_of_equal_quality_do_not_differ(tmp_path: Path) -> None:
    (item,) = compared(pair(tmp_path, 0.4, 0.4)).differences
    assert item.result == "no evidence"
    assert item.comparison.low < 0 < item.comparison.high


def test_p_values_of_all_metrics_and_runs_are_corrected_together(tmp_path: Path) -> None:
    folders = [*pair(tmp_path, 0.5, 0.3), write_run(tmp_path, scores(0.31, 7), minute=9, seed=2)]
    comparison = compared(folders, metrics=("dice", "auroc", "log_loss"))
    assert [item.metric for item in comparison.differences] == ["dice"] * 2 + ["auroc"] * 2 + ["log_loss"] * 2
    smallest = min(item.p for item in comparison.differences)
    assert min(item.corrected_p for item in comparison.differences) == pytest.approx(6 * smallest)


def test_less_log_loss_is_better(tmp_path: Path) -> None:
    (item,) = compared(pair(tmp_path, 0.5, 0.3), metrics=("log_loss",)).differences
    assert not METRICS["log_loss"].larger_is_better
    assert item.comparison.high < 0
    assert item.result == "better"
    assert item.num_better == 8


def test_each_of_several_classes_is_compared_on_request(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, multiclass_scores(noise, noise_seed=minute), minute=minute)
        for minute, noise in enumerate([1.0, 0.6])
    ]
    metrics = ("dice", "mean_iou")
    assert [item.class_name for item in compared(folders, metrics=metrics).differences] == ["all classes"] * 2
    comparison = compared(folders, metrics=metrics, per_class=True)
    tested = [(item.class_name, item.metric) for item in comparison.differences]
    # mean IoU is one number of all classes
    assert tested == [
        *(("all classes", "dice"), ("all classes", "mean_iou")),
        *(("background", "dice"), ("disc", "dice"), ("cup", "dice")),
    ]
    assert {item.result for item in comparison.differences} == {"better"}
    assert len(text.comparison_tables(comparison)) == 4 + 1
    assert page.render(comparison).count("<caption>") == 4


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, scores(0.4), minute=0),
        write_run(
            tmp_path, scores(0.4), minute=1, model={"model": {"widths": [8, 16]}}, evaluate={"num_resamples": 500}
        ),
    ]
    comparison = compared(folders)
    assert set(comparison.settings) == {"model.model.widths", "evaluate.num_resamples"}
    assert list(comparison.settings["evaluate.num_resamples"].values()) == [2000, 500]
    assert comparison.settings["model.model.widths"][comparison.others[0].id] == [8, 16]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"num_images": 7}, "07_test"),
        ({"truth_seed": 5}, "00_test"),
    ],
)
def test_runs_on_other_images_are_refused(tmp_path: Path, changed: dict[str, int], named: str) -> None:
    folders = [
        write_run(tmp_path, scores(0.4), minute=0),
        write_run(tmp_path, scores(0.4, **changed), minute=1),  # type: ignore[arg-type]
    ]
    with pytest.raises(RequestError, match=named):
        compared(folders)


def test_runs_on_other_splits_are_refused(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, scores(0.4), minute=0),
        write_run(tmp_path, scores(0.4), minute=1, split="holdout"),
    ]
    with pytest.raises(RequestError, match=r"test.*holdout"):
        compared(folders)


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    folder = write_run(tmp_path, scores(0.4))
    with pytest.raises(RequestError):
        compared([folder, folder])


def test_a_model_that_was_not_scored_is_refused_with_those_that_were(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="one of model"):
        compared(pair(tmp_path, 0.4, 0.3), model="teacher")


def test_json_and_csv_hold_the_compared_numbers(tmp_path: Path) -> None:
    comparison = compared(pair(tmp_path, 0.5, 0.3), metrics=("dice", "auprc"))
    write_json(tmp_path / "comparison.json", text.comparison_json(comparison))
    saved = read_json(tmp_path / "comparison.json")
    rows = list(csv.DictReader(io.StringIO(text.comparison_csv(comparison))))
    for item, record in zip(comparison.differences, saved["differences"], strict=True):
        (row,) = [row for row in rows if row["run"] == item.id and row["metric"] == item.metric]
        expected = item.comparison
        assert record["difference"] == float(row["difference"]) == expected.difference
        assert (float(row["difference_low"]), float(row["difference_high"])) == (expected.low, expected.high)
        assert record["corrected_p"] == float(row["corrected_p"]) == item.corrected_p
    dice = comparison.baseline.number("dice", comparison.classes[0])
    assert dice is not None
    (row,) = [row for row in rows if row["run"] == comparison.baseline.id and row["metric"] == "dice"]
    assert (float(row["value"]), row["difference"], int(row["n"])) == (dice.value, "", 8)
    assert saved["runs"][0]["scores"][0]["value"] == dice.value


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    shown = page.render(compared(pair(tmp_path, 0.5, 0.3), metrics=("dice", "auroc")))
    assert shown.count('<svg class="chart"') == 2
    assert "<script" not in shown
    assert "http" not in shown.replace("http-equiv", "").replace("http://www.w3.org/1999/xlink", "")


def test_finished_runs_are_listed_newest_first_and_others_counted(tmp_path: Path) -> None:
    older, newer = pair(tmp_path, 0.5, 0.3)
    write_text(tmp_path / "data-000000000000" / "request.yaml", "group: train-ffffffff\n")
    write_text(tmp_path / "model-000000000000" / "request.yaml", "group: train-ffffffff\n")
    write_text(tmp_path / "report-000000000000" / "request.yaml", "group: train-eeeeeeee\n")
    listing = list_runs(tmp_path)
    assert [run.folder for run in listing.runs] == [newer, older]
    assert listing.num_unfinished == 2
    entry = json.loads(json.dumps(text.listing_json(listing)))["runs"][0]
    assert (entry["recipe"], entry["dataset"], entry["networks"], entry["minutes"]) == (
        "train",
        "phantom",
        ["sa-unet"],
        6.0,
    )
    assert entry["main_score"]["split"] == "test"
    assert entry["main_score"]["dice"]["value"] > 0.5


def test_a_run_has_several_names(tmp_path: Path) -> None:
    better, newer = pair(tmp_path, 0.3, 0.5)
    fingerprint = read_run(better).fingerprint
    names = ["latest", "best", fingerprint[:6], better.name, str(better)]
    assert [run.folder for run in find_runs(names, tmp_path)] == [newer, better, better, better, better]
    assert find_run(str(better), tmp_path / "absent").fingerprint == fingerprint


def test_an_ambiguous_prefix_lists_its_candidates(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, scores(0.4, num_images=3), minute=minute) for minute in range(17)]
    digits = [read_run(folder).fingerprint[0] for folder in folders]
    twice = next(digit for digit in digits if digits.count(digit) > 1)
    expected = [read_run(folder).fingerprint[:6] for folder in folders if read_run(folder).fingerprint[0] == twice]
    with pytest.raises(RequestError) as caught:
        find_run(twice, tmp_path)
    assert all(name in str(caught.value) for name in expected)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, scores(0.4, num_images=3))
    with pytest.raises(RequestError):
        find_run("xyz", tmp_path)
    with pytest.raises(RequestError):
        find_run("latest", tmp_path / "absent")


def test_a_run_without_its_evaluation_is_listed_without_scores_and_not_compared(tmp_path: Path) -> None:
    folders = pair(tmp_path, 0.5, 0.3)
    for path in tmp_path.glob("evaluate-*/measurements.json"):
        path.unlink()
    assert [run.main_score for run in list_runs(tmp_path).runs] == [None, None]
    assert [stage.state for stage in read_run(folders[0]).stages] == ["done", "done", "missing", "done"]
    with pytest.raises(RequestError):
        compared(folders)


def test_changed_settings_are_shown_with_their_defaults(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, scores(0.4, num_images=3), seed=3, evaluate={"num_resamples": 500}))
    changed = run.changed_settings
    assert changed["evaluate.num_resamples"] == (2000, 500)
    assert changed["runtime.seed"] == (0, 3)
    assert len(changed) == 2
