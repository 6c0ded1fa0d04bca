"""An assessment in tables and sentences, and on disk."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.fidelity import records, words
from pipelines.fidelity.assessment import TooManyCopiesError, as_json, check_copies
from pipelines.fidelity.words import number, with_interval
from segkit.core import images
from tests.pipelines.fidelity_runs import made, write


def found(**given: Any) -> dict[str, Any]:
    return as_json(made(**given))


def cells(table: words.Table, head: str) -> tuple[str, ...]:
    return next(row[1:] for row in table.rows if row[0] == head)


def test_each_column_is_a_set_with_its_number_of_images() -> None:
    table = words.measures_table(found())
    assert table.columns == ("", "held-out photographs", "drawn, psi 1", "samples, psi 0.7")
    assert cells(table, "images") == ("11", "40", "16")
    assert "12 photographs the GAN learnt from (phantom_train); features: teacher, 24 numbers an image" in table.caption


def test_a_cell_is_the_number_of_the_json_with_its_interval() -> None:
    raw = found()
    kid = raw["sets"]["drawn"]["measures"][0]
    assert kid["key"] == "kid40_phantom_train12_teacher"
    assert cells(words.measures_table(raw), "KID")[1] == with_interval(kid["value"], kid["low"], kid["high"])
    assert "[" in cells(words.measures_table(raw), "share of copies")[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04941, "0.0494"), (-0.002, "-0.00200"), (1234.5, "1234"), (12.0, "12.0"), (0, "0"), (None, "–"), (1, "1.00")],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert number(value) == text


def test_the_verdict_counts_copies_of_each_set_and_never_of_photographs() -> None:
    said = words.copy_verdict(found(copied=3))
    assert len(said) == 2
    assert said[0].startswith(
        "3 of 40 images (drawn, psi 1) are copies of a training photograph: 7.5 % (95 % interval "
    )
    assert said[1].startswith("3 of 16 images (samples, psi 0.7) are copies")
    assert words.copy_verdict(found())[0].startswith("None of 40 images (drawn, psi 1) is a copy")
    assert words.copy_verdict(found(copied=1))[0].startswith("1 of 40 images (drawn, psi 1) is a copy")


def test_the_basis_tells_the_threshold_and_the_false_alarms() -> None:
    said = " ".join(words.copy_basis(found()))
    assert "0.80 times its mean distance to the next ones" in said
    assert (
        "Of 11 photographs that the GAN never saw, 0 would count as copies: false alarms 0 % (0 % to 28.5 %)." in said
    )
    assert "no other photographs to tell how often the gate is wrong" in " ".join(
        words.copy_basis(found(num_heldout=0))
    )


def test_one_image_or_copy_is_told_in_the_singular() -> None:
    few = found(num_heldout=1, num_samples=1, alarms=1)
    assert "Of 1 photograph that the GAN never saw, 1 would count as a copy: " in " ".join(words.copy_basis(few))
    assert words.copy_verdict(few)[1].startswith("None of 1 image (samples, psi 0.7) is a copy")
    assert words.copy_verdict(found(num_samples=1, copied=1))[1].startswith("1 of 1 image (samples, psi 0.7) is a copy")
    with pytest.raises(TooManyCopiesError, match=r"1 of 40 images \(drawn, psi 1\) is a copy of a training photograph"):
        check_copies(made(num_samples=0, copied=1), 0.01, "")


def test_vessels_are_claimed_to_differ_only_where_they_do_and_images_suffice() -> None:
    assert words.vessel_verdict(found(shift=0.0))[1] == "No difference in vessels was shown (drawn, psi 1)."
    assert (
        words.vessel_verdict(found(shift=2.0))[1] == "Vessels differ from the photographs' (drawn, psi 1): vessel area."
    )
    assert cells(words.vessels_table(found(shift=2.0)), "vessel area / field of view")[2].endswith("] *")  # type: ignore[arg-type]
    few = words.vessel_verdict(found(num_samples=4, shift=2.0))[2]
    assert few == "Too few images to say whether vessels differ (samples, psi 0.7)."


def test_without_a_teacher_nothing_is_said_of_vessels() -> None:
    raw = found(vessels=False)
    assert words.vessels_table(raw) is None
    assert words.vessel_verdict(raw) == []
    assert "vessel" not in words.as_text(raw).lower()


def test_what_could_not_be_measured_is_told_with_its_reason() -> None:
    raw = found(num_training=3, k=5)
    assert cells(words.measures_table(raw), "precision") == ("–", "–", "–")
    assert "Not measured: k = 5 needs more than 5 images on both sides." in words.notes(raw)


def test_the_text_holds_every_table_and_sentence_in_lines_that_can_be_read() -> None:
    raw = found(copied=1)
    text = words.as_text(raw)
    assert "FID is biased upwards on so few images" in text
    for sentence in (*words.copy_verdict(raw), *words.copy_basis(raw), *words.notes(raw)):
        assert sentence in " ".join(text.split("\n"))
    assert max(len(line) for line in text.splitlines()) < 130


def test_the_json_holds_no_nan_and_every_number_has_a_key_of_its_own() -> None:
    raw = json.loads(json.dumps(found(num_training=3, num_samples=1), allow_nan=False))
    keys = [m["key"] for each in raw["sets"].values() for m in each["measures"]]
    assert len(keys) == len(set(keys))
    assert raw["sets"]["samples"]["measures"][0]["value"] is None


def test_every_image_stands_in_the_csv_with_its_nearest_photograph(tmp_path: Path) -> None:
    assessment = made(copied=2)
    write(tmp_path, assessment)
    rows = list(csv.DictReader(io.StringIO((tmp_path / records.NEAREST).read_text())))
    assert len(rows) == 11 + 40 + 16
    copies = [row for row in rows if row["copy"] == "1"]
    assert [(row["set"], row["image"], row["nearest"]) for row in copies] == [
        ("drawn", "seed0000", "0_training"), ("drawn", "seed0001", "1_training"),
        ("samples", "seed0000", "0_training"), ("samples", "seed0001", "1_training"),
    ]  # fmt: skip
    assert copies[1]["transform"] == "mirrored"
    assert json.loads((tmp_path / records.NUMBERS).read_text())["sets"]["drawn"]["copies"]["names"] == [
        "seed0000", "seed0001",
    ]  # fmt: skip


def test_every_number_stands_in_a_csv_under_the_key_it_is_logged_by(tmp_path: Path) -> None:
    assessment = made(copied=2)
    write(tmp_path, assessment)
    rows = list(csv.DictReader(io.StringIO((tmp_path / records.TABLE).read_text())))
    expected = {f"{s.name}/{key}": value for s in assessment.sets for key, value in assessment.numbers(s.name).items()}
    assert {row["key"]: float(row["value"]) for row in rows} == expected
    kid = next(row for row in rows if row["key"] == "drawn/kid40_phantom_train12_teacher")
    assert float(kid["low"]) < float(kid["value"]) < float(kid["high"])
    assert (kid["num_real"], kid["num_drawn"]) == ("12", "40")


def test_what_is_cleared_is_all_that_is_ever_written_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, made())
    records.write_snapshots(tmp_path, [1.0], [made()])
    assert {path.name for path in tmp_path.iterdir()} == set(records.FILES)
    (tmp_path / "mine.txt").touch()
    for _ in range(2):
        records.clear(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_snapshots_are_a_row_each_and_a_chart(tmp_path: Path) -> None:
    each = [made(shift=shift, num_drawn=10) for shift in (2.0, 1.0, 0.1)]
    records.write_snapshots(tmp_path, [1.0, 2.0, 4.5], each)
    rows = list(csv.DictReader(io.StringIO((tmp_path / records.SNAPSHOTS).read_text())))
    assert [row["kimg"] for row in rows] == ["1", "2", "4.5"]
    assert float(rows[0]["kid"]) > float(rows[1]["kid"]) > float(rows[2]["kid"])
    assert float(rows[2]["kid_low"]) < float(rows[2]["kid"]) < float(rows[2]["kid_high"])
    assert images.read_size(tmp_path / records.SNAPSHOTS_CHART)[1] > 800
    table = words.curve_table([1.0, 2.0, 4.5], [as_json(one) for one in each])
    assert [row[0] for row in table.rows] == ["1", "2", "4.5"]
