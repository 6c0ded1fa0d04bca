"""The tables in the pages are generated: from docs/gpu.json, the cards of shipped models, the settings, the metrics."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("fill_tables", DOCS / "fill_tables.py")
fill_tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fill_tables)

PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in fill_tables.TABLES}
README = fill_tables.README.read_text(encoding="utf-8")
MACHINE = {"gpu": "H100", "driver": "580.1", "torch": "2.11.0", "cuda": "13.0", "commit": "0123abc"}


def record(figures):
    return {"state": "done", "date": "2027-01-02", "seconds": 61.4, "machine": MACHINE, "figures": figures}


def bench_row(kind, phase, seconds):
    return {
        **{"kind": kind, "phase": phase, "s_per_kimg": seconds, "low": seconds - 1, "high": seconds + 1},
        **{"ratio": 3.0, "ratio_low": 2.5, "ratio_high": 3.5},
    }


@pytest.fixture
def book():
    return {
        "rehearsal": False,
        "steps": {
            "gan": record(
                {
                    "rows": [
                        bench_row(kind, phase, 10.0 * number)
                        for number, kind in enumerate(("reference", "fp32", "bf16", "fp16"), start=1)
                        for phase in ("Gmain", "iteration")
                    ],
                    "memory_mb": {"reference": 9000.0, "fp32": 4000.0, "bf16": 2500.0, "fp16": 2000.0},
                }
            ),
            "demo": {**record(None), "state": "failed", "log": ["/home/someone"], "reason": "exit code 1"},
            "drive-gan": record({"kimg": 110.0, "s_per_kimg": 4.321}),
        },
    }


@pytest.fixture
def docs(tmp_path, monkeypatch, book):
    """A copy of the pages, and the figures beside it."""
    for name in (*PAGES, "metrics.md", "own-data.md"):
        (tmp_path / name).write_text((DOCS / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(fill_tables, "DOCS", tmp_path)
    monkeypatch.setattr(fill_tables, "FIGURES", tmp_path / "gpu.json")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    monkeypatch.setattr(fill_tables, "README", tmp_path / "README.md")
    (tmp_path / "measured.json").write_text(json.dumps(book))
    return tmp_path


def rows_of(text, first):
    return [line.split(" | ") for line in text.splitlines() if line.startswith(f"| {first}")]


def test_the_committed_pages_are_what_the_script_makes_of_the_committed_figures():
    path = DOCS / "gpu.json"
    steps = json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else {}
    for name, text in PAGES.items():
        assert fill_tables.fill(name, text, steps) == text


def test_measured_cells_are_filled_and_the_others_stay_empty(docs):
    fill_tables.main([str(docs / "measured.json")])
    rows = rows_of((docs / "performance.md").read_text(), "paper512, 8")
    assert [row[1] for row in rows[:4]] == ["straightforward, fp32", "fp32", "bf16", "fp16"]
    assert rows[2][2:5] == ["30.00 (29.00 to 31.00)", "3.00 (2.50 to 3.50)", "2.5"]
    assert "H100" in rows[2][5]
    assert "2027-01-02" in rows[2][5]
    assert all(not any(char.isdigit() for char in " ".join(row[2:])) for row in rows[4:])
    (drive,) = rows_of((docs / "gan.md").read_text(), "256x256")
    assert drive[1:3] == ["110", "4.32"]


def test_filling_again_changes_nothing_and_text_around_the_tables_stays(docs):
    fill_tables.main([str(docs / "measured.json")])
    first = {name: (docs / name).read_text() for name in PAGES}
    fill_tables.main([])
    assert {name: (docs / name).read_text() for name in PAGES} == first
    assert {name: fill_tables.fill(name, text, {}) for name, text in first.items()} == PAGES


def test_without_figures_the_pages_stay_as_they_are(docs):
    fill_tables.main([])
    assert {name: (docs / name).read_text() for name in PAGES} == PAGES


def test_failed_steps_and_their_logs_are_not_taken_over(docs):
    fill_tables.main([str(docs / "measured.json")])
    kept = json.loads((docs / "gpu.json").read_text())["steps"]
    assert kept.keys() == {"gan", "drive-gan"}


def test_a_rehearsal_is_not_taken_over(docs, book):
    (docs / "measured.json").write_text(json.dumps(book | {"rehearsal": True}))
    with pytest.raises(SystemExit):
        fill_tables.main([str(docs / "measured.json")])
    assert not (docs / "gpu.json").exists()


def test_a_page_without_its_markers_is_refused():
    with pytest.raises(ValueError, match="gpu-drive"):
        fill_tables.fill("gan.md", "no table", {})


def test_the_readme_s_accuracy_table_is_made_of_the_committed_cards_and_results():
    assert fill_tables.fill_readme(README, fill_tables.read_cards(), fill_tables.read_published()) == README


def test_the_table_of_robustness_is_made_of_the_committed_files():
    page = (DOCS / "own-data.md").read_text(encoding="utf-8")
    assert fill_tables.fill_robustness(page) == page


def score(split, metric, value, **other):
    return {
        **{"split": split, "metric": metric, "value": value, "low": value - 0.01, "high": value + 0.01, "n": 20},
        **{"region": "fov", "averaging": "pooled", "threshold_source": "val-best-dice"},
        **other,
    }


def test_the_shipped_model_s_row_shows_pooled_scores_in_the_field_of_view_and_an_empty_cell_where_none_is():
    scores = [score("val", "dice", 0.75), score("val", "auroc", 0.95), score("val", "dice", 0.5, averaging="per-image")]
    text = "<!-- drive-accuracy begin -->\n\n<!-- drive-accuracy end -->"

    def rows(scores, **record):
        cards = {"vessels": {"details": {"card": {"scores": scores} | record}}}
        lines = fill_tables.fill_readme(text, cards, []).splitlines()
        return [[cell.strip() for cell in line.split("|")[2:5]] for line in lines if "vessels" in line]

    assert rows(scores) == [["20 test", "", ""], ["20 validation", "0.950 [0.940, 0.960]", "0.750 [0.740, 0.760]"]]
    tested = [*scores, score("test", "dice", 0.8), score("test", "auroc", 0.9)]
    assert rows(tested)[0] == ["20 test", "0.900 [0.890, 0.910]", "0.800 [0.790, 0.810]"]
    folds = [{key: value for key, value in measured.items() if key != "split"} for measured in tested[3:]]
    [_, last] = rows([], out_of_fold={"scores": folds})
    assert last == ["20 out-of-fold", "0.900 [0.890, 0.910]", "0.800 [0.790, 0.810]"]


def test_the_page_of_settings_is_current():
    page = fill_tables.settings_page()
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == page, "python docs/fill_tables.py writes it"
    assert len(page.splitlines()) < 1000


def test_the_table_of_metrics_is_current():
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert page.endswith(fill_tables.metrics_table()), "python docs/fill_tables.py writes it"
    assert all(metric.formula for metric in fill_tables.METRICS.values())
