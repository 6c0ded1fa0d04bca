"""Images in which it shows what an augmentation did, and the statistics that show it."""

import torch

from tests.gan.augment_draws import rng

EDGE = 32


def points():
    """(1, 3, r, r): a soft dot in each channel, left, right and below of the centre."""
    at = torch.arange(EDGE) - (EDGE - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    dots = [torch.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 8) for dx, dy in ((-4, -2), (4, -2), (0, 4))]
    return torch.stack(dots)[None]


def placed(images):
    """What of the matrix that moved `points` shows in where the dots have gone."""
    at = torch.arange(EDGE, dtype=torch.float64) - (EDGE - 1) / 2
    weights = images.double().clamp(min=0.05) - 0.05
    mass = weights.sum(dim=(2, 3)).clamp(min=1e-3)
    x, y = (weights * at).sum(dim=(2, 3)) / mass, (weights * at[:, None]).sum(dim=(2, 3)) / mass
    right, down = (torch.stack([x[:, i] - x[:, 0], y[:, i] - y[:, 0]], dim=1) for i in (1, 2))
    columns = right / 8, (down - right / 2) / 6
    matrix = torch.stack(columns, dim=2)
    area, stretch = torch.linalg.det(matrix), torch.linalg.svdvals(matrix).log2()
    return {
        "mirrored": area.sign(),
        "size": rounded(stretch.mean(dim=1), 0.05),
        "stretch": rounded(stretch[:, 0] - stretch[:, 1], 0.1),
        "angle": rounded(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]) / (torch.pi / 8), 1.0) % 16,
        "shift across": rounded(x.mean(dim=1), 1.0),
        "shift down": rounded(y.mean(dim=1), 1.0),
    }


def patches():
    """(1, 3, r, r): black, which in [-1, 1] is 0 here, and three colours, one in each quarter."""
    colours = torch.tensor([[0.0, 0.0, 0.0], [0.2, -0.1, 0.4], [0.5, 0.3, -0.2], [-0.4, 0.2, 0.1]])
    return colours.t().reshape(1, 3, 2, 2).repeat_interleave(EDGE // 2, 2).repeat_interleave(EDGE // 2, 3)


def quarters(images):
    """(n, 3, 4): the colour of each quarter."""
    half = EDGE // 2
    return images.double().reshape(len(images), 3, 2, half, 2, half).mean(dim=(3, 5)).flatten(2)


def coloured(images):
    """What the matrix has done to grey, to light and dark, and to the colours beside them."""
    found, shown = quarters(images), quarters(patches())
    matrix = (found[:, :, 1:] - found[:, :, :1]) @ torch.linalg.inv(shown[0, :, 1:])
    grey = torch.ones(3, dtype=torch.float64) / 3**0.5
    luma = matrix @ grey @ grey
    across = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64) / 2**0.5
    beside = torch.linalg.cross(grey, across)
    chroma = torch.stack([matrix @ across @ across, matrix @ across @ beside], dim=1)
    return {
        "brightness": rounded(found[:, :, 0].mean(dim=1) / luma, 0.05),
        "contrast": rounded(luma.abs().log2(), 0.1),
        "negative": luma.sign(),
        "hue": rounded(torch.atan2(chroma[:, 1], chroma[:, 0]) / (torch.pi / 8), 1.0) % 16,
        "saturation": rounded((chroma.norm(dim=1) / luma.abs()).log2(), 0.1),
        "leak": rounded((matrix @ grey - luma[:, None] * grey).norm(dim=1), 0.01),
    }


def texture():
    """(1, 3, r, r): white noise, in which there are all frequencies."""
    return torch.randn(1, 3, EDGE, EDGE, generator=rng(13))


def filtered(images):
    """Detail of several sizes, in octaves."""
    seen = {"all": images}
    for factor in (2, 4, 8):
        coarse = torch.nn.functional.avg_pool2d(images, factor)
        seen[f"of {factor} pixels"] = coarse
        seen[f"below {factor} pixels"] = images - torch.nn.functional.interpolate(coarse, scale_factor=factor)
    return {name: rounded(part.double().std(dim=(1, 2, 3)).log2(), 0.1) for name, part in seen.items()}


def grey_level():
    return torch.full([1, 3, EDGE, EDGE], 0.5)


def speckled(images):
    return {
        "deviation": rounded(images.double().std(dim=(1, 2, 3)), 0.01),
        "of neighbours": rounded((images[..., 1:] - images[..., :-1]).double().std(dim=(1, 2, 3)), 0.01),
        "mean": rounded(images.double().mean(dim=(1, 2, 3)), 0.01),
    }


def holed(images):
    hole = (images.abs() < 1e-3).all(dim=1).double()
    return {
        "area": rounded(hole.mean(dim=(1, 2)), 0.02),
        "across": rounded(hole.amax(dim=1).mean(dim=1), 0.06),
        "down": rounded(hole.amax(dim=2).mean(dim=1), 0.06),
    }


def rounded(values, step):
    """So that the same number from two ways of computing it is one number."""
    return (values / step).round() * step
