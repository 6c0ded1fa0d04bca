"""Fill the tables of measured figures in these pages and in the README.

    python docs/fill_tables.py runs/gpu/gpu.json    # copies the file to docs/gpu.json, then fills all tables
    python docs/fill_tables.py                      # fills all tables from the files in the repository

`segkit bench gpu` writes `gpu.json`. The README's accuracy table is made from published results, `docs/drive.csv`, and
from the scores in the cards of the shipped models. The table of robustness is made from the files in docs/robustness,
which `segkit bench robustness` wrote. A table stands between the lines `<!-- NAME begin -->` and `<!-- NAME end -->`;
what was not measured stays empty. settings.md as a whole is made from the settings classes, the table of metrics.md
from the metrics.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segkit.cli import settings_reference as reference
from segkit.core.files import read_csv
from segkit.metrics.metrics import METRICS
from segkit.weights import shipped_models

DOCS = Path(__file__).parent
FIGURES = DOCS / "gpu.json"
README = DOCS.parent / "README.md"
PUBLISHED = DOCS / "drive.csv"
ROBUSTNESS = DOCS / "robustness"
SPLIT_NAMES = {"val": "validation", "holdout": "held-out"}
THRESHOLD_NAMES = {
    "val-best-dice": "from validation images",
    "other-folds-best-dice": "from the other folds",
    "fixed-0.5": "0.5",
}
Steps = Mapping[str, Mapping[str, Any]]

SETTINGS_HEAD = """\
# Settings

Every setting of every recipe, with its type, range and default. `segkit settings NAME` prints the same for a recipe, a
section or a key, and `segkit pipeline show NAME` the values that a recipe and its shipped settings file give. The first
tables are the recipes: their keys are the sections of a settings file. A section that several recipes or keys use is
described once, below. `python docs/fill_tables.py` writes this page; [own-data.md](own-data.md) shows how to use it.
"""


def _origin(step: Mapping[str, Any]) -> str:
    """GPU, versions, commit and date of a step."""
    m = step["machine"]
    versions = f"driver {m['driver']}, torch {m['torch']}, CUDA {m['cuda']}"
    return f"{m['gpu']}, {versions}; commit {m['commit']}, {step['date']}"


def _quartiles(row: Mapping[str, float], key: str, prefix: str = "") -> str:
    return f"{row[key]:.2f} ({row[f'{prefix}low']:.2f} to {row[f'{prefix}high']:.2f})"


def _interval(value: Mapping[str, float | None], digits: int) -> str:
    """A value with its 95 % interval where there is one."""
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:#.{digits}g}"
    return f"{value['value']:#.{digits}g} [{value['low']:#.{digits}g}, {value['high']:#.{digits}g}]"


def _steps(steps: Steps) -> Iterator[list[str]]:
    yield ["step", "result", "seconds", "measured on"]
    tests, demo = steps.get("tests", {}), steps.get("demo", {})
    counts, dice = tests.get("figures"), demo.get("figures", {}).get("dice")
    passed = f"{counts['passed']} passed, {counts['failures'] + counts['errors']} failed" if counts else ""
    reached = f"teacher's test Dice {_interval(dice['teacher'], 3)}" if dice else ""
    for name, step, result in (("tests that need a GPU", tests, passed), ("demo recipe", demo, reached)):
        yield [name, result, f"{step['seconds']:.0f}" if result else "", _origin(step) if result else ""]


def _segmenter(steps: Steps) -> Iterator[list[str]]:
    yield ["image", "batch", "", "precision", "images/s (quartiles)", "x 32-true", "measured on"]
    for size in (512, 592):
        step = steps.get(f"bench-{size}", {})
        figures = step.get("figures", {"rows": [], "batch": ""})
        for row in figures["rows"]:
            rate = _quartiles(row, "images_per_second")
            kind = [str(figures["batch"]), row["mode"], row["precision"]]
            yield [f"{size}x{size}", *kind, rate, f"{row['ratio']:.2f}", _origin(step)]
        if not figures["rows"]:
            yield [f"{size}x{size}", "", "", "", "", "", ""]


def _gan(steps: Steps) -> Iterator[list[str]]:
    yield ["networks, batch", "kind", "s/kimg (quartiles)", "x the straightforward path", "memory, GB", "measured on"]
    kinds = [("gan", kind) for kind in ("reference", "fp32", "bf16", "fp16")]
    kinds += [(f"gan-compiled-{precision}", f"{precision} compiled") for precision in ("fp32", "bf16", "fp16")]
    for name, kind in kinds:
        step = steps.get(name, {})
        title = "straightforward, fp32" if kind == "reference" else kind
        if "figures" not in step:
            yield ["paper512, 8", title, "", "", "", ""]
            continue
        figures = step["figures"]
        row = next(row for row in figures["rows"] if (row["kind"], row["phase"]) == (kind, "iteration"))
        memory = f"{figures['memory_mb'][kind] / 1000:.1f}"
        cells = [_quartiles(row, "s_per_kimg"), _quartiles(row, "ratio", "ratio_"), memory, _origin(step)]
        yield ["paper512, 8", title, *cells]


def _drive(steps: Steps) -> Iterator[list[str]]:
    yield [
        "GPU run on DRIVE",
        "kimg",
        "s/kimg",
        "KID",
        "share of copies",
        "vessel area, drawn (photographs)",
        "measured on",
    ]
    trained, judged = steps.get("drive-gan", {}), steps.get("drive-fidelity", {})
    cells = [""] * 6
    if "figures" in trained:
        figures = trained["figures"]
        cells[0], cells[1], cells[5] = f"{figures['kimg']:g}", f"{figures['s_per_kimg']:.2f}", _origin(trained)
    if "figures" in judged:
        drawn = judged["figures"]["sets"]["drawn"]
        areas = drawn["vessels"]["area_share"]["mean"], judged["figures"]["vessels"]["area_share"]
        shares = [f"{100 * area['value']:.1f} %" for area in areas]
        numbers = [_interval(drawn["numbers"][measure], 3) for measure in ("kid", "copy_share")]
        cells[2:5] = [*numbers, f"{shares[0]} ({shares[1]})"]
    yield ["256x256, `configs/gan-drive-256.yaml`", *cells]
    yield ["512x512, `configs/gan-drive-512.yaml`", *[""] * 6]


TABLES: Mapping[str, Mapping[str, Callable[[Steps], Iterator[list[str]]]]] = {
    "performance.md": {"gpu-steps": _steps, "gpu-segmenter": _segmenter, "gpu-gan": _gan},
    "gan.md": {"gpu-drive": _drive},
}
"""The tables of each page, by the names in its markers."""


def fill(page: str, text: str, steps: Steps) -> str:
    """A page's text with its tables made anew.

    Args:
        page: its file name.
        steps: the records of `gpu.json` by step.

    Raises:
        ValueError: a table's markers are not in the text once each.
    """
    for name, rows in TABLES[page].items():
        text = _replace(page, text, name, rows(steps))
    return text


def read_cards() -> dict[str, Any]:
    """`model.json` of each shipped model, by name."""
    cards = {name: folder / "model.json" for name, folder in shipped_models().items()}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in cards.items()}


def fill_readme(text: str, cards: Mapping[str, Any], published: Iterable[Mapping[str, str]]) -> str:
    """The README's text with its accuracy table made anew.

    Args:
        text: the README.
        cards: `model.json` of the shipped models, by name.
        published: the rows of docs/drive.csv.
    """
    return _replace("README.md", text, "drive-accuracy", _accuracy(cards, published))


def _accuracy(cards: Mapping[str, Any], published: Iterable[Mapping[str, str]]) -> Iterator[list[str]]:
    """Published results on DRIVE's test images, then the shipped models'; pooled scores inside the field of view."""
    columns = ["model", "images", "AUROC", "Dice (F1)", "protocol", "source"]
    yield columns
    yield from ([row[column] for column in columns] for row in published)
    for name, card in cards.items():
        yield from _shipped(name, card["details"]["card"])


def _shipped(name: str, card: Mapping[str, Any]) -> Iterator[list[str]]:
    """The rows of a shipped model; that of the test images is empty if they were not scored."""
    folds = [{"split": "out-of-fold"} | score for score in card.get("out_of_fold", {}).get("scores", [])]
    scores = [s for s in (*card["scores"], *folds) if (s["region"], s["averaging"]) == ("fov", "pooled")]
    for split in ("test", *sorted({score["split"] for score in scores} - {"test"})):
        by_metric = {score["metric"]: score for score in scores if score["split"] == split}
        cells = [_interval(by_metric[metric], 3) if by_metric else "" for metric in ("auroc", "dice")]
        images = f"{by_metric['dice']['n']} {SPLIT_NAMES.get(split, split)}" if by_metric else "20 test"
        source = by_metric["dice"]["threshold_source"] if by_metric else ""
        protocol = f"FOV, pooled; threshold {THRESHOLD_NAMES.get(source, source)}" if by_metric else "not measured"
        yield [f"**`{name}`, shipped with segkit**", images, *cells, protocol, "its model card"]


def fill_robustness(text: str, folder: Path = ROBUSTNESS) -> str:
    """The text of own-data.md with its table of Dice under degradations made anew, a column for each file."""
    columns = [folder / f"{name}.csv" for name in ("symmetries", "photo", "camera")]
    dice = [
        {row["degradation"]: float(row["value"]) for row in read_csv(path) if row["metric"] == "dice"}
        for path in columns
    ]
    rows = [["Dice", *(f"`{path.stem}`" for path in columns)]]
    rows += [[name, *(f"{values[name]:.3f}" for values in dice)] for name in dice[0]]
    return _replace("own-data.md", text, "robustness", rows)


def _replace(page: str, text: str, name: str, rows: Iterable[list[str]]) -> str:
    """The text with these rows, the head first, as its table of this name."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    table = _table(lines).replace("  ", " ")
    begin, end = f"<!-- {name} begin -->\n", f"\n<!-- {name} end -->"
    block = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
    if len(block.findall(text)) != 1:
        raise ValueError(f"{page} needs the lines {begin.strip()!r} and {end.strip()!r} once each")
    return block.sub(lambda _: table, text)


def take_over(path: Path) -> None:
    """Keep the finished steps of a `gpu.json` as docs/gpu.json; logs stay behind.

    Raises:
        SystemExit: it is of a rehearsal.
    """
    book = json.loads(path.read_text(encoding="utf-8"))
    if book["rehearsal"]:
        raise SystemExit(f"{path} is of a rehearsal, whose figures mean nothing; run `make gpu` on a GPU")
    done = {name: step for name, step in book["steps"].items() if step["state"] == "done"}
    FIGURES.write_text(json.dumps(book | {"steps": done}, indent=1) + "\n", encoding="utf-8")


def read_published() -> list[dict[str, str]]:
    """The rows of docs/drive.csv."""
    return read_csv(PUBLISHED)


def settings_page() -> str:
    """The content of docs/settings.md."""
    parts = [SETTINGS_HEAD]
    for section in reference.recipes().values():
        parts += [f"## Recipe {section.name}\n", *_markdown(section)]
    parts.append("## Sections\n")
    for section in reference.sections().values():
        parts += [f"### {_anchor(section.name)}\n", *_markdown(section)]
    return "\n".join(parts)


def _markdown(section: reference.Section) -> Iterator[str]:
    description = section.description
    yield f"{description[:1].upper()}{description[1:]}\n"
    if not section.settings:
        return
    rows = [["key", "type", "default", "meaning"], ["---"] * 4]
    for setting in section.settings:
        linked = re.sub(r"\[([^]]+)\]", lambda match: f"[{match[1]}](#{_anchor(match[1])})", setting.type)
        default = f"`{setting.default}`" if setting.default else ""
        rows.append([f"`{setting.key}`", linked, default, setting.description])
    yield _table(rows) + "\n"


def _anchor(name: str) -> str:
    return name.replace("++", "-plus-plus")


def metrics_table() -> str:
    """Every metric with its formula, its source and where it has no value."""
    rows = [["name", "metric", "formula", "source", "no value where", "averaging"], ["---"] * 6]
    for name, metric in METRICS.items():
        averaging = "per-image" if metric.per_image_only else "pooled, per-image"
        rows.append([f"`{name}`", metric.heading, metric.formula, metric.source, metric.undefined, averaging])
    return _table(rows) + "\n"


def _table(rows: Iterable[Iterable[str]]) -> str:
    """Rows as a table in Markdown."""
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def main(arguments: list[str]) -> None:
    """Fill the tables of all pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gpu_json", nargs="?", type=Path, help="the gpu.json that `make gpu` wrote")
    path = parser.parse_args(arguments).gpu_json
    if path is not None:
        take_over(path)
    text = fill_readme(README.read_text(encoding="utf-8"), read_cards(), read_published())
    README.write_text(text, encoding="utf-8")
    own_data = DOCS / "own-data.md"
    own_data.write_text(fill_robustness(own_data.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    prose = (DOCS / "metrics.md").read_text(encoding="utf-8").partition("| name |")[0]
    (DOCS / "metrics.md").write_text(prose + metrics_table(), encoding="utf-8")
    if not FIGURES.is_file():
        print(f"there is no {FIGURES}; the tables about GPUs stay as they are")
        return
    steps = json.loads(FIGURES.read_text(encoding="utf-8"))["steps"]
    for page in TABLES:
        text = (DOCS / page).read_text(encoding="utf-8")
        (DOCS / page).write_text(fill(page, text, steps), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
