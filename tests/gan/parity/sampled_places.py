"""Where an augmentation reads its images, seen from outside: what it hands to PyTorch's bilinear sampler.

Whoever moves images by `torch.nn.functional.grid_sample`, or by the operator beneath it, tells it a plane of pixels,
which is the image with borders and at a higher resolution, and the places in it to read. From two such calls, one of
which moves nothing, follows how the other moves the image, without a look at the code in between.
"""

from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Sampled(NamedTuple):
    """One call of the sampler."""

    plane: torch.Tensor
    """(c, h, w): the pixels it reads."""
    places: torch.Tensor
    """(3, 3): from pixels that it makes, counted from their middle, to pixels of the plane; columns first."""


class _Calls(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.grid_sampler_2d.default:
            self.seen.append((args[0], args[1], args[4]))
        return func(*args, **(kwargs or {}))


def sampled(augment, image):
    """How `augment` has an image, (1, c, r, r), read."""
    with torch.no_grad(), _Calls() as calls:
        augment(image)
    assert len(calls.seen) == 1, f"the sampler was called {len(calls.seen)} times"
    plane, grid, corners_are_centres = calls.seen[0]
    return Sampled(plane[0].double(), _places(grid[0].double(), plane.shape[2:], corners_are_centres))


def _places(grid, plane_size, corners_are_centres):
    """(3, 3): the affine map of which a grid, (h, w, 2) in [-1, 1], consists."""
    size = torch.tensor([plane_size[1], plane_size[0]], dtype=torch.float64)
    there = (grid + 1) / 2 * (size - 1) if corners_are_centres else ((grid + 1) * size - 1) / 2
    y, x = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2 for count in grid.shape[:2])
    y, x = torch.meshgrid(y, x, indexing="ij")
    here = torch.stack([x, y, torch.ones_like(x)], dim=2).flatten(0, 1)
    affine = torch.linalg.lstsq(here, there.flatten(0, 1)).solution
    torch.testing.assert_close(here @ affine, there.flatten(0, 1), rtol=0, atol=1e-3)  # nothing but affine
    return torch.cat([affine.t(), torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])


def movement(still, moved):
    """(3, 3): from where `still`, which moves nothing, reads a pixel to where `moved` does, in pixels of one plane."""
    return _shift(_offset(moved.plane, still.plane)) @ moved.places @ torch.linalg.inv(still.places)


def fixed_point(movement):
    """(2,): the point that a movement leaves where it is."""
    return torch.linalg.solve(torch.eye(2, dtype=torch.float64) - movement[:2, :2], movement[:2, 2])


def about(centre, movement):
    """The movement in coordinates whose origin is `centre`."""
    return _shift(-centre) @ movement @ _shift(centre)


def _offset(plane, other):
    """(2,): what to add to the columns and rows of a plane for those of another, with more or less border."""
    height, width = other.shape[1:]
    top, left = height // 2 - height // 8, width // 2 - width // 8
    block = other[:, top : top + height // 4, left : left + width // 4]
    ones = torch.ones_like(block)[None]
    squares = torch.nn.functional.conv2d(plane[None] ** 2, ones) + (block**2).sum()
    distance = (squares - 2 * torch.nn.functional.conv2d(plane[None], block[None]))[0, 0]
    best = int(distance.argmin())
    assert (distance < 1e-3 * (block**2).sum()).sum() == 1, "the image does not lie in the plane once"
    row, column = divmod(best, distance.shape[1])
    return torch.tensor([left - column, top - row], dtype=torch.float64)


def _shift(by):
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, 2] = by
    return matrix
