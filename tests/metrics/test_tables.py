import math
from dataclasses import replace

import pytest

from segkit.metrics.measure import Measurement
from segkit.metrics.tables import HEADINGS, MAX_WIDTH, cell, metric_tables, render, tabulate


def number(metric="dice", value=0.82671, region="fov", averaging="pooled", source="fixed-0.5", n=20, low=0.8212):
    threshold = None if source == "none" else 0.5
    return Measurement(metric, "vessel", region, averaging, threshold, source, n, n, value, low, low + 0.011)


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


def test_where_patients_have_several_images_both_numbers_and_what_intervals_are_over_are_given():
    [table] = tabulate({"a": [replace(number(n=28), num_groups=14)]})
    assert "| n = 28 images of 14 patients | 95 % intervals over patients" in table.heading
    several = tabulate({"a": [replace(number(n=28), num_groups=14)], "b": [replace(number(n=20), num_groups=10)]})
    assert "n = 20 to 28 images of 10 to 14 patients" in several[0].heading


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


def test_one_run_is_a_table_of_metrics_for_each_region():
    run = [
        number("dice", region=region, averaging=averaging, value=value)
        for region, value in (("fov", 0.8), ("all-pixels", 0.7))
        for averaging in ("pooled", "per-image")
    ] + [number("auroc", source="none")]
    fov, whole = metric_tables(run)
    assert [row["Metric"] for row in fov.rows] == ["Dice (F1)", "AUROC"]
    assert fov.columns == ("Metric", "pooled [95 % interval]", "mean over images [95 % interval]")
    assert fov.rows[1][fov.columns[2]] == ""
    assert [row[whole.columns[1]][:6] for row in whole.rows] == ["0.7000"]
    assert "region fov | threshold 0.5000 (fixed-0.5) | n = 20 images" in fov.heading
    with pytest.raises(ValueError, match="one threshold"):
        metric_tables([*run, number("mcc", source="val-best-dice")])


def test_a_mean_over_fewer_images_says_so_and_a_number_without_interval_has_no_brackets():
    run = [number(low=math.nan), number(averaging="per-image", n=7, low=math.nan)]
    (table,) = metric_tables(run)
    assert table.rows == [{"Metric": "Dice (F1)", "pooled": "0.8267", "mean over images": "0.8267 (n = 7)"}]
    assert "95 %" not in tabulate({"a": run})[0].heading


def test_a_table_of_every_metric_of_three_runs_fits_a_terminal():
    runs = {name: [number(metric) for metric in HEADINGS] for name in ("teacher", "student", "a-name-of-some-length")}
    tables = [*tabulate(runs), *metric_tables(runs["teacher"])]
    assert max(len(line) for table in tables for line in render(table, MAX_WIDTH).splitlines()) <= MAX_WIDTH
