"""Phantom data sets in the layout of each reader, to try a reader without its data and to test it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from segkit.core import files, images
from segkit.core.config import dump_yaml
from segkit.core.errors import RequestError
from segkit.data import histology, phantom, phantom_tissue, readers
from segkit.data.phantom import PhantomSample

DISEASES = ("h", "dr", "g")
"""Those of HRF: healthy, diabetic retinopathy, glaucoma."""
PATCHES_PER_SLIDE = 2


@dataclass(frozen=True)
class Request:
    """What a phantom data set holds; it is written to `phantom.json` when all files are there."""

    layout: str
    training: int
    """Number of training images, validation images included."""
    test: int
    height: int
    width: int
    seed: int = 0
    classes: Literal["binary", "multiclass"] = "binary"
    """Vessels, or background, vessel and disc; `folder` and `csv` alone have both."""
    test_labels: bool = True
    """`drive`: whether the test part has vessel maps, which the official download lacks."""

    def __post_init__(self) -> None:
        if self.layout in WITHOUT_TEST_PART and self.test:
            raise RequestError(f"the layout {self.layout} has no test part; leave --test out")
        if self.classes == "multiclass" and self.layout not in WITH_CLASSES:
            raise RequestError(f"only {' and '.join(sorted(WITH_CLASSES))} have --classes multiclass")
        if not self.test_labels and self.layout != "drive":
            raise RequestError("--no-test-labels belongs to --layout drive")

    def fundi(self) -> Iterator[PhantomSample]:
        """The training images, then the test images."""
        for number in range(self.training + self.test):
            yield phantom.draw_number(self.seed, number, self.height, self.width)


def write(root: Path, request: Request, progress: Callable[[int], None] = lambda done: None) -> None:
    """Draw a phantom data set.

    Args:
        progress: takes the number of images drawn so far.

    Raises:
        RequestError: the folder is not empty.
        SegkitError: a file cannot be written.
    """
    if request.layout == "drive":
        numbers = (request.training, request.test, request.height, request.width, request.seed)
        try:
            phantom.write_dataset(root, *numbers, lambda done, _: progress(done), request.test_labels)
        except FileExistsError as error:
            raise RequestError(str(error)) from error
        return
    if root.exists() and any(root.iterdir()):
        raise RequestError(f"{root} is not empty; choose another folder")
    for done, _ in enumerate(WRITERS[request.layout](root, request), start=1):
        progress(done)
    files.write_json(root / readers.PHANTOM_MARKER, asdict(request))


def drawn(root: Path) -> Request | None:
    """What the phantoms in a folder were drawn with; None if there are none."""
    marker = root / readers.PHANTOM_MARKER
    if not marker.is_file():
        return None
    stated = files.read_json(marker)
    if "layout" in stated:
        return Request(**stated)
    training, test, height, width, seed = (
        int(stated.get(key, 0)) for key in ("training", "test", "height", "width", "seed")
    )
    test_labels = not test or (root / "test" / "1st_manual").is_dir()
    return Request("drive", training, test, height, width, seed, test_labels=test_labels)


def default_test(layout: str) -> int:
    """Number of test images where none is asked for."""
    return 0 if layout in WITHOUT_TEST_PART else 20


def name_of(root: Path, layout: str) -> str:
    """How a phantom data set is named, as in `chase:FOLDER`."""
    return f"{layout}:{root / 'pairs.csv' if layout == 'csv' else root}"


def _chase(root: Path, request: Request) -> Iterator[None]:
    for number, sample in enumerate(request.fundi()):
        name = f"Image_{number // 2 + 1:02d}{'LR'[number % 2]}"
        images.write_image(root / f"{name}.jpg", sample.image)
        images.write_mask(root / f"{name}_1stHO.png", sample.vessels)
        images.write_mask(root / f"{name}_2ndHO.png", np.roll(sample.vessels, 1, axis=1))
        yield


def _stare(root: Path, request: Request) -> Iterator[None]:
    for number, sample in enumerate(request.fundi(), start=1):
        name = f"im{number:04d}"
        images.write_image(root / f"{name}.ppm", sample.image)
        images.write_mask(root / f"{name}.ah.ppm", sample.vessels)
        images.write_mask(root / f"{name}.vk.ppm", np.roll(sample.vessels, 1, axis=1))
        yield


def _hrf(root: Path, request: Request) -> Iterator[None]:
    for number, sample in enumerate(request.fundi()):
        name = f"{number // len(DISEASES) + 1:02d}_{DISEASES[number % len(DISEASES)]}"
        images.write_image(root / "images" / f"{name}.jpg", sample.image)
        images.write_mask(root / "manual1" / f"{name}.tif", sample.vessels)
        images.write_mask(root / "mask" / f"{name}_mask.tif", sample.fov)
        yield


def _drive_article(root: Path, request: Request) -> Iterator[None]:
    num_valid = max(1, request.training // 5)
    for number, sample in enumerate(request.fundi()):
        if number < request.training:
            part, name = "valid" if number < num_valid else "train", f"{number + 21}_training"
            images.write_mask(root / f"{part}_masks" / f"{number + 21}_manual1.gif", sample.vessels)
        else:
            part, name = "test", f"{number - request.training + 1:02d}_test"
        images.write_image(root / f"{part}_images" / f"{name}.tif", sample.image)
        yield


def _isbi2012(root: Path, request: Request) -> Iterator[None]:
    for split, number in (("train", request.training), ("test", request.test)):
        pages, labels = [], []
        for section in range(number):
            volume = 2 * request.seed + (split == "test")
            image, interior = phantom_tissue.draw_section(volume, section, request.height, request.width)
            pages.append(image)
            labels.append(np.where(interior, np.uint8(255), np.uint8(0)))
            yield
        if pages:
            images.write_pages(root / f"{split}-volume.tif", np.stack(pages))
        if pages and split == "train":
            images.write_pages(root / f"{split}-labels.tif", np.stack(labels))


def _histology(root: Path, request: Request) -> Iterator[None]:
    colors = np.array(histology.CLASSES.colors, np.uint8)
    for number in range(request.training + request.test):
        is_test = number >= request.training
        at = number - request.training if is_test else number
        slide, patch = divmod(at, PATCHES_PER_SLIDE)
        slide += 1000 * is_test  # a test slide is no training slide
        image, labels = phantom_tissue.draw_patch(slide, patch, request.height, request.width, request.seed)
        folder, name = root / ("test" if is_test else "training"), f"slide{slide:02d}_{patch:04d}.png"
        images.write_image(folder / "images" / name, image)
        images.write_image(folder / "masks" / name, colors[labels])
        yield


def _folder(root: Path, request: Request) -> Iterator[None]:
    for number, sample in enumerate(request.fundi()):
        folder, name = root / ("training" if number < request.training else "test"), f"{number + 1:02d}.png"
        phantom.write_pair(sample, folder / "images" / name, folder / "masks" / name, request.classes)
        images.write_mask(folder / "fov" / name, sample.fov)
        yield
    _write_classes(root, request)


def _csv(root: Path, request: Request) -> Iterator[None]:
    table: list[dict[str, str]] = []
    num_val = max(1, request.training // 5)
    for number, sample in enumerate(request.fundi()):
        image, label = f"photographs/{number + 1:02d}.png", f"maps/{number + 1:02d}.png"
        phantom.write_pair(sample, root / image, root / label, request.classes)
        split = "val" if number < num_val else "train" if number < request.training else "test"
        table.append({"image": image, "label": label, "group": f"patient{number + 1}", "split": split})
        yield
    _write_classes(root, request)
    files.write_text(root / "pairs.csv", files.as_csv(table))


def _write_classes(root: Path, request: Request) -> None:
    if request.classes == "multiclass":
        files.write_text(root / "classes.yaml", dump_yaml(phantom.CLASSES))


WRITERS: dict[str, Callable[[Path, Request], Iterator[None]]] = {
    "chase": _chase,
    "csv": _csv,
    "drive-article": _drive_article,
    "folder": _folder,
    "histology": _histology,
    "hrf": _hrf,
    "isbi2012": _isbi2012,
    "stare": _stare,
}
"""What draws each layout; yields when an image is written."""
WITHOUT_TEST_PART = frozenset({"chase", "stare", "hrf"})
WITH_CLASSES = frozenset({"folder", "csv"})
"""Layouts whose label maps may be of one class or of several."""
