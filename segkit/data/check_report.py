"""The text of `segkit data check`."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from segkit.core.files import sha256_file
from segkit.core.manifest import Row, Split
from segkit.core.wording import counted_images
from segkit.data.readers import CheckResult, Dataset, RowReport

SPLIT_WORDS: dict[Split, str] = {"train": "training", "val": "validation", "holdout": "held-out", "test": "test"}


def image_lines(dataset: Dataset, checked: CheckResult) -> Iterator[str]:
    """A line for each image whose files are whole: part, size, class shares, field of view, digest, patient."""
    rows = {row.name: row for row in dataset.rows}
    grouped = dataset.num_groups < len(rows)
    for report in checked.reports:
        row = rows[report.name]
        patient = f"  patient {row.group}" if grouped else ""
        split, size = SPLIT_WORDS[row.split], f"{report.width}x{report.height}"
        contents = f"{_labels(report)}  {_fov(row, report)}  {_digest(row)}{patient}"
        yield f"{row.name:<16} {split:<10} {size}  {contents}"


def summary_lines(dataset: Dataset, checked: CheckResult) -> Iterator[str]:
    """Sizes, parts and class shares of all images whose files are whole."""
    sizes = Counter(f"{report.width}x{report.height}" for report in checked.reports)
    if sizes:
        yield f"sizes: {', '.join(f'{size} ({number})' for size, number in sizes.most_common())}"
    splits = Counter(row.split for row in dataset.rows)
    yield f"parts: {', '.join(f'{splits[split]} {word}' for split, word in SPLIT_WORDS.items() if splits[split])}"
    kind = "white pixels are" if dataset.classes.kind == "binary" else "classes are"
    yield f"{kind}: {', '.join(dataset.classes.names)}"
    for name in dataset.classes.names:
        shares = [report.class_shares[name] for report in checked.reports if name in report.class_shares]
        if shares:
            yield f"{name}: {np.mean(shares):.2%} of pixels on average, {min(shares):.2%} to {max(shares):.2%}"


def counts(dataset: Dataset) -> str:
    """How many images of how many patients there are, and how many are labelled."""
    labelled = sum(row.reference is not None for row in dataset.rows)
    return f"{dataset.name}: {counted_images(len(dataset.rows), dataset.num_groups)}, {labelled} labelled"


def _labels(report: RowReport) -> str:
    whole = "image" if report.region_share is None else "fov"
    shares = ", ".join(f"{name} {share:6.2%}" for name, share in report.class_shares.items())
    return f"{shares} of {whole}" if shares else "no labels"


def _fov(row: Row, report: RowReport) -> str:
    if report.region_share is None:
        return "all pixels count"
    return f"fov {report.region_share:6.2%}{' (estimated)' if row.region is None else ''}"


def _digest(row: Row) -> str:
    page = f" page {row.image.frame}" if row.image.frame else ""
    return f"{sha256_file(row.image.path)[:12]}{page}"
