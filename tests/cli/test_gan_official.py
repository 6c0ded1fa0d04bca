"""A file in the official form through `segkit gan import` and `segkit gan sample`: the official images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segkit.core import images
from tests.gan.official_numbers import TRUNCATIONS, below, numbers, write_snapshot
from tests.pipelines.tiny import segkit_here
from tests.reference import gan_networks_numpy as reference


def levels(image_pm1: np.ndarray) -> np.ndarray:
    """(n, c, h, w) in [-1, 1] to levels (n, h, w, c)."""
    return np.floor(np.clip(image_pm1 * 127.5 + 128, 0, 255)).transpose(0, 2, 3, 1)


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    write_snapshot(tmp_path / "official.pkl")
    assert segkit_here("gan", "import", str(tmp_path / "official.pkl"), "--out", str(tmp_path / "imported")) == 0
    return tmp_path / "imported"


def drawn(weights: Path, out: Path, num_images: int, psi: float, cutoff: int | None) -> np.ndarray:
    args = ["--weights", str(weights), "--seeds", f"0-{num_images - 1}", "--noise-mode", "const", "--out", str(out)]
    args += ["--truncation-psi", str(psi), *([] if cutoff is None else ["--truncation-cutoff", str(cutoff)])]
    assert segkit_here("gan", "sample", *args) == 0
    return np.stack([images.read_image(out / f"seed{seed:04d}.png") for seed in range(num_images)]).astype(float)


@pytest.mark.parametrize("k", range(len(TRUNCATIONS)))
def test_the_command_draws_the_official_images_of_given_latents(
    imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    z, expected = numbers("networks")["z"], levels(numbers("networks")[f"image{k}"].numpy())
    monkeypatch.setattr("gan.drawing.sampling.latent", lambda seed, z_dim: z[seed : seed + 1])
    difference = np.abs(drawn(imported, tmp_path / "out", len(z), *TRUNCATIONS[k]) - expected)
    assert expected.std() > 10
    assert difference.max() <= 1


def test_a_seed_stands_for_the_official_latent(imported: Path, tmp_path: Path) -> None:
    tensors = {name: value.double().numpy() for name, value in below("G").items()}
    z_dim = numbers("networks")["z"].shape[1]
    z = np.concatenate([np.random.RandomState(seed).randn(1, z_dim) for seed in range(4)])
    w = reference.mapping(tensors, z)
    w = tensors["mapping.w_avg"] + 0.7 * (w - tensors["mapping.w_avg"])
    num_ws = numbers("networks")["ws"].shape[1]
    expected = levels(reference.synthesis(tensors, np.repeat(w[:, None], num_ws, axis=1)))
    assert np.abs(drawn(imported, tmp_path / "out", len(z), 0.7, None) - expected).max() <= 1


def test_the_numpy_reference_draws_the_official_images() -> None:
    tensors = {name: value.double().numpy() for name, value in below("G").items()}
    ws, expected = (numbers("networks")[key].double().numpy() for key in ("ws", "synthesis_const"))
    np.testing.assert_allclose(reference.synthesis(tensors, ws), expected, rtol=0, atol=1e-4)
    mapped = numbers("networks")["mapping0"][:, 0].double().numpy()
    z = numbers("networks")["z"].double().numpy()
    np.testing.assert_allclose(reference.mapping(tensors, z), mapped, rtol=0, atol=1e-4)
    discriminator = {name: value.double().numpy() for name, value in below("D").items()}
    logits = reference.discriminator(discriminator, numbers("networks")["real"].double().numpy(), 4)
    torch.testing.assert_close(torch.from_numpy(logits).float(), numbers("networks")["logits_real"], rtol=0, atol=1e-4)
