"""From features to an assessment."""

import numpy as np
import pytest

from gan.fidelity.copies import closeness
from gan.fidelity.measures import measure, share
from pipelines.fidelity import text
from pipelines.fidelity.assess import TooManyCopiesError, assess, check_copies
from pipelines.fidelity.assessment import DRAWN, HELDOUT, SAMPLES, Assessment
from pipelines.fidelity.features import ImageFeatures, ImageSet
from pipelines.fidelity.files import nearest_pairs
from segkit.core.errors import SegkitError
from segkit.metrics.vessel_statistics import compare
from tests.pipelines.fidelity_runs import PHOTOGRAPHS, Unscaled, assessment_of, image_features

DRAWN_SET = ImageSet(DRAWN, "drawn", {})


def values(assessment: Assessment, name: str) -> dict[str, float | None]:
    return {measure: number.value for measure, number in assessment.sets[name].numbers.items()}


def test_a_gan_like_the_photographs_and_one_unlike_them_are_told_apart_with_held_out_ones_between() -> None:
    close, far = assessment_of(shift=0.02), assessment_of(shift=1.0)
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
    training = image_features([str(n) for n in range(8)], 8, 0)
    drawn = image_features([f"d{n}" for n in range(20)], 8, 1, shift=0.3)
    images = assess(PHOTOGRAPHS, Unscaled(), training, [(DRAWN_SET, drawn)], k=2).sets[DRAWN]
    real, fake = (np.stack([image.features for image in side]).astype(np.float64) for side in (training, drawn))
    assert images.numbers == measure(real, fake, 2) | {"copy_share": share(images.num_copies, 20)}
    vessels = [[image.vessels for image in side if image.vessels] for side in (training, drawn)]
    for compared in compare(*vessels):
        found = images.vessels[compared.statistic]
        assert (found.mean.value, found.mean.low, found.mean.high) == (
            compared.other.mean, compared.other.low, compared.other.high,
        )  # fmt: skip
        assert (found.p, found.finding) == (compared.p, compared.finding)


def test_photographs_of_a_patient_count_together_in_every_measure() -> None:
    def of_patients(names: str, patients: str, seed: int, shift: float = 0.0) -> list[ImageFeatures]:
        made = image_features(list(names), 8, seed, shift=shift)
        return [image._replace(group=group) for image, group in zip(made, patients, strict=True)]

    groups, heldout_groups = list("ppqqrrss"), list("ttuuvv")
    training = of_patients("abcdefgh", "ppqqrrss", 0)
    heldout, drawn = of_patients("123456", "ttuuvv", 1), image_features([f"d{n}" for n in range(9)], 8, 2)
    sets = [(ImageSet(HELDOUT, "held-out photographs", {}), heldout), (DRAWN_SET, drawn)]
    assessment = assess(PHOTOGRAPHS, Unscaled(), training, sets, k=2)
    images = assessment.sets[HELDOUT]
    assert (assessment.num_real, assessment.num_real_groups, images.n, images.num_groups) == (8, 4, 6, 3)
    assert assessment.sets[DRAWN].num_groups == 9
    real, other = (np.stack([image.features for image in side]).astype(np.float64) for side in (training, heldout))
    expected = measure(real, other, 2, groups, heldout_groups) | {"copy_share": share(images.num_copies, 6, 3)}
    assert images.numbers == expected
    distances = np.stack([image.match.distances for image in heldout])
    np.testing.assert_allclose([pair.closeness for pair in images.pairs], closeness(distances, groups))
    vessels = [[image.vessels for image in side if image.vessels] for side in (training, heldout)]
    compared = compare(*vessels, groups=groups, other_groups=heldout_groups)
    assert [images.vessels[each.statistic].p for each in compared] == [each.p for each in compared]
    table = text.measures_table(assessment)
    assert table.rows[0] == ("images", ["6 of 3 patients", "9"])
    assert "8 reference photographs of 4 patients" in table.caption
    assert "8 reference photographs of 4 patients" in text.vessels_table(assessment).caption


def test_an_image_is_a_copy_below_the_threshold_of_closeness() -> None:
    assessment = assessment_of(copied=5)
    for name in (DRAWN, SAMPLES):
        images = assessment.sets[name]
        below = [pair.image for pair in images.pairs if pair.closeness < assessment.threshold]
        assert below == [f"seed{n:04d}" for n in range(5)]
        assert images.num_copies == 5
    assert assessment.sets[HELDOUT].num_copies == 0
    assert assessment.num_near_duplicates == 0


def test_the_closeness_of_a_pair_is_that_of_its_match() -> None:
    drawn, training = image_features(["a", "b"], 9, 4, copied=1), image_features([str(n) for n in range(9)], 9, 0)
    images = assess(PHOTOGRAPHS, Unscaled(), training, [(DRAWN_SET, drawn)], k=3).sets[DRAWN]
    expected = closeness(np.stack([image.match.distances for image in drawn]))
    assert [pair.closeness for pair in images.pairs] == pytest.approx(list(expected))


def test_an_empty_set_is_left_out() -> None:
    assert set(assessment_of(num_heldout=0).sets) == {DRAWN, SAMPLES}


def test_more_copies_than_allowed_are_refused_and_photographs_do_not_count() -> None:
    check_copies(assessment_of(copied=4), None, "x")
    check_copies(assessment_of(copied=0), 0.0, "x")
    check_copies(assessment_of(alarms=11), 0.0, "x")
    check_copies(assessment_of(copied=4), 0.25, "x")
    with pytest.raises(TooManyCopiesError, match=r"4 of 16 .* 25.0 %; 20 %"):
        check_copies(assessment_of(copied=4), 0.2, "advice")
    assert TooManyCopiesError.exit_code == 1


def test_photographs_with_a_note_are_not_the_gans_training_images() -> None:
    noted = assessment_of(note="there is no record")
    assert noted.note == "there is no record"
    assert noted.sets[HELDOUT].title != assessment_of().sets[HELDOUT].title


def test_features_that_are_no_numbers_stop_the_assessment() -> None:
    training = image_features([str(n) for n in range(5)], 5, 0)
    training[2].features[3] = np.inf
    with pytest.raises(SegkitError, match="1 of the 5"):
        assess(PHOTOGRAPHS, Unscaled(), training, [], k=3)


def test_each_number_says_how_many_images_it_rests_on_in_its_key() -> None:
    assessment = assessment_of(num_drawn=1000, num_samples=48)
    assert assessment.key(DRAWN, "kid") == "kid1k_phantom_train12_teacher"
    assert assessment.key(SAMPLES, "copy_share") == "copy_share48_phantom_train12"


def test_the_nearest_pairs_come_first_and_equal_ones_by_name() -> None:
    pairs = assessment_of(copied=3).sets[DRAWN].pairs
    chosen = nearest_pairs(pairs[::-1], 5)
    assert {pair.image for pair in chosen[:3]} == {"seed0000", "seed0001", "seed0002"}
    assert [pair.closeness for pair in chosen] == sorted(pair.closeness for pair in chosen)
    assert nearest_pairs(pairs, 5) == chosen


def test_the_same_features_give_the_same_numbers() -> None:
    assert assessment_of(copied=2) == assessment_of(copied=2)
