"""The sheet of nearest pairs."""

import numpy as np
import pytest

from gan.fidelity.copies import CopySearch, closeness
from gan.training.data import fit_to_square
from pipelines.fidelity.assessment import DRAWN, HELDOUT, REFERENCE, Pair
from pipelines.fidelity.files import CAPTION, NUM_COLUMNS, SIDE, _aligned, nearest_sheet
from segkit.data import phantom
from tests.pipelines.fidelity_runs import assessment_of

TRAINING = np.stack([fit_to_square(phantom.draw(seed, 146, 141).image, 64) for seed in range(5)])


@pytest.fixture(scope="module")
def search() -> CopySearch:
    return CopySearch(TRAINING)


def pair_of(search: CopySearch, image: np.ndarray) -> Pair:
    match = search.match(image)
    distance, close = float(match.distances.min()), float(closeness(match.distances[None])[0])
    return Pair("drawn", str(match.nearest), close, distance, str(match.transform), *match.shift)


@pytest.mark.parametrize("shift", [(3, -5), (-4, 2), (0, 0)])
def test_a_photograph_is_shown_as_it_comes_nearest(search: CopySearch, shift: tuple[int, int]) -> None:
    image = np.ascontiguousarray(np.roll(np.rot90(TRAINING[3][:, ::-1]), shift, (0, 1)))
    pair = pair_of(search, image)
    assert pair.nearest == "3"
    shown = _aligned(TRAINING[3], pair, search)
    assert np.array_equal(shown[6:-6, 6:-6], image[6:-6, 6:-6])


def test_the_sheet_has_a_row_of_held_out_photographs_and_the_requested_pairs_of_others(search: CopySearch) -> None:
    requested = []

    def square(set_name: str, image_name: str) -> np.ndarray:
        requested.append((set_name, image_name))
        return TRAINING[0]

    sheet = nearest_sheet(assessment_of(copied=3), 6, square, search)
    assert sheet.shape == ((1 + 2 + 2) * (SIDE + CAPTION) + 3 * 26, NUM_COLUMNS * (2 * SIDE + 12), 3)
    assert sum(name == HELDOUT for name, _ in requested) == NUM_COLUMNS
    assert {image for name, image in requested if name == DRAWN} >= {"seed0000", "seed0001", "seed0002"}
    assert {image for name, image in requested if name == REFERENCE} <= {f"{n}_training" for n in range(12)}


def test_fewer_images_than_requested_are_all_shown(search: CopySearch) -> None:
    few = assessment_of(num_heldout=0, num_drawn=2, num_samples=1, k=1)
    sheet = nearest_sheet(few, 8, lambda *_: TRAINING[0], search)
    assert len(sheet) == 2 * (SIDE + CAPTION + 26)
