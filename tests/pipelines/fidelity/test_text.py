"""An assessment as tables, sentences and files."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gan.fidelity.measures import Number
from pipelines.fidelity import files, text
from pipelines.fidelity.text import digits
from pipelines.results.final_numbers import fidelity_numbers
from segkit.core import images
from tests.pipelines.fidelity_runs import assessment_of, write


def cells(table: text.Table, name: str) -> list[Number | str]:
    return list(dict(table.rows)[name])


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_each_column_is_a_set_with_its_number_of_images() -> None:
    table = text.measures_table(assessment_of())
    assert table.columns == ("", "held-out photographs", "drawn, psi 1", "samples, psi 0.7")
    assert cells(table, "images") == ["11", "40", "16"]
    assert "phantom_train" in table.caption


def test_a_cell_is_a_number_with_its_interval() -> None:
    assessment = assessment_of()
    assert cells(text.measures_table(assessment), "KID")[1] == assessment.sets["drawn"].numbers["kid"]
    assert cells(text.measures_table(assessment), "copies")[1] == "0 of 40"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.04941, "0.0494"), (-0.002, "-0.00200"), (1234.5, "1234"), (12.0, "12.0"), (0, "0"), (None, "–"), (1, "1.00")],
)
def test_numbers_have_three_digits(value: float | None, expected: str) -> None:
    assert digits(value) == expected


def test_a_number_without_an_interval_has_no_brackets() -> None:
    assert text.cell(Number(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
    assert text.cell(Number(0.5)) == text.cell(Number.of(0.5, math.nan, math.nan)) == "0.500"


def test_copies_are_counted_in_generated_sets_only() -> None:
    drawn, samples = text.copy_sentences(assessment_of(copied=3, alarms=2))
    assert "3 of 40 (drawn, psi 1), 7.5 %" in drawn
    assert "3 of 16 (samples, psi 0.7)" in samples


def test_images_differ_if_the_interval_of_kid_lies_above_that_of_held_out_photographs() -> None:
    far, near = (text.quality_sentences(assessment_of(shift=shift)) for shift in (0.5, 0.0))
    assert len(far) == len(near) == 2  # one for each generated set
    assert all("differ clearly from held-out photographs" in sentence for sentence in far)
    assert all("do not differ" in sentence for sentence in near)
    kid = assessment_of(shift=0.5).sets["drawn"].numbers["kid"]
    assert f"KID {digits(kid.value)}" in far[0]


def test_the_criterion_gives_threshold_and_false_alarms() -> None:
    criterion = " ".join(text.copy_criterion(assessment_of(alarms=1)))
    assert "0.80 times" in criterion
    assert "1 of 11 held-out photographs, 9.09 %" in criterion
    assert "unknown" in " ".join(text.copy_criterion(assessment_of(num_heldout=0)))


def test_only_by_the_gans_record_are_the_photographs_its_training_images() -> None:
    claim = "are the GAN's training images"
    assert claim in text.whole_text(assessment_of())
    noted = text.whole_text(assessment_of(note="there is no record"))
    assert claim not in noted
    assert "held-out" not in noted
    assert "Note: there is no record." in noted


def test_vessels_differ_only_where_they_do_and_images_suffice() -> None:
    assert "no difference" in text.vessel_sentences(assessment_of(shift=0.0))[1]
    shifted = assessment_of(shift=2.0)
    assert "vessel area" in text.vessel_sentences(shifted)[1]
    assert "too few" in text.vessel_sentences(assessment_of(num_samples=4, shift=2.0))[2]


def test_without_a_teacher_there_is_nothing_on_vessels() -> None:
    assessment = assessment_of(vessels=False)
    assert len(text.tables(assessment)) == 1
    assert text.vessel_sentences(assessment) == []
    assert "vessel" not in text.whole_text(assessment).lower()


def test_what_could_not_be_measured_has_its_reason() -> None:
    assessment = assessment_of(num_training=3, k=5)
    assert [text.cell(cell) for cell in cells(text.measures_table(assessment), "precision")] == ["–", "–", "–"]
    assert any("k = 5 needs more than 5 images" in note for note in text.notes(assessment))


def test_the_text_holds_every_table_and_sentence_in_short_lines() -> None:
    assessment = assessment_of(copied=1)
    lines = text.whole_text(assessment).splitlines()
    for sentence in (*text.copy_sentences(assessment), *text.copy_criterion(assessment), *text.notes(assessment)):
        assert sentence in " ".join(lines)
    assert max(map(len, lines)) < 140


def test_an_assessment_is_read_as_it_was_written_but_for_its_pairs(tmp_path: Path) -> None:
    for number, assessment in enumerate(
        (assessment_of(copied=2), assessment_of(num_training=3, num_heldout=0), assessment_of(vessels=False, note="a"))
    ):
        out = tmp_path / str(number)
        write(out, assessment)
        sets = {name: replace(images, pairs=()) for name, images in assessment.sets.items()}
        assert files.read(out / files.NUMBERS) == replace(assessment, sets=sets)


def test_the_json_holds_no_nan() -> None:
    raw = json.loads(json.dumps(files.as_json(assessment_of(num_training=3, num_samples=1)), allow_nan=False))
    assert raw["sets"]["samples"]["numbers"]["kid"]["value"] is None


def test_every_image_is_in_the_csv_with_its_nearest_photograph(tmp_path: Path) -> None:
    write(tmp_path, assessment_of(copied=2))
    rows = rows_of(tmp_path / files.NEAREST)
    assert len(rows) == 11 + 40 + 16
    copies = [row for row in rows if row["copy"] == "1"]
    assert [(row["set"], row["image"], row["nearest"]) for row in copies] == [
        ("drawn", "seed0000", "0_training"), ("drawn", "seed0001", "1_training"),
        ("samples", "seed0000", "0_training"), ("samples", "seed0001", "1_training"),
    ]  # fmt: skip
    assert copies[1]["transform"] == "mirrored"


def test_every_number_is_in_a_csv_under_its_key_in_the_tracker(tmp_path: Path) -> None:
    assessment = assessment_of(copied=2)
    write(tmp_path, assessment)
    rows = rows_of(tmp_path / files.TABLE)
    measures = {
        f"{name}/{measure}{images.n}_phantom_train12_teacher": images.numbers[measure].value
        for name, images in assessment.sets.items()
        for measure in ("kid", "fid", "precision", "recall")
    }
    shares = {
        f"{name}/copy_share{images.n}_phantom_train12": images.num_copies / images.n
        for name, images in assessment.sets.items()
    }
    assert {row["key"]: float(row["value"]) for row in rows} == measures | shares
    kid = next(row for row in rows if row["key"] == "drawn/kid40_phantom_train12_teacher")
    assert float(kid["low"]) < float(kid["value"]) < float(kid["high"])
    assert (kid["num_real"], kid["num_drawn"]) == ("12", "40")


def test_what_was_not_measured_has_no_number_in_the_tracker(tmp_path: Path) -> None:
    assessment = assessment_of(num_training=3, num_samples=1)
    write(tmp_path, assessment)
    numbers = fidelity_numbers(tmp_path / files.TABLE)
    assert "samples/copy_share1_phantom_train3" in numbers
    assert not any(key.startswith("samples/precision") for key in numbers)
    assert not any(isinstance(value, float) and math.isnan(value) for value in numbers.values())


def test_all_written_files_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, assessment_of())
    files.write_snapshots(tmp_path, {1.0: assessment_of()})
    assert {path.name for path in tmp_path.iterdir()} == set(files.FILES)
    (tmp_path / "mine.txt").touch()
    for _ in range(2):
        files.clear(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_snapshots_are_a_row_each_and_a_chart(tmp_path: Path) -> None:
    snapshots = {kimg: assessment_of(shift=shift, num_drawn=10) for kimg, shift in ((1.0, 2.0), (2.0, 1.0), (4.5, 0.1))}
    files.write_snapshots(tmp_path, snapshots)
    rows = rows_of(tmp_path / files.SNAPSHOTS)
    assert [row["kimg"] for row in rows] == ["1", "2", "4.5"]
    assert float(rows[0]["kid"]) > float(rows[1]["kid"]) > float(rows[2]["kid"])
    assert float(rows[2]["kid_low"]) < float(rows[2]["kid"]) < float(rows[2]["kid_high"])
    assert images.read_size(tmp_path / files.SNAPSHOTS_CHART)[1] > 800
    assert [name for name, _ in text.snapshots_table(snapshots).rows] == ["1", "2", "4.5"]
