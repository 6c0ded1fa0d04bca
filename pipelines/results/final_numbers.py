"""A pipeline's final numbers under flat keys, which W&B can sort and plot.

The key of a score is `<split>/<model>/<region>/<averaging>/<metric>`, for example `test/ensemble/fov/pooled/dice`.
Images without a field of view have the region `all-pixels` alone. The suffixes `_low` and `_high` are the ends of the
95 % interval, `_n` is the number of images. With several classes this key holds the summary over all classes, and
`<metric>/<class>` one class, for example `test/ensemble/fov/pooled/dice/disc`. The difference between a student and its
control is `verdict/<student>/dice_difference`. A number that is not defined has no key.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.core.files import read_csv
from segkit.core.wording import is_nan

if TYPE_CHECKING:
    from segkit.core.manifest import Split
    from segkit.metrics.measure import Measurement

Numbers = dict[str, float | int | str]


def evaluation_numbers(measured: Mapping["Split", Mapping[str, Sequence["Measurement"]]]) -> Numbers:
    """Scores and thresholds of an evaluation, by split and model."""
    numbers: list[tuple[str, float | None]] = []
    for split, models in measured.items():
        for model, measurements in models.items():
            prefix = f"{split}/{_dashed(model)}"
            for m in measurements:
                # the first class of a run is its summary
                suffix = "" if m.class_name == measurements[0].class_name else f"/{_dashed(m.class_name)}"
                key = f"{prefix}/{m.region}/{m.averaging}/{m.metric}{suffix}"
                numbers += [(key, m.value), (f"{key}_low", m.low), (f"{key}_high", m.high), (f"{key}_n", m.n)]
                numbers.append((f"{prefix}/threshold", m.threshold))
    return _defined(numbers)


def _dashed(name: str) -> str:
    return name.replace(" ", "-")


def verdict_numbers(verdict: Mapping[str, Any]) -> Numbers:
    """Headline and outcome of a `verdict.json`, and the difference in Dice behind each finding."""
    numbers = [
        ("verdict/sentence", verdict["headline"]),
        ("verdict/outcome", verdict["outcome"]),
        ("verdict/split", (verdict["basis"] or {}).get("split")),
    ]
    findings = {finding["student"]: finding for finding in verdict["students"]}
    if verdict["ensemble"]:
        findings["ensemble"] = verdict["ensemble"]
    for name, finding in findings.items():
        comparison, key = finding["comparison"], f"verdict/{name}"
        numbers += [(f"{key}/outcome", finding["outcome"]), (f"{key}/dice_difference", comparison["difference"])]
        numbers += [(f"{key}/dice_difference_{part}", comparison[part]) for part in ("low", "high", "n")]
        numbers.append((f"{key}/sign_flip_p", finding["sign_flip_p"]))
    return _defined(numbers)


def fidelity_numbers(path: Path) -> Numbers:
    """The measures of a GAN in a `fidelity.csv`, under its keys; none if there is no such file."""
    if not path.exists():
        return {}
    return {
        row["key"] + suffix: float(row[column])
        for row in read_csv(path)
        for suffix, column in (("", "value"), ("_low", "low"), ("_high", "high"))
        if row[column]
    }


def _defined(numbers: Iterable[tuple[str, float | str | None]]) -> Numbers:
    return {key: value for key, value in numbers if value is not None and not is_nan(value)}
