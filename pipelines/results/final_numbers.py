"""A pipeline's final numbers under flat keys, as W&B sorts and plots them.

A score is `<split>/<model>/<region>/<averaging>/<metric>`, as in `test/ensemble/fov/pooled/dice`; `..._low` and
`..._high` are the ends of its 95 % interval and `..._n` is its number of images. With several classes that key sums
them up, and `<metric>/<class>` is one of them, as in `test/ensemble/fov/pooled/dice/disc`. A student minus its control
is `verdict/<student>/dice_difference`. Numbers that are not defined have no key.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Numbers = dict[str, float | int | str]


def of_evaluation(measurements: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> Numbers:
    """The scores and thresholds in `measurements.json`, by split and model."""
    return _defined(_scores(measurements))


def _scores(measurements: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, Any]]:
    for split, models in measurements.items():
        for model, records in models.items():
            run = f"{split}/{model.replace(' ', '-')}"
            summary = records[0]["class_name"] if records else ""  # what sums up a run comes first
            for record in records:
                name = record["class_name"]
                suffix = "" if name == summary else f"/{name.replace(' ', '-')}"
                key = f"{run}/{record['region']}/{record['averaging']}/{record['metric']}{suffix}"
                yield key, record["value"]
                yield from ((f"{key}_{part}", record[part]) for part in ("low", "high", "n"))
                if record["threshold"] is not None:
                    yield f"{run}/threshold", record["threshold"]


def of_verdict(verdict: Mapping[str, Any]) -> Numbers:
    """The sentence and the outcome in `verdict.json`, and the difference in Dice behind each claim."""
    return _defined(_claims(verdict))


def _claims(verdict: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "verdict/sentence", verdict["headline"]
    yield "verdict/outcome", verdict["outcome"]
    yield "verdict/split", (verdict["basis"] or {}).get("split")
    findings = {finding["student"]: finding for finding in verdict["students"]}
    if verdict["ensemble"]:
        findings["ensemble"] = verdict["ensemble"]
    for name, finding in findings.items():
        comparison = finding["comparison"]
        yield f"verdict/{name}/outcome", finding["outcome"]
        yield f"verdict/{name}/dice_difference", comparison["difference"]
        yield from ((f"verdict/{name}/dice_difference_{part}", comparison[part]) for part in ("low", "high", "n"))
        yield f"verdict/{name}/sign_flip_p", finding["sign_flip_p"]


def of_fidelity(path: Path) -> Numbers:
    """The measures of a GAN in `fidelity.csv`, under the keys it gives them; none if nothing was measured."""
    if not path.exists():
        return {}
    numbers: Numbers = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for suffix, column in (("", "value"), ("_low", "low"), ("_high", "high")):
                if row[column]:
                    numbers[row["key"] + suffix] = float(row[column])
    return numbers


def _defined(numbers: Iterator[tuple[str, Any]]) -> Numbers:
    return {key: value for key, value in numbers if value is not None}
