import numpy as np
import pytest
import torch

from gan.drawing.sampling import generate, read_generator, sample_grid
from gan.training.snapshots import Snapshots, snapshot_name
from gan.training.task import StyleGAN2Task
from segkit.core.errors import WeightsError
from segkit.core.images import read_image
from tests.gan.train_together import fit, images, keep, tiny

pytestmark = pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`:UserWarning")

FILES = {
    "grids/reals.png",
    *(f"grids/kimg000000.0{seen}.png" for seen in ("00", 16, 32, 40)),
    *(
        f"snapshots/kimg000000.0{seen}/{name}"
        for seen in (16, 32, 40)
        for name in ("generator_ema.safetensors", "settings.json")
    ),
}
SETTINGS = tiny(kimg=0.04)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a finished run and its task."""
    folder = tmp_path_factory.mktemp("undisturbed")
    task, _ = fit(SETTINGS, folder, [Snapshots(folder)])
    return folder, task


def test_grids_and_generators_are_written_each_snapshot_and_at_the_end(undisturbed):
    folder, task = undisturbed
    assert contents(folder).keys() == FILES
    last = read_generator(folder / "snapshots" / "kimg000000.040")[1]
    assert all(torch.equal(last.state_dict()[key], value) for key, value in task.generator_ema.state_dict().items())
    for seen in (16, 32, 40):
        _, generator = read_generator(folder / "snapshots" / f"kimg000000.0{seen}")
        grid = sample_grid([generate(generator, seed) for seed in range(2)])
        np.testing.assert_array_equal(read_image(folder / "grids" / f"kimg000000.0{seen}.png"), grid)


def test_grids_of_the_photographs_and_of_the_untrained_network_come_first(undisturbed):
    folder, _ = undisturbed
    reals = images(SETTINGS)[:2].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(read_image(folder / "grids" / "reals.png"), np.concatenate(list(reals), axis=1))
    start = StyleGAN2Task(SETTINGS, seed=3).generator_ema
    grid = sample_grid([generate(start, seed) for seed in range(2)])
    np.testing.assert_array_equal(read_image(folder / "grids" / "kimg000000.000.png"), grid)


def test_names_sort_by_time():
    seen = [0, 4, 999, 1000, 99_999, 1_000_000, 25_000_000]
    assert sorted(map(snapshot_name, seen)) == [snapshot_name(number) for number in seen]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_channels_have_grids(tmp_path, channels):
    fit(tiny(kimg=0.004, image_channels=channels, augment="none"), tmp_path, [Snapshots(tmp_path)])
    assert read_image(tmp_path / "grids" / "reals.png").shape == (16, 32, 3)
    assert generate(read_generator(tmp_path / "snapshots" / "kimg000000.004")[1], 0).shape == (16, 16, channels)


class KilledError(Exception):
    pass


def killed(monkeypatch, name, call):
    """Stands for a kill just before the n-th call of a function that `gan.checkpoints.weights` uses."""
    calls = iter(range(1, 100))
    original = getattr(__import__("gan.checkpoints.weights", fromlist=[name]), name)

    def counting(*args):
        if next(calls) == call:
            raise KilledError
        return original(*args)

    monkeypatch.setattr(f"gan.checkpoints.weights.{name}", counting)


@pytest.mark.parametrize("name", ["save_file", "write_json"])
@pytest.mark.parametrize("snapshot", [1, 2])
def test_a_snapshot_cut_short_does_not_look_whole_and_is_written_anew(
    tmp_path, monkeypatch, undisturbed, name, snapshot
):
    killed(monkeypatch, name, snapshot)
    out = tmp_path / "out"
    with pytest.raises(KilledError):
        fit(SETTINGS, tmp_path, [Snapshots(out), keep(tmp_path / "kept", 2)])
    monkeypatch.undo()
    half = out / "snapshots" / f"kimg000000.0{16 * snapshot}"
    assert {path.name for path in half.iterdir()} <= {"generator_ema.safetensors"}
    with pytest.raises(WeightsError):
        read_generator(half)
    # the checkpoint of the snapshot's own step was not written before the snapshot
    last = 2 if snapshot == 1 else 6
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {f"step={n}.ckpt" for n in range(2, last + 1, 2)}
    fit(SETTINGS, tmp_path, [Snapshots(out)], ckpt_path=tmp_path / "kept" / f"step={last}.ckpt")
    assert contents(out) == contents(undisturbed[0])
