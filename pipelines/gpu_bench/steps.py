"""The steps of `segkit bench gpu`: the command of each, and the figures read from the files it writes."""

import importlib.util
import shutil
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from segkit.core.errors import SegkitError
from segkit.core.files import read_csv, read_json

ROOT = Path(__file__).parents[2]
"""The checkout; every step runs in it."""
PRECISIONS = ("fp32", "bf16", "fp16")


Figures = dict[str, Any]
"""Numbers as JSON holds them."""


class SkippedError(Exception):
    """A step cannot run on this machine; the message is the reason."""


@dataclass(frozen=True)
class Request:
    """The options of the command."""

    out: Path
    """Absolute path of the output folder."""
    drive: Path | None = None
    """The DRIVE folder."""
    minutes: float = 8.0
    """Training time of the GAN on DRIVE."""
    rehearsal: bool = False
    """Run every step with tiny sizes, on phantoms and on any device."""

    @property
    def work(self) -> Path:
        """The folder for the commands' own results."""
        return self.out / "work"

    def json_path(self, name: str) -> Path:
        """Where the command of a step writes its numbers."""
        return self.work / f"{name}.json"


@dataclass(frozen=True)
class Step:
    """One command with a time limit."""

    name: str
    limit_s: float
    arguments: Callable[[Request], list[str]]
    """What follows `python -m`; raises SkippedError."""
    figures: Callable[[Request], Figures]
    """Reads the figures once the command has ended."""
    ends_at_limit: bool = False
    """The command is stopped after `limit_s` seconds by design."""


def steps(request: Request) -> list[Step]:
    """All steps, in the order in which they run."""
    return [
        Step("tests", 300, _tests, _test_counts),
        *(Step(f"bench-{n}", 200, partial(_bench, n), partial(_numbers, f"bench-{n}")) for n in (512, 592)),
        _timing("gan", 500, PRECISIONS),
        _timing("gan-profile", 300, ["bf16"], "--profile"),  # a separate step, since profiling may need permissions
        *(_timing(f"gan-compiled-{precision}", 550, [precision], "--compile") for precision in PRECISIONS),
        Step("demo", 550, _demo, _demo_figures),
        Step("drive-teacher", 550, partial(_drive, "train"), lambda request: {}),
        Step("drive-gan", request.minutes * 60, _drive_gan, _drive_gan_figures, ends_at_limit=True),
        Step("drive-fidelity", 550, _drive_fidelity, _drive_fidelity_figures),
    ]


# tests and timings ------------------------------------------------------------------------------------------------


def _tests(request: Request) -> list[str]:
    for package in ("pytest", "beartype"):
        if importlib.util.find_spec(package) is None:
            raise SkippedError(f"{package} is not installed")
    # only these files are collected: the others may need packages that a machine with a GPU lacks
    files = [path for path in sorted(ROOT.glob("tests/**/test_*.py")) if "@pytest.mark.gpu" in path.read_text("utf-8")]
    if not files:
        raise SkippedError(f"{ROOT} has no tests: this is no checkout")
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", f"--junitxml={request.work / 'tests.xml'}"]
    return ["pytest", *options, *(str(path.relative_to(ROOT)) for path in files)]


def _test_counts(request: Request) -> Figures:
    suite = ElementTree.parse(request.work / "tests.xml").getroot().find("testsuite")
    assert suite is not None
    counts = {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
    return counts | {"passed": counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]}


def _bench(size: int, request: Request) -> list[str]:
    small = ["--size", "32", "--repeats", "3"]
    options = small if request.rehearsal else ["--size", str(size), *_repeat("--precision", _TRAINER_PRECISIONS)]
    return ["segkit", "bench", *options, "--json", str(request.json_path(f"bench-{size}"))]


def _timing(name: str, limit_s: float, precisions: Iterable[str], *options: str) -> Step:
    """A step of `segkit bench gan`."""

    def arguments(request: Request) -> list[str]:
        tiny = ["--resolution", "16", "--batch", "2", "--channel-base", "128", "--channel-max", "8", "--repeats", "3"]
        networks = tiny if request.rehearsal else ["--preset", "paper512", "--batch", "8"]
        kinds = _repeat("--precision", precisions)
        return ["segkit", "bench", "gan", *networks, *kinds, *options, "--json", str(request.json_path(name))]

    return Step(name, limit_s, arguments, partial(_numbers, name))


def _numbers(name: str, request: Request) -> Figures:
    numbers: Figures = read_json(request.json_path(name))
    return numbers


_TRAINER_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def _repeat(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


# recipes ----------------------------------------------------------------------------------------------------------

_TINY_TEACHER = ["teacher.model.widths=[4,8]", 'teacher.phases=[{"data":"real","epochs":1,"batch_size":2}]']
_TINY_DATA = ["data.phantom.num_train=6", "data.phantom.num_test=2", "data.phantom.height=48", "data.phantom.width=52"]
_TINY_GAN = [
    *("gan.resolution=16", "gan.batch_size=4", "gan.channel_base=128", "gan.channel_max=8", "gan.num_mapping_layers=1"),
    *("gan.z_dim=8", "gan.w_dim=8", "gan.kimg=0.08", "gan.snapshot_kimg=0.02", "gan.checkpoint_kimg=0.04"),
]
_TINY_DEMO = [
    *(*_TINY_DATA, *_TINY_TEACHER, *_TINY_GAN, "data.num_val=2", "samples.num_images=4", "fidelity.num_images=5"),
    *("students.synthetic-first.model.widths=[4,8]", "evaluate.num_resamples=100"),
    'students.synthetic-first.phases=[{"data":"synthetic","epochs":1,"batch_size":2}]',
]
# The GPU takes the whole batch at once. 1000 kimg are never reached; they set the interval of logged curves.
_DRIVE = [
    "runtime.devices=1",
    "gan.kimg=1000",
    "gan.snapshot_kimg=10",
    "gan.checkpoint_kimg=10",
    "gan.images_per_pass=32",
]


def _demo(request: Request) -> list[str]:
    options = ["--config", "demo", "--runs", str(request.work / "demo")]
    changes = _TINY_DEMO if request.rehearsal else []
    return ["segkit", "pipeline", "run", "synthetic-aug", *options, *_repeat("--set", changes)]


def _demo_figures(request: Request) -> Figures:
    runs = request.work / "demo"
    measured = read_json(_newest(runs, "evaluate-*") / "measurements.json")["test"]
    shutil.copy(_newest(_newest(runs, "gan-*") / "grids", "kimg*.png"), request.out / "demo-gan.png")
    return {
        "dice": {name: _pooled_dice(rows) for name, rows in measured.items()},
        "stage_seconds": {path.parent.name: read_json(path)["seconds"] for path in sorted(runs.glob("*/done.json"))},
    }


def _pooled_dice(rows: list[Figures]) -> dict[str, float]:
    key = {"metric": "dice", "region": "fov", "averaging": "pooled"}
    row = next(row for row in rows if key.items() <= row.items())
    return {name: row[name] for name in ("value", "low", "high", "n")}


def _drive(part: str, request: Request) -> list[str]:
    if request.drive is None and not request.rehearsal:
        raise SkippedError("no DRIVE folder was given (--drive)")
    source = "phantom" if request.drive is None else f"drive:{request.drive}"
    changes = [*_TINY_DATA, *_TINY_TEACHER, *_TINY_GAN] if request.rehearsal else _DRIVE
    options = ["-c", "gan-drive-256", "--data", source, "--runs", str(request.work / "drive")]
    return ["segkit", *part.split(), *options, *_repeat("--set", changes)]


def _drive_gan(request: Request) -> list[str]:
    return _drive("gan train", request)


def _drive_gan_figures(request: Request) -> Figures:
    gan = _newest(request.work / "drive", "gan-*")
    grids = sorted((gan / "grids").glob("kimg*.png"))
    kimg, written = [float(path.stem[4:]) for path in grids], [path.stat().st_mtime for path in grids]
    if len(grids) < 2:
        raise SegkitError("no snapshot yet; run the step again to continue the training, or increase --minutes")
    rates = [(t1 - t0) / (k1 - k0) for (k0, t0), (k1, t1) in pairwise(zip(kimg, written, strict=True))]
    curves = read_csv(gan / "curves.csv")
    rows = [{key: float(value) for key, value in row.items() if value} for row in curves]
    shutil.copy(grids[-1], request.out / "drive-gan.png")
    shutil.copy(gan / "grids" / "reals.png", request.out / "drive-reals.png")
    _draw_curves(rows, request.out / "drive-curves.png")
    # the median is robust to the start and to interruptions
    return {"kimg": kimg[-1], "s_per_kimg": statistics.median(rates), "snapshots": len(grids), "curves": rows}


def _drive_fidelity(request: Request) -> list[str]:
    runs = request.work / "drive"
    teacher, data = (_newest(runs, f"{name}-*") for name in ("teacher", "data"))
    # the settings of a snapshot are written last
    snapshot = _newest(_newest(runs, "gan-*") / "snapshots", "*/settings.json").parent
    out, json_path = request.work / "fidelity", request.json_path("drive-fidelity")
    options = ["--features", teacher, "--data", data, "--num-images", "5" if request.rehearsal else "500"]
    return [
        *("segkit", "gan", "evaluate", "--weights", str(snapshot)),
        *map(str, [*options, "--out", out, "--json", json_path]),
    ]


def _drive_fidelity_figures(request: Request) -> Figures:
    shutil.copy(request.work / "fidelity" / "nearest.png", request.out / "drive-nearest.png")
    return _numbers("drive-fidelity", request)


def _newest(folder: Path, pattern: str) -> Path:
    """The file or folder that was changed last.

    Raises:
        SkippedError: there is none.
    """
    paths = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise SkippedError(f"{folder} holds no {pattern}; run an earlier step first")
    return paths[-1]


def _draw_curves(rows: list[dict[str, float]], path: Path) -> None:
    """Draw losses, the overfitting sign and the augmentation's chance over kimg."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, keys in zip(figure.subplots(1, 2), (("loss_g", "loss_d"), ("overfitting", "ada_p")), strict=True):
        for key in keys:
            points = [(row["gan/kimg"], row[f"gan/{key}"]) for row in rows if f"gan/{key}" in row]
            axes.plot([x for x, _ in points], [y for _, y in points], label=key)
        axes.set_xlabel("kimg")
        axes.legend()
    figure.savefig(path, dpi=120)
