"""A network, a loss, a metric and a data set are each added by a file or function of their own and a line in a table.

The packages are copied, the additions made in the copy, and the copy trains, predicts and scores with all four.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

NETWORK = '''
"""One convolution, which also gives auxiliary logits."""

from torch import nn

from segkit.models.heads import Outputs


class Pixelwise(nn.Module):
    def __init__(self, settings, num_channels):
        super().__init__()
        self.hidden = nn.Conv2d(settings.image_channels, settings.width, 3, padding=1)
        self.head = nn.Conv2d(settings.width, num_channels, 1)
        self.auxiliary = nn.Conv2d(settings.width, num_channels, 1)

    def forward(self, image):
        features = self.hidden(image).relu()
        return Outputs(self.head(features), (self.auxiliary(features),))
'''

LOSS = '''
"""The squared error of the probabilities (Brier 1950)."""

from segkit.models.heads import probabilities


def brier(logits, target, pixel_weight, settings):
    errors = (probabilities(logits) - target).abs() ** settings.power * pixel_weight
    return errors.sum((1, 2, 3)) / pixel_weight.sum((1, 2, 3)).clamp_min(1)
'''

READER = '''
"""Flat folders: `<name>.tif` beside `<name>_labels.png`."""

from segkit.core.manifest import Row, Source
from segkit.data import readers


def read(root):
    base = readers.existing_folder(root)
    rows = tuple(
        Row(path.stem, "train", Source(path), {"reference": Source(base / f"{path.stem}_labels.png")})
        for path in sorted(base.glob("*.tif"))
    )
    return readers.Dataset("flat", base, rows, readers.digest(base, rows))


def check_row(dataset, row):
    return readers.check_row(row, dataset.classes)
'''

FILES = {
    "segkit/models/pixelwise.py": NETWORK,
    "segkit/models/brier.py": LOSS,
    "segkit/data/flat.py": READER,
}
LINES = {
    "segkit/models/settings.py": [
        (
            "MODELS: dict",
            "class PixelwiseSettings(NetworkSettings):\n"
            '    """One convolution."""\n\n'
            '    name: Literal["pixelwise"] = "pixelwise"\n'
            "    width: int = 8\n\n"
            "    @property\n"
            "    def stride(self) -> int:\n"
            "        return 1\n\n\n",
        ),
        ('    UNetSettings: "segkit', '    PixelwiseSettings: "segkit.models.pixelwise:Pixelwise",\n'),
    ],
    "segkit/models/loss_settings.py": [
        (
            "LOSSES: dict",
            "class BrierSettings(LossTerm):\n"
            '    """Squared error."""\n\n'
            '    name: Literal["brier"] = "brier"\n'
            "    power: int = 2\n\n\n",
        ),
        ('    DiceSettings: "segkit', '    BrierSettings: "segkit.models.brier:brier",\n'),
    ],
    "segkit/data/readers.py": [('    "folder": "segkit', '    "flat": "segkit.data.flat",\n')],
    "segkit/metrics/metrics.py": [
        (
            "class Metric(NamedTuple)",
            "def area_ratio(confusions):\n"
            '    """Predicted area over true area."""\n'
            "    predicted, true = confusions[:, 0] + confusions[:, 1], confusions[:, 0] + confusions[:, 2]\n"
            "    return ratio_of(predicted.astype(np.float64), true.astype(np.float64))\n\n\n",
        ),
        ('    "cldice": Metric', '    "area_ratio": Metric("Area ratio", "confusion", area_ratio),\n'),
    ],
}
"""What is inserted before the line that begins like this."""

RUN = """
import sys
from pathlib import Path

import segkit
from tests.pipelines import tiny

out = Path(sys.argv[1])
assert Path(segkit.__file__).is_relative_to(out), segkit.__file__
changes = {
    "data.source": f"flat:{out / 'pictures'}",
    "teacher.model": {"name": "pixelwise", "width": 6, "auxiliary_weight": 0.5},
    "teacher.loss": [{"name": "brier", "power": 2}, {"name": "dice", "weight": 0.5}],
}
tiny.run_here(tiny.write_config(out / "tiny.yaml", changes), out / "runs", upto="teacher")
[model] = [path.parent for path in (out / "runs").glob("teacher-*/model.json")]
data = f"flat:{out / 'pictures'}"
assert tiny.segkit_here("predict", "--weights", str(model), "--data", data, "--out", str(out / "maps")) == 0
scoring = ("--predictions", str(out / "maps"), "--data", data, "--json", str(out / "numbers.json"))
assert tiny.segkit_here("evaluate", *scoring) == 0
assert tiny.segkit_here("models") == 0
"""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with the additions, the pictures, and what a run with all of them left."""
    from segkit.core import images
    from segkit.data import phantom

    root = tmp_path_factory.mktemp("changed")
    for package in ("segkit", "gan", "pipelines"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (root / name).write_text(text.lstrip())
    for name, insertions in LINES.items():
        text = (root / name).read_text()
        for anchor, addition in insertions:
            assert text.count(f"\n{anchor}") == 1, anchor
            text = text.replace(f"\n{anchor}", f"\n{addition}{anchor}")
        (root / name).write_text(text)
    for seed in range(8):
        sample = phantom.draw(seed, 48, 52)
        images.write_image(root / "pictures" / f"{seed}.tif", sample.image)
        images.write_mask(root / "pictures" / f"{seed}_labels.png", sample.vessels)
    (root / "run.py").write_text(RUN)
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(root / "run.py"), str(root)], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (root / "out.txt").write_text(done.stdout)
    return root


def test_the_network_and_the_loss_are_those_that_were_trained(changed: Path) -> None:
    [card] = (changed / "runs").glob("teacher-*/model.json")
    model: dict[str, Any] = json.loads(card.read_text())["details"]["model"]
    assert (model["name"], model["width"], model["auxiliary_weight"]) == ("pixelwise", 6, 0.5)
    assert "pixelwise: One convolution." in (changed / "out.txt").read_text()


def test_the_metric_is_measured_after_each_epoch_and_on_the_predictions(changed: Path) -> None:
    [curves] = (changed / "runs").glob("teacher-*/curves-0.csv")
    assert "val/area_ratio" in curves.read_text().splitlines()[0].split(",")
    numbers = json.loads((changed / "numbers.json").read_text())["measurements"]
    pooled = {n["metric"]: n["value"] for n in numbers if (n["region"], n["averaging"]) == ("fov", "pooled")}
    # predicted over true area = sensitivity / precision
    assert pooled["area_ratio"] == pytest.approx(pooled["sensitivity"] / pooled["precision"])
    assert "Area ratio" in (changed / "out.txt").read_text()


def test_the_data_set_is_split_and_predicted(changed: Path) -> None:
    record = json.loads((changed / "maps" / "predictions.json").read_text())
    assert set(record["images"]) == {str(seed) for seed in range(8)}
    assert sorted(entry["model_split"] for entry in record["images"].values()) == ["train"] * 6 + ["val"] * 2
