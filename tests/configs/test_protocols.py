"""The shipped protocols of published systems train on phantoms in the layout of their data set."""

from pathlib import Path

import numpy as np
import pytest

from segkit.cli.recipes import CONFIGS, resolve
from segkit.core.files import read_json
from segkit.data import phantom, phantom_layouts
from segkit.data.phantom_layouts import Request
from segkit.tasks.schedules import learning_rate_factor
from tests.pipelines.shared import stages_here
from tests.pipelines.tiny import segkit_here

__all__ = ["stages_here"]

SHORT = (
    *("runtime.accelerator=cpu", "runtime.precision=32-true", "runtime.tracker=none"),
    *("model.phases.0.epochs=1", "model.phases.0.val_interval_epochs=1"),
    *("evaluate.num_resamples=100", "evaluate.inference.tta=none", "report.num_overlays=1"),
)
NARROW = "model.model.widths=[4, 8]"
PATCHES = ("model.preprocessing.patch_size=32", "model.phases.0.crop_size=32", "model.phases.0.crops_per_image=1")
IMAGES = {"folder": (9, 0), "drive-article": (5, 2), "hrf": (45, 0), "isbi2012": (8, 2), "histology": (8, 0)}
"""Training and test images by layout."""
PROTOCOLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "drive-best": ("drive", (NARROW, "model.phases.0.crop_size=32", "model.phases.0.images_per_epoch=4")),
    "drive-fast": ("drive", (NARROW, "model.phases.0.crop_size=32", "model.phases.0.images_per_epoch=4")),
    "sa-unet-paper": ("drive", (NARROW, "model.geometry.size=72", "model.phases.0.images_per_epoch=4")),
    "fine-tune": (
        "folder",
        tuple(
            f"model.phases.{phase}.{key}"
            for phase in (0, 1)
            for key in ("epochs=1", "val_interval_epochs=1", "crop_size=32", "images_per_epoch=4")
        ),
    ),
    "lwnet-drive": ("drive", (NARROW, "model.geometry.size=64")),
    "lwnet-cpu": ("drive", (NARROW, "model.phases.0.crop_size=32", "model.phases.0.images_per_epoch=4")),
    "drive-deeplab": ("drive-article", ("model.model.width=4", "model.geometry.size=64")),
    "drive-patches": ("drive", (NARROW, *PATCHES)),
    "hrf-patches": ("hrf", (NARROW, *PATCHES)),
    "em-unet": ("isbi2012", (NARROW,)),
    "em-attention-unet": ("isbi2012", (NARROW,)),
    "em-unetpp": ("isbi2012", (NARROW,)),
    "wsi-sagan": (
        "histology",
        (
            *("data.num_val=2", "data.num_holdout=2", "model.model.widths=[4, 8, 8]"),
            *("model.adversarial.widths=[4, 8, 8]", "model.phases.0.images_per_epoch=8"),
        ),
    ),
}
"""By settings file: the data set's reader, and what shortens the training."""


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_trains_and_scores_on_phantoms_in_its_data_set_s_layout(
    name: str, tmp_path: Path, stages_here: None
) -> None:
    layout, shorter = PROTOCOLS[name]
    if layout == "drive":
        phantom.write_dataset(tmp_path / "data", num_train=20, num_test=2, height=64, width=64)
    else:
        num_train, num_test = IMAGES[layout]
        phantom_layouts.write(tmp_path / "data", Request(layout, num_train, num_test, 64, 64))
    options = [part for override in (*SHORT, *shorter) for part in ("--set", override)]
    data = ["--data", f"{layout}:{tmp_path / 'data'}", "--runs", str(tmp_path / "runs")]
    assert segkit_here("pipeline", "run", "train", "-c", name, *data, *options) == 0
    [measured] = [read_json(path) for path in (tmp_path / "runs").glob("evaluate-*/measurements.json")]
    assert all(
        np.isfinite(number["value"]) for number in measured[min(measured)]["model"] if number["metric"] == "dice"
    )


def test_the_cyclic_schedule_of_little_wnet_ends_each_cycle_near_zero_where_weights_are_compared() -> None:

    settings = resolve("train", CONFIGS / "lwnet-drive.yaml", (), None).graph["model"].settings.phases[0]
    assert settings.epochs / settings.schedule.cycle_epochs == 20
    assert settings.val_interval_epochs == settings.schedule.cycle_epochs
    for end in range(50, 1001, 50):
        before = learning_rate_factor(settings.schedule, end - 1e-3, settings.epochs)
        after = learning_rate_factor(settings.schedule, float(end), settings.epochs)
        assert before < 1e-5
        assert after == 1
    falling = [learning_rate_factor(settings.schedule, epoch, settings.epochs) for epoch in range(50, 100)]
    assert falling == sorted(falling, reverse=True)


def test_every_protocol_of_a_real_data_set_is_trained_here() -> None:
    commands = {path.stem: path.read_text() for path in CONFIGS.glob("*.yaml")}
    protocols = {name for name, text in commands.items() if "segkit pipeline run train -c" in text and "--data" in text}
    assert protocols - {"train-demo"} == set(PROTOCOLS)
