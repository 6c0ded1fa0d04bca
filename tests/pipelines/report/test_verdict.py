import itertools
import json
import math
from dataclasses import replace

import pytest

from pipelines.report import verdict
from pipelines.report.verdict import Basis, SplitSize
from pipelines.results.measurements import SCORED
from pipelines.stage_types import Roles
from segkit.metrics.measure import Comparison, Measurement


def comparison(low: float, high: float, n: int = 20, difference: float | None = None) -> Comparison:
    middle = (low + high) / 2 if difference is None else difference
    return Comparison(middle, low, high, n, n, 0.5, "dice", "vessel", "fov", "pooled", 0.4, 0.4)


def student(low: float, high: float, n: int = 20, p: float = 0.001, num_compared: int = 1) -> verdict.Finding:
    return verdict.judge_treated(
        comparison(low, high, n), p, "student", "student-control", "test images", "synthetic images", num_compared
    )


ROLES = Roles(baseline="teacher", treated=("student",))
TEST = Basis("test", 20, 20, "They are the data set's own test images, used for nothing else.")


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.001, 0.02, "helped"),
        (0.0, 0.02, "no-evidence"),
        (-0.001, 0.02, "no-evidence"),
        (-0.02, 0.0, "no-evidence"),
        (-0.02, -0.001, "worse"),
    ],
)
def test_a_claim_needs_the_whole_interval_on_one_side_of_zero(low: float, high: float, outcome: str) -> None:
    assert student(low, high).outcome == outcome


@pytest.mark.parametrize(
    ("p", "num_compared", "outcome"),
    [(0.05, 1, "helped"), (0.051, 1, "no-evidence"), (0.0125, 4, "helped"), (0.013, 4, "no-evidence")],
)
def test_a_claim_needs_a_small_p_the_smaller_the_more_are_compared(p: float, num_compared: int, outcome: str) -> None:
    assert student(0.001, 0.02, p=p, num_compared=num_compared).outcome == outcome


def test_an_interval_that_is_not_enough_is_explained() -> None:
    assert "0.05 / 4 = 0.0125" in student(0.1, 0.2, p=0.02, num_compared=4).sentence
    assert "0.05 / 4" not in student(-0.1, 0.2, p=0.02, num_compared=4).sentence
    assert "0.05 / 4" not in student(0.1, 0.2, num_compared=4).sentence


def test_without_an_interval_there_is_no_claim() -> None:
    assert student(math.nan, math.nan, n=20).outcome == "no-evidence"
    assert student(math.nan, math.nan, n=1).outcome == "too-few-images"


def sign_flip_p(differences: list[float]) -> float:
    """Two-sided p of an exact sign-flip test, by trying every sign."""
    observed = abs(sum(differences))
    signs = list(itertools.product((1, -1), repeat=len(differences)))
    flipped = [abs(sum(sign * value for sign, value in zip(row, differences, strict=True))) for row in signs]
    return sum(value >= observed for value in flipped) / len(signs)


@pytest.mark.parametrize("n", range(1, 11))
def test_a_claim_needs_as_many_images_as_an_exact_sign_flip_test(n: int) -> None:
    best_case = sign_flip_p([1.0] * n)
    assert verdict.smallest_p(n) == pytest.approx(best_case)
    assert verdict.can_decide(n) == (best_case <= 0.05)
    assert verdict.can_decide(n, 4) == (best_case <= 0.05 / 4)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_five_images_never_bear_a_claim(n: int) -> None:
    finding = student(0.1, 0.2, n)
    assert finding.outcome == "too-few-images"
    assert finding.sentence.startswith("No evidence")
    assert f"n = {n}" in finding.sentence
    assert "too few" in finding.sentence


def test_six_images_are_the_fewest_that_bear_one() -> None:
    assert verdict.min_images() == 6
    assert verdict.min_images(4) == 8
    assert student(0.1, 0.2, 6).outcome == "helped"


def test_ten_images_of_five_patients_are_too_few_for_a_claim_and_the_texts_name_both_numbers() -> None:
    five = replace(comparison(0.1, 0.2, 10), num_groups=5)
    basis = Basis("holdout", 10, 5, "")

    def judged(given: Comparison, p: float) -> verdict.Finding:
        return verdict.judge_treated(given, p, "student", "control", basis.noun, ROLES.treatment)

    few = judged(five, 0.0625)
    assert few.outcome == "too-few-images"
    assert "n = 10 held-out images of 5 patients" in few.sentence
    decided = verdict.decide(ROLES, basis, [few, few], None, {"real"})
    assert "5 patients" in decided.headline
    assert "10 held-out images of 5 patients" in decided.headline
    assert "5 patients" in decided.caveats[0]
    assert any("patients" in caveat for caveat in decided.caveats[1:])
    assert verdict.as_json(decided)["basis"]["num_groups"] == 5
    assert judged(replace(five, num_groups=6), 0.03125).outcome == "helped"


@pytest.mark.parametrize(
    ("low", "high", "claim", "difference"),
    [
        (0.0012, 0.0246, "Synthetic images helped student", "+0.0129"),
        (-0.3, -0.1, "Synthetic images made student worse", "−0.2000"),
        (-0.01, 0.03, "No evidence that synthetic images help student", "+0.0100"),
    ],
)
def test_the_sentence_gives_claim_difference_interval_p_and_n(
    low: float, high: float, claim: str, difference: str
) -> None:
    sentence = student(low, high).sentence
    interval = f"[{verdict.signed(low)}, {verdict.signed(high)}]"
    assert sentence.startswith(f"{claim}: Dice {difference} against student-control")
    assert all(part in sentence for part in (interval, "p = 0.001", "n = 20 test images"))


def test_the_treatment_is_the_recipes() -> None:
    judged = verdict.judge_treated(comparison(0.1, 0.2), 0.001, "a", "b", "test images", "adversarial losses")
    assert judged.sentence.startswith("Adversarial losses helped a")
    roles = Roles(baseline="b", treated=("a",), treatment="adversarial losses")
    assert "adversarial losses" in verdict.headline(roles, TEST, [])


def test_one_student_is_the_headline_itself() -> None:
    finding = student(0.001, 0.02)
    assert verdict.headline(ROLES, TEST, [finding]) == finding.sentence


@pytest.mark.parametrize(
    ("intervals", "parts"),
    [
        ([(0.1, 0.2), (0.1, 0.3)], ["Of 2 models", "helped 2 and made 0 worse"]),
        ([(-0.2, -0.1), (-0.3, -0.1)], ["helped 0 and made 2 worse"]),
        ([(-0.1, 0.2), (-0.1, 0.3)], ["helped 0 and made 0 worse", "for 2 there is no evidence"]),
        ([(0.1, 0.2), (-0.1, 0.3)], ["helped 1 and made 0 worse", "for 1 there is no evidence"]),
        ([(0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1)], ["Of 3 models", "helped 1 and made 1 worse", "for 1 there is no"]),
        ([(0.1, 0.2), (-0.2, -0.1)], ["helped 1 and made 1 worse", "for 0 there is no evidence"]),
    ],
)
def test_several_students_are_counted(intervals: list[tuple[float, float]], parts: list[str]) -> None:
    headline = verdict.headline(ROLES, TEST, [student(low, high) for low, high in intervals])
    assert all(part in headline for part in parts)
    assert "n = 20 test images" in headline


def test_the_headline_of_several_students_on_too_few_images_gives_the_reason() -> None:
    few = Basis("holdout", 4, 4, "")
    findings = [student(0.1, 0.2, n=4), student(0.1, 0.2, n=4)]
    assert "4 images are too few" in verdict.headline(ROLES, few, findings)


def test_without_a_control_there_is_no_verdict() -> None:
    decided = verdict.decide(ROLES, TEST, [], None, {"real"})
    assert decided.outcome == "none"
    assert decided.headline.startswith("No verdict")


def dice(low: float, high: float) -> Measurement:
    return Measurement("dice", "vessel", "fov", "pooled", 0.4, "val-best-dice", 20, 20, 0.8123, low, high)


def test_a_recipe_without_treated_models_has_its_baselines_result_as_headline() -> None:
    alone = Roles(baseline="model")
    decided = verdict.decide(alone, TEST, [], None, {"real"}, dice(0.8, 0.9))
    assert decided.outcome == "none"
    assert "Model: Dice 0.8123, 95 % interval [0.8000, 0.9000], n = 20 test images" in decided.headline
    assert len(decided.caveats) == 1  # one training seed
    assert "interval" not in verdict.headline(alone, TEST, [], dice(math.nan, math.nan))


def test_without_labels_there_is_no_verdict() -> None:
    assert verdict.choose_basis([], {}) is None
    assert verdict.decide(ROLES, None, [], None, {"real"}).headline.startswith("No verdict")


def test_test_images_come_before_held_out_before_validation_images() -> None:
    assert SCORED == ("test", "out-of-fold", "holdout", "val")
    sizes = {"test": SplitSize(20, 20, 20), "holdout": SplitSize(4, 4, 4), "val": SplitSize(4, 4, 4)}
    for scored in (["val", "holdout", "test"], ["val", "holdout"], ["val"]):
        chosen = verdict.choose_basis(scored, sizes)
        assert chosen is not None
        assert chosen.split == scored[-1]


def test_the_choice_of_images_is_explained() -> None:
    sizes = {"test": SplitSize(20, 0, 0), "holdout": SplitSize(4, 4, 4), "val": SplitSize(3, 3, 3)}
    holdout = verdict.choose_basis(["holdout", "val"], sizes)
    val = verdict.choose_basis(["val"], sizes)
    part = verdict.choose_basis(["test"], {"test": SplitSize(20, 5, 5)})
    assert holdout is not None
    assert val is not None
    assert part is not None
    assert "20 test images have no labels" in holdout.why
    assert "chose checkpoints" in val.why
    assert "no training image was held out" in val.why
    assert "5 of 20" in part.why
    assert part.n == 5


def caveats(n: int, split: str = "test", students: int = 1, origin: str = "real") -> str:
    findings = [student(0.1, 0.2, n, num_compared=students) for _ in range(students)]
    return " ".join(verdict.decide(ROLES, Basis(split, n, n, ""), findings, None, {origin}).caveats)


def test_few_images_are_warned_about() -> None:
    assert "too narrow" in caveats(9)
    assert "too narrow" not in caveats(10)
    assert "too few" in caveats(5)
    assert "too few" not in caveats(6)


def test_validation_images_phantoms_and_several_students_are_warned_about() -> None:
    assert "optimistic" in caveats(20, split="val")
    assert "optimistic" not in caveats(20)
    assert "phantoms" in caveats(20, origin="phantom")
    assert "phantoms" not in caveats(20)
    assert "0.05 / 2 = 0.025" in caveats(20, students=2)
    assert "models are compared" not in caveats(20)


def test_one_seed_is_always_mentioned() -> None:
    assert "one seed" in caveats(100)


def test_the_ensemble_is_no_evidence_on_synthetic_images() -> None:
    finding = verdict.judge_ensemble(
        comparison(0.1, 0.2), 0.001, "ensemble", "teacher", "test images", "synthetic images"
    )
    assert finding.sentence.startswith("The ensemble is better than the teacher: Dice +0.1500")
    assert "no evidence about synthetic images" in finding.sentence
    same = verdict.judge_ensemble(comparison(0.0, 0.0), 1.0, "ensemble", "teacher", "test images", "synthetic images")
    assert "exactly" in same.sentence


def test_the_verdict_is_plain_json_even_without_an_interval() -> None:
    findings = [student(math.nan, math.nan, n=1, p=1.0)]
    record = json.loads(
        json.dumps(verdict.as_json(verdict.decide(ROLES, TEST, findings, None, {"real"})), allow_nan=False)
    )
    assert record["outcome"] == "too-few-images"
    assert record["students"][0]["comparison"]["low"] is None
    assert record["students"][0]["control"] == "student-control"
    assert record["basis"]["split"] == "test"


def test_a_difference_shows_its_direction() -> None:
    assert verdict.signed(0.01234) == "+0.0123"
    assert verdict.signed(-0.01234) == "−0.0123"
    assert verdict.signed(0.0) == "0"
    assert verdict.signed(math.nan) == "not defined"
