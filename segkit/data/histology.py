"""Patches of stained sections with colour-coded masks, in the layout of a public notebook on adversarial segmentation.

    images/W18_0007.png   masks/W18_0007.png      also in TRAINING_data/, or divided into training/ and test/

A mask shows each class in its colour, or as an index. `classes.yaml` names the classes and their `colors`; without one
they are background, glomerulus, podocyte and non-podocyte nucleus. Patches of one slide are one group: the slide is the
name without one or two numbers at its end (`<slide>_<patch>`, `<slide>_<x>_<y>`); for other names write a groups.csv.
All pixels count.
"""

import re
from dataclasses import replace
from pathlib import Path

from segkit.core.classes import DEFAULT_COLORS, Classes
from segkit.data import folder, groups, readers
from segkit.data.readers import Dataset, Finding

NAME = "histology"
CLASSES = Classes(
    kind="multiclass",
    names=("background", "glomerulus", "podocyte", "non-podocyte"),
    colors=DEFAULT_COLORS[:4],
    field_of_view=False,
)
PATCH_NAME = re.compile(r"(.+?)(?:_[a-z]?\d+){1,2}", re.IGNORECASE)
"""A slide and the number or position of a patch on it."""


def read(root: Path) -> Dataset:
    """List and pair the files; what is wrong with single patches is among the findings.

    Raises:
        DatasetError: there are no images, or groups.csv does not fit them.
    """
    base = readers.existing_folder(root)
    if (base / "TRAINING_data" / "images").is_dir():
        base = base / "TRAINING_data"
    classes = folder.read_classes(base / folder.CLASSES, CLASSES).model_copy(update={"field_of_view": False})
    dataset = folder.list_folder(base, classes, slide, NAME)
    alone = [row.name for row in dataset.rows if PATCH_NAME.fullmatch(row.name) is None]
    if groups.table(base) is None and alone:
        warning = f"no slide in {groups.listed(alone)}: each counts as a slide of its own; give slides in groups.csv"
        dataset = replace(dataset, findings=(*dataset.findings, Finding("warning", warning)))
    return dataset


def slide(name: str) -> str:
    """The slide of a patch, by the patch's name."""
    return match[1] if (match := PATCH_NAME.fullmatch(name)) else name
