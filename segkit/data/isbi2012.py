"""ISBI 2012 (Cardona et al. 2010, Arganda-Carreras et al. 2015): 30 sections of neuropil of 512x512 under the electron
microscope.

    train-volume.tif   train-labels.tif   test-volume.tif        one page for each section
    train/image/0.png  train/label/0.png  test/image/0.png       or one file for each; also train_img/, train_label/

Labels are white (255) in the cells' interior and black (0) on membranes. The positive class is the interior; membrane
is what is not positive. All pixels count. The sections are neighbours in one specimen, and each is its own group: a
split measures how well a network segments this specimen, not another one.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from segkit.core import images
from segkit.core.classes import Classes
from segkit.core.manifest import Role, Row, Source, Split
from segkit.core.wording import counted
from segkit.data import pairing, readers
from segkit.data.pairing import Kind
from segkit.data.readers import Dataset, Finding, Published

NAME = "isbi2012"
LAYOUT = "train-volume.tif with train-labels.tif, or train/image/0.png with train/label/0.png"
CLASSES = Classes(names=("interior",), field_of_view=False)
PUBLISHED = Published(30, height=512, width=512)
SPLITS: tuple[Split, ...] = ("train", "test")
KINDS: dict[Kind, str] = {"image": "(?:image|img)s?", "reference": "(?:label|mask)s?"}
PATTERNS: pairing.Patterns = {
    (split, kind): rf"{split}[/_]{folder}/(\d+)" for split in SPLITS for kind, folder in KINDS.items()
}


def read(root: Path) -> Dataset:
    """List the sections and pair them with their labels.

    Raises:
        DatasetError: there are no images, or groups.csv does not fit them.
        ImageError: a volume is damaged.
    """
    base = readers.existing_folder(root)
    volumes = {
        (split, kind): path
        for split in SPLITS
        for kind, stem in (("image", f"{split}-volume"), ("reference", f"{split}-labels"))
        for path in readers.image_files(base)
        if path.stem == stem
    }
    if not volumes:
        return pairing.list_dataset(
            NAME, base, PATTERNS, LAYOUT, classes=CLASSES, published=PUBLISHED, name_of=_section
        )
    rows: list[Row] = []
    findings: list[Finding] = []
    for split in SPLITS:
        image, labels = volumes.get((split, "image")), volumes.get((split, "reference"))
        rows += _pages(split, image, labels)
        findings += _unpaired(base, split, image, labels)
    return pairing.assemble(
        NAME, base, pairing.grouped(base, rows), findings, LAYOUT, classes=CLASSES, published=PUBLISHED
    )


def _section(split: Split, path: Path) -> str:
    return f"{split}-{int(re.sub(r'[^0-9]', '', path.stem)):02d}"


def _pages(split: Split, image: Path | None, labels: Path | None) -> Iterator[Row]:
    num_pages = 0 if image is None else images.num_frames(image)
    num_labelled = 0 if labels is None else images.num_frames(labels)
    for page in range(num_pages):
        assert image is not None
        reference: dict[Role, Source] = {}
        if labels is not None and page < num_labelled:
            reference["reference"] = Source(labels, page)
        yield Row(f"{split}-{page:02d}", split, Source(image, page), reference)


def _unpaired(base: Path, split: Split, image: Path | None, labels: Path | None) -> Iterator[Finding]:
    if image is None and labels is not None:
        yield Finding("error", f"{labels} belongs to no volume; add {base / f'{split}-volume.tif'}")
    if image is not None and labels is None and split == "train":
        yield Finding("error", f"{image} has no labels; add {base / f'{split}-labels.tif'}")
    if image is not None and labels is not None:
        pages, labelled = images.num_frames(image), images.num_frames(labels)
        if pages != labelled:
            yield Finding(
                "error", f"{image} has {counted(pages, 'page')} and {labels} {labelled}; put the originals back"
            )
