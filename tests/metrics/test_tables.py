import math

import pytest

from segkit.metrics.measure import Measurement
from segkit.metrics.tables import cell, render, tabulate


def number(metric="dice", value=0.82671, region="fov", averaging="pooled", source="fixed-0.5", n=20, low=0.8212):
    threshold = None if source == "none" else 0.5
    return Measurement(metric, "vessel", region, averaging, threshold, source, n, value, low, low + 0.011)


def test_the_heading_says_what_the_numbers_are():
    [table] = tabulate({"teacher": [number()]})
    for part in ("vessel", "region fov", "pooled", "threshold fixed-0.5", "n = 20"):
        assert part in table.heading
    assert table.columns == ("Run", "Threshold", "Dice (F1)")
    assert table.rows == [{"Run": "teacher", "Threshold": "0.5000", "Dice (F1)": "0.8267 [0.8212, 0.8322]"}]


def test_an_unmeasured_cell_stays_empty():
    [table] = tabulate({"teacher": [number(), number("cldice")], "student": [number(value=math.nan)], "control": []})
    teacher, student, control = table.rows
    assert teacher["clDice"] != ""
    assert (student["Dice (F1)"], student["clDice"]) == ("", "")
    assert control == {"Run": "control", "Threshold": "", "Dice (F1)": "", "clDice": ""}


@pytest.mark.parametrize("other", [{"region": "all-pixels"}, {"averaging": "per-image"}, {"source": "val-best-dice"}])
def test_numbers_of_another_kind_never_share_a_table(other):
    tables = tabulate({"a": [number()], "b": [number(value=0.9, **other)]})
    assert [[row["Run"] for row in table.rows if row["Dice (F1)"]] for table in tables] == [["a"], ["b"]]
    assert tables[0].heading != tables[1].heading


def test_threshold_free_metrics_stand_in_the_table_of_every_threshold_source():
    run = [number(), number(source="val-best-dice"), number("auroc", source="none")]
    assert [table.columns for table in tabulate({"a": run})] == [("Run", "Threshold", "Dice (F1)", "AUROC")] * 2
    [alone] = tabulate({"a": run[2:]})
    assert "threshold none" in alone.heading


def test_runs_on_different_numbers_of_images_are_told_apart():
    [table] = tabulate({"a": [number()], "b": [number(n=4)]})
    assert "n = 4 to 20" in table.heading


def test_one_image_is_one_image():
    assert "| n = 1 image |" in tabulate({"a": [number(n=1)]})[0].heading


def test_what_has_none_of_the_metrics_asked_for_has_no_table():
    found = [number(), number("auroc", region="all-pixels")]
    (table,) = tabulate({"a": found}, metrics=["dice"])
    assert "region fov" in table.heading
    assert table.columns == ("Run", "Threshold", "Dice (F1)")


def test_a_number_without_interval_stands_alone():
    assert cell(number(low=math.nan)) == "0.8267"


def test_plain_text_lines_up():
    text = render(tabulate({"teacher": [number()], "gan-student": [number(value=0.83)]})[0])
    _, _, header, rule, *rows = text.splitlines()
    column = header.index("Dice (F1)")
    assert rule[column - 2 : column] == "  "
    assert [row[column : column + 6] for row in rows] == ["0.8267", "0.8300"]


def test_a_wide_table_goes_on_below_with_the_run_repeated():
    table = tabulate({"teacher": [number(name) for name in ("dice", "mcc", "iou")]})[0]
    text = render(table, width=60)
    assert max(len(line) for line in text.splitlines()[1:]) <= 60
    assert text.count("teacher") == 2
    assert all(text.count(column) == 1 for column in table.columns[1:])
