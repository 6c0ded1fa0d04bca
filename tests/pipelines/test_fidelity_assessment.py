"""From observations to numbers."""

from dataclasses import replace

import numpy as np
import pytest

from gan.fidelity.copies import closeness
from gan.fidelity.measures import measure
from pipelines.fidelity.assessment import (
    DRAWN,
    HELDOUT,
    SAMPLES,
    Assessment,
    ImageSet,
    TooManyCopiesError,
    as_json,
    assess,
    check_copies,
    with_doubt,
)
from pipelines.fidelity.pictures import most_alike
from segkit.core.errors import SegkitError
from segkit.metrics.vessel_statistics import compare
from tests.pipelines.fidelity_runs import NoLook, made, observations


def values(assessment: Assessment, name: str) -> dict[str, float | None]:
    return {each.measure: each.value for each in assessment[name].estimates}


def test_a_gan_like_the_photographs_and_one_unlike_them_are_told_apart_with_held_out_ones_between() -> None:
    close, far = made(shift=0.02), made(shift=1.0)
    for name in ("kid", "fid"):
        numbers = values(close, DRAWN)[name], values(far, DRAWN)[name]
        assert numbers[0] is not None
        assert numbers[1] is not None
        assert numbers[0] < numbers[1]
    assert values(close, HELDOUT)["kid"] == pytest.approx(0, abs=0.05)
    precision = values(close, DRAWN)["precision"], values(far, DRAWN)["precision"]
    assert precision[0] is not None
    assert precision[0] > 0.5
    assert precision[1] == 0


def test_the_numbers_of_a_set_are_those_of_its_features() -> None:
    training = observations([str(n) for n in range(8)], 8, 0)
    drawn = observations([f"d{n}" for n in range(20)], 8, 1, shift=0.3)
    found = assess("x", NoLook(), training, [ImageSet(DRAWN, "drawn", drawn)], k=2)
    real, fake = (np.stack([each.seen.features for each in side]).astype(np.float64) for side in (training, drawn))
    assert list(found[DRAWN].estimates) == measure(real, fake, 2)
    vessels = [[each.seen.vessels for each in side if each.seen.vessels] for side in (training, drawn)]
    assert list(found[DRAWN].vessels) == compare(*vessels)


def test_an_image_is_a_copy_below_the_threshold_of_closeness() -> None:
    found = made(copied=5)
    for name in (DRAWN, SAMPLES):
        below = [pair.name for pair in found[name].copies.pairs if pair.closeness < found.threshold]
        assert below == [f"seed{n:04d}" for n in range(5)]
        assert found[name].copies.share.count == 5
    assert found[HELDOUT].copies.share.count == 0
    assert found.twins.count == 0


def test_the_closeness_told_is_that_of_the_match() -> None:
    drawn = observations(["a", "b"], 9, 4, copied=1)
    found = assess(
        "x", NoLook(), observations([str(n) for n in range(9)], 9, 0), [ImageSet(DRAWN, "drawn", drawn)], k=3
    )
    expected = closeness(np.stack([each.match.distances for each in drawn]))
    assert [pair.closeness for pair in found[DRAWN].copies.pairs] == pytest.approx(list(expected))


def test_sets_are_compared_with_held_out_photographs_and_these_with_none() -> None:
    found = made(copied=40)
    assert found[HELDOUT].copies.nearer_in_structure is None
    nearer = found[DRAWN].copies.nearer_in_structure
    assert nearer is not None
    assert nearer.chance == 1.0
    assert (nearer.num_drawn, nearer.num_heldout) == (40, 11)
    assert made(num_heldout=0)[DRAWN].copies.nearer_in_features is None


def test_an_empty_set_is_left_out() -> None:
    found = made(num_heldout=0)
    assert HELDOUT not in found
    assert DRAWN in found


def test_logged_numbers_carry_set_sizes_and_reference_in_their_keys() -> None:
    numbers = made(copied=4).numbers(DRAWN)
    assert set(numbers) == {
        *(f"{name}40_phantom_train12_teacher" for name in ("kid", "fid", "precision", "recall", "density", "coverage")),
        "copy_share40_phantom_train12",
    }
    assert numbers["copy_share40_phantom_train12"] == 0.1
    assert not any(np.isnan(value) for value in made(num_training=3, num_samples=1).numbers(SAMPLES).values())


def test_more_copies_than_allowed_are_refused_and_photographs_do_not_count() -> None:
    check_copies(made(copied=4), None, "x")
    check_copies(made(copied=0), 0.0, "x")
    check_copies(made(alarms=11), 0.0, "x")
    check_copies(made(copied=4), 0.25, "x")
    with pytest.raises(
        TooManyCopiesError,
        match=r"4 of 16 images \(samples, psi 0.7\) are copies of .*: 25.0 %, and 20 % were allowed .*; see there",
    ):
        check_copies(made(copied=4), 0.2, "see there")
    assert TooManyCopiesError.exit_code == 1


def test_a_share_that_passes_with_an_interval_that_does_not_gets_a_note() -> None:
    (note,) = with_doubt(made(num_samples=0), 0.05).notes
    assert note == (
        "the share of copies, 0 % of 40 images (drawn, psi 1), is within the 5 % allowed, but its 95 % interval "
        "reaches 8.81 %; draw about 72 images to settle it"
    )
    (note,) = with_doubt(made(), 0.05).notes
    assert note.startswith("the share of copies, 0 % of 16 images (samples, psi 0.7)")  # fewer images tell less
    (note,) = with_doubt(made(num_samples=0, copied=4), 0.1).notes
    assert note.startswith("the share of copies, 10 % of 40 images")
    assert note.endswith("no number of images with this share settles it")
    check_copies(made(), 0.05, "")  # it is a note, and no failure


def test_no_note_stands_where_the_interval_passes_the_share_fails_or_nothing_is_asked() -> None:
    for assessment, limit in ((made(), 0.5), (made(copied=10), 0.2), (made(copied=1), None), (made(alarms=11), 0.5)):
        assert with_doubt(assessment, limit) is assessment


def test_a_note_is_kept_beside_others() -> None:
    given = replace(made(), notes=("one",))
    assert with_doubt(given, 0.05).notes[0] == "one"
    assert as_json(with_doubt(given, 0.05))["notes"] == list(with_doubt(given, 0.05).notes)
    assert len(with_doubt(given, 0.05).notes) == 2


def test_features_that_are_no_numbers_stop_the_assessment() -> None:
    training = observations([str(n) for n in range(5)], 5, 0)
    training[2].seen.features[3] = np.inf
    with pytest.raises(SegkitError, match="features of 1 of the 5 photographs are not finite"):
        assess("x", NoLook(), training, [], k=3)


def test_the_most_alike_come_first_and_equals_by_name() -> None:
    pairs = made(copied=3)[DRAWN].copies.pairs
    chosen = most_alike(pairs[::-1], 5)
    assert {pair.name for pair in chosen[:3]} == {"seed0000", "seed0001", "seed0002"}
    assert [pair.closeness for pair in chosen] == sorted(pair.closeness for pair in chosen)
    assert most_alike(pairs, 5) == chosen


def test_the_same_observations_give_the_same_numbers() -> None:
    assert made(copied=2) == made(copied=2)
