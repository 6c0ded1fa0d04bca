"""The flat keys of final numbers."""

import math
from dataclasses import replace
from pathlib import Path

from pipelines.results.final_numbers import evaluation_numbers, fidelity_numbers, verdict_numbers
from segkit.metrics.measure import Measurement

DICE = Measurement("dice", "vessel", "fov", "per-image", 0.4, "val-best-dice", 3, 3, 0.8, 0.7, 0.9)


def test_a_score_has_a_key_for_its_value_its_interval_and_its_number_of_images() -> None:
    assert evaluation_numbers({"test": {"second observer": [DICE]}}) == {
        "test/second-observer/fov/per-image/dice": 0.8,
        "test/second-observer/fov/per-image/dice_low": 0.7,
        "test/second-observer/fov/per-image/dice_high": 0.9,
        "test/second-observer/fov/per-image/dice_n": 3,
        "test/second-observer/threshold": 0.4,
    }


def test_of_several_classes_the_summary_has_the_plain_key_and_each_class_a_key_of_its_own() -> None:
    names = {"all classes": 0.7, "background": 0.9, "optic disc": 0.5}
    records = [replace(DICE, class_name=name, value=value, threshold=None) for name, value in names.items()]
    numbers = evaluation_numbers({"test": {"teacher": records}})
    assert len(numbers) == 3 * 4
    assert numbers["test/teacher/fov/per-image/dice"] == 0.7
    assert numbers["test/teacher/fov/per-image/dice/background"] == 0.9
    assert numbers["test/teacher/fov/per-image/dice/optic-disc"] == 0.5
    assert numbers["test/teacher/fov/per-image/dice/optic-disc_low"] == 0.7


def test_what_is_not_defined_has_no_key() -> None:
    alone = replace(DICE, metric="auroc", threshold=None, low=math.nan, high=math.nan, n=1)
    undefined = replace(DICE, metric="cldice", value=math.nan, low=math.nan, high=math.nan, n=0)
    assert evaluation_numbers({"val": {"teacher": [alone, undefined]}}) == {
        "val/teacher/fov/per-image/auroc": 0.8,
        "val/teacher/fov/per-image/auroc_n": 1,
        "val/teacher/fov/per-image/cldice_n": 0,
        "val/teacher/threshold": 0.4,
    }


def test_a_verdict_without_labels_or_controls_is_a_sentence_and_an_outcome() -> None:
    empty = {"headline": "No verdict.", "outcome": "none", "basis": None, "students": [], "ensemble": None}
    assert verdict_numbers(empty) == {"verdict/sentence": "No verdict.", "verdict/outcome": "none"}


def test_measures_of_a_gan_are_read_with_their_intervals_where_they_have_one(tmp_path: Path) -> None:
    assert fidelity_numbers(tmp_path / "fidelity.csv") == {}  # too few photographs to measure against
    (tmp_path / "fidelity.csv").write_text(
        "key,measure,value,low,high\nsamples/kid4,kid,0.5,0.1,0.9\ndrawn/fid4,fid,7,,\n"
    )
    assert fidelity_numbers(tmp_path / "fidelity.csv") == {
        "samples/kid4": 0.5, "samples/kid4_low": 0.1, "samples/kid4_high": 0.9, "drawn/fid4": 7.0,
    }  # fmt: skip
