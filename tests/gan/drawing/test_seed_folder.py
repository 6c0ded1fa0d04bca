import json
import multiprocessing
import sys
import time

import numpy as np
import pytest

from gan.drawing.sampling import draw, levels_8bit, levels_16bit
from gan.drawing.seed_folder import SeedFolder, SeedWriter, weights_digest
from gan.drawing.seed_task import draw_seeds
from gan.networks.generator import Generator
from gan.settings import SamplingSettings
from segkit.core import images
from segkit.core.errors import RequestError
from segkit.core.files import TEMPORARY
from segkit.core.run_folder import LOCK
from segkit.tasks.settings import RuntimeSettings
from segkit.tasks.trainer import build_trainer
from tests.gan.small_networks import networks, tiny

GENERATOR = networks(tiny())["generator_ema"].requires_grad_(False)


def claim(folder, generator=GENERATOR, device="cpu", bits=8, **sampling):
    SeedFolder(folder, tiny(), bits).claim(generator, SamplingSettings(**sampling), device, folder / "w")


def test_a_folder_goes_on_with_the_settings_it_was_begun_with(tmp_path):
    claim(tmp_path / "new", truncation_psi=0.5)
    before = (tmp_path / "new" / "sampling.json").read_bytes()
    claim(tmp_path / "new", truncation_psi=0.5)
    assert (tmp_path / "new" / "sampling.json").read_bytes() == before
    assert json.loads(before) == {
        "weights_sha256": weights_digest(GENERATOR, tiny()),
        "truncation_psi": 0.5,
        "truncation_cutoff": None,
        "noise_mode": "const",
        "bits": 8,
        "device": "cpu",
        "weights": str(tmp_path / "new" / "w"),
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truncation_psi": 0.5}, "drawn with truncation_psi = 0.7, not 0.5"),
        ({"truncation_cutoff": 3}, "drawn with truncation_cutoff = None, not 3"),
        ({"noise_mode": "random"}, "drawn with noise_mode = const, not random"),
        ({"bits": 16}, "drawn with bits = 8, not 16"),
        ({"device": "cuda"}, "drawn with device = cpu, not cuda"),
        ({"generator": networks(tiny(), seed=1)["generator_ema"]}, "holds images of other weights"),
    ],
)
def test_images_that_would_be_drawn_otherwise_do_not_mix(tmp_path, changes, words):
    claim(tmp_path)
    with pytest.raises(RequestError, match=words):
        claim(tmp_path, **changes)


def test_images_that_nobody_knows_of_are_left_alone(tmp_path):
    (tmp_path / "seed0000.png").touch()
    with pytest.raises(RequestError):
        claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["seed0000.png"]


@pytest.mark.parametrize("text", ["no json", "[1]", "3"])
def test_a_damaged_record_is_told(tmp_path, text):
    (tmp_path / "sampling.json").write_text(text)
    with pytest.raises(RequestError):
        claim(tmp_path)


def test_the_digest_changes_with_every_tensor_and_with_the_clamp():
    whole = weights_digest(GENERATOR, tiny())
    assert whole == weights_digest(networks(tiny())["generator_ema"], tiny())
    assert whole != weights_digest(GENERATOR, tiny(conv_clamp=None))
    for name in GENERATOR.state_dict():
        other = networks(tiny())["generator_ema"]
        value = other.state_dict()[name]
        value[(0,) * value.ndim] += 1
        assert weights_digest(other, tiny()) != whole, name


@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_missing_is_what_is_not_there_whole_in_the_right_form(tmp_path, bits):
    folder = SeedFolder(tmp_path, tiny(), bits)
    levels = (levels_8bit if bits == 8 else levels_16bit)(draw(GENERATOR, 0))
    other = (levels_16bit if bits == 8 else levels_8bit)(draw(GENERATOR, 0))
    assert folder.missing([3, 1, 3, 12345]) == [3, 1, 12345]
    assert folder.path(12345).name == "seed12345.png"
    assert folder.path(3).name == "seed0003.png"
    images.write_image(folder.path(1), levels)
    images.write_image(folder.path(2), other)
    folder.path(3).write_bytes(folder.path(1).read_bytes()[:-5])
    images.write_image(folder.path(4), levels[:8])
    assert folder.missing(range(5)) == [0, 2, 3, 4]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_channels_are_written_whole(tmp_path, bits, channels):
    settings = tiny(image_channels=channels, augment_transforms="bg")
    folder, generator = SeedFolder(tmp_path, settings, bits), Generator(settings)
    runtime = RuntimeSettings(accelerator="cpu")
    trainer = build_trainer(runtime, tmp_path, "sample", precision="32-true", callbacks=[SeedWriter(folder)])
    draw_seeds(trainer, generator, SamplingSettings(), [4, 9])
    assert folder.missing([4, 9]) == []
    assert {path.name for path in tmp_path.iterdir()} == {"seed0004.png", "seed0009.png"}
    shown = draw(generator, 9, 0.7)[: 3 if channels > 2 else 1]
    np.testing.assert_array_equal(
        images.read_image(folder.path(9))[..., : len(shown)],
        levels_8bit(shown) if bits == 8 else levels_16bit(shown) // 256,
    )


def test_who_draws_alone_finds_nothing_half_written_and_leaves_no_lock(tmp_path):
    (tmp_path / f"{TEMPORARY}seed0001-x.png").touch()
    (tmp_path / "mine.txt").touch()
    with SeedFolder(tmp_path, tiny(), 8).lock(on_wait=print):
        assert {path.name for path in tmp_path.iterdir()} == {LOCK, f"{LOCK}.json", "mine.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(RequestError), SeedFolder(tmp_path / "a", tiny(), 8).lock(on_wait=print):
        pass


def _hold(path, seconds, started):
    with SeedFolder(path, tiny(), 8).lock(on_wait=print):
        started.set()
        time.sleep(seconds)
        (path / "first.txt").touch()


@pytest.mark.skipif(sys.platform != "linux", reason="forks, which costs no imports")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the child takes a lock only
def test_the_second_who_draws_waits_for_the_first_and_says_so(tmp_path):
    context = multiprocessing.get_context("fork")
    started = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, 1.0, started))
    process.start()
    assert started.wait(60)
    lines = []
    with SeedFolder(tmp_path, tiny(), 8).lock(lines.append):
        assert (tmp_path / "first.txt").exists()
    process.join()
    assert len(lines) == 1
    assert f"process {process.pid} on " in lines[0]
    assert str(tmp_path) in lines[0]
