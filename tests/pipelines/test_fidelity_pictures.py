"""The sheet of nearest pairs."""

import numpy as np
import pytest

from gan.data import fit_to_square
from gan.fidelity.copies import CopySearch, closeness
from pipelines.fidelity.assessment import DRAWN, HELDOUT, Pair
from pipelines.fidelity.pictures import CAPTION, NUM_COLUMNS, SIDE, _as_found, nearest_sheet
from segkit.data import phantom
from tests.pipelines.fidelity_runs import made

TRAINING = np.stack([fit_to_square(phantom.draw(seed, 146, 141).image, 64) for seed in range(5)])


@pytest.fixture(scope="module")
def search() -> CopySearch:
    return CopySearch(TRAINING)


def pair_of(search: CopySearch, image: np.ndarray) -> Pair:
    match = search.match(image)
    distance, close = float(match.distances.min()), float(closeness(match.distances[None])[0])
    return Pair("drawn", str(match.nearest), str(match.transform), match.shift, distance, close)


@pytest.mark.parametrize("shift", [(3, -5), (-4, 2), (0, 0)])
def test_a_photograph_is_shown_as_it_comes_nearest(search: CopySearch, shift: tuple[int, int]) -> None:
    image = np.ascontiguousarray(np.roll(np.rot90(TRAINING[3][:, ::-1]), shift, (0, 1)))
    pair = pair_of(search, image)
    assert pair.nearest == "3"
    shown = _as_found(TRAINING[3], pair, search)
    assert np.array_equal(shown[6:-6, 6:-6], image[6:-6, 6:-6])


def test_the_sheet_has_a_row_of_held_out_photographs_and_as_many_pairs_of_others_as_asked_for(
    search: CopySearch,
) -> None:
    asked = []

    def square(of: str, name: str) -> np.ndarray:
        asked.append((of, name))
        return TRAINING[0]

    names = {f"{n}_training": TRAINING[n % 5] for n in range(12)}
    sheet = nearest_sheet(made(copied=3), 6, square, names, search)
    assert sheet.shape == ((1 + 2 + 2) * (SIDE + CAPTION) + 3 * 26, NUM_COLUMNS * (2 * SIDE + 12), 3)
    assert sum(of == HELDOUT for of, _ in asked) == NUM_COLUMNS
    assert {name for of, name in asked if of == DRAWN} >= {"seed0000", "seed0001", "seed0002"}


def test_fewer_images_than_asked_for_are_all_shown(search: CopySearch) -> None:
    names = {f"{n}_training": TRAINING[n % 5] for n in range(12)}
    few = made(num_heldout=0, num_drawn=2, num_samples=1, k=1)
    sheet = nearest_sheet(few, 8, lambda *_: TRAINING[0], names, search)
    assert len(sheet) == 2 * (SIDE + CAPTION + 26)
