import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from segkit.core.errors import RequestError
from segkit.metrics.measure import compare, find_measurement, from_json, image_values, measure, to_json
from segkit.metrics.metrics import DEFAULT_METRICS
from segkit.metrics.score import (
    ScoredImage,
    binary_probs,
    choose_threshold,
    is_binary,
    load_scores,
    save_scores,
    score_image,
    score_images,
)
from segkit.metrics.significance import resample_multiplicities
from tests.reference.metrics_patients import percentile_interval
from tests.reference.metrics_pixels import best_dice, cldice, rates, retina

THRESHOLD_FREE = ("auroc", "auprc", "log_loss", "ece")


def images(seed: int = 30, num_images: int = 4, better: int = 0, groups: str = "") -> list[ScoredImage]:
    """A run on the images of `seed`; `better` lifts the level of every vessel pixel; a letter of `groups` each."""
    levels, vessels, fov = retina(seed, num_images)
    lifted = np.minimum(levels.astype(int) + better * vessels, 65535).astype(np.uint16)
    whose = groups or [""] * num_images
    return [ScoredImage(f"{k:02d}", *arrays) for k, arrays in enumerate(zip(lifted, vessels, fov, whose, strict=True))]


@pytest.fixture(scope="module")
def scores():
    return score_images(images(), thresholds=(0.5, 0.4))


@pytest.fixture(scope="module")
def measured(scores):
    return measure(scores, 0.4, "val-best-dice", num_resamples=100)


def test_every_metric_is_measured_in_both_regions_and_both_averagings(measured):
    keys = {(m.metric, m.region, m.averaging) for m in measured}
    assert len(keys) == len(measured) == len(DEFAULT_METRICS) * 2 * 2
    for m in measured:
        assert m.class_name == "vessel"
        assert m.n == 4
        assert m.low <= m.high
        expected = (None, "none") if m.metric in THRESHOLD_FREE else (0.4, "val-best-dice")
        assert (m.threshold, m.threshold_source) == expected


def test_images_without_a_field_of_view_have_all_pixels_alone(measured):
    whole = [replace(image, region=np.ones_like(image.region)) for image in images()]
    alone = measure(score_images(whole, thresholds=(0.4,)), 0.4, "val-best-dice", num_resamples=100)
    assert [to_json(m) for m in alone] == [to_json(m) for m in measured if m.region == "all-pixels"]
    assert find_measurement(alone, "dice") == find_measurement(measured, "dice", "all-pixels")
    mixed = measure(score_images([*whole[:2], *images()[2:]]), 0.5, "fixed-0.5", num_resamples=10)
    assert {m.region for m in mixed} == {"fov", "all-pixels"}
    assert find_measurement(mixed, "dice").region == "fov"


@pytest.mark.parametrize("region", ["fov", "all-pixels"])
def test_pooled_and_per_image_numbers_equal_plain_numpy(measured, region):
    levels, vessels, fov = retina(30)
    fov = fov if region == "fov" else np.ones_like(fov)
    pooled = rates(levels / 65535, vessels, fov, 0.4)
    each = [rates(p / 65535, v, f, 0.4) for p, v, f in zip(levels, vessels, fov, strict=True)]
    for name, value in pooled.items():
        assert find_measurement(measured, name, region, "pooled").value == pytest.approx(value, rel=1e-12)
        mean = np.mean([image[name] for image in each])
        assert find_measurement(measured, name, region, "per-image").value == pytest.approx(mean, rel=1e-12)
    auroc = [sk.roc_auc_score(v[f], p[f]) for p, v, f in zip(levels, vessels, fov, strict=True)]
    assert find_measurement(measured, "auroc", region, "per-image").value == pytest.approx(np.mean(auroc), rel=1e-12)
    lines = [cldice(p / 65535 >= 0.4, v, f) for p, v, f in zip(levels, vessels, fov, strict=True)]
    assert find_measurement(measured, "cldice", region, "per-image").value == pytest.approx(np.mean(lines), rel=1e-12)


def test_a_pooled_interval_is_the_percentiles_over_regathered_pixels(scores, measured):
    levels, vessels, fov = retina(30)
    values = []
    for drawn in resample_multiplicities(4, 100, seed=0):
        index = np.repeat(np.arange(4), drawn)
        values.append(sk.f1_score(vessels[index][fov[index]], levels[index][fov[index]] / 65535 >= 0.4))
    found = find_measurement(measured, "dice", "fov", "pooled")
    np.testing.assert_allclose((found.low, found.high), np.percentile(values, [2.5, 97.5]), rtol=1e-10)


def test_intervals_are_over_patients_and_numbers_say_how_many_there_are():
    whose = "baabcc"
    scores = score_images(images(num_images=6, groups=whose))
    found = find_measurement(measure(scores, 0.5, "fixed-0.5", num_resamples=20_000, metrics=["dice"]), "dice")
    alone = find_measurement(measure(score_images(images(num_images=6)), 0.5, "fixed-0.5", metrics=["dice"]), "dice")
    assert (found.n, found.num_groups) == (6, 3)
    assert (alone.n, alone.num_groups) == (6, 6)
    assert found.value == alone.value
    levels, vessels, fov = retina(30, 6)

    def dice(index):
        return sk.f1_score(vessels[index][fov[index]], levels[index][fov[index]] / 65535 >= 0.5)

    np.testing.assert_allclose((found.low, found.high), percentile_interval(whose, dice, 1500, seed=2), atol=0.003)


def test_of_a_per_image_mean_only_patients_with_a_value_count():
    blank = images(num_images=4, groups="abbc")
    for k in (1, 2):
        blank[k] = ScoredImage(f"{k:02d}", blank[k].probs, np.zeros_like(blank[k].labels), blank[k].region, "b")
    measurements = measure(score_images(blank), 0.5, "fixed-0.5", num_resamples=10)
    mean = find_measurement(measurements, "sensitivity", averaging="per-image")
    assert (mean.n, mean.num_groups) == (2, 2)
    assert find_measurement(measurements, "sensitivity").num_groups == 3


def test_a_comparison_is_over_patients_and_both_runs_must_name_the_same(tmp_path):
    a, b = (
        score_images(images(better=900, num_images=6, groups="aabbcc")),
        score_images(images(num_images=6, groups="aabbcc")),
    )
    save_scores(a, tmp_path / "a.npz")
    found = compare(load_scores(tmp_path / "a.npz"), b, 0.5, 0.5)
    assert (found.n, found.num_groups) == (6, 3)
    assert found == compare(a, b, 0.5, 0.5)
    with pytest.raises(RequestError, match="other patients, a and 00"):
        compare(a, score_images(images(num_images=6)), 0.5, 0.5)


def test_cldice_is_left_out_at_a_threshold_the_images_were_not_scored_at(scores):
    names = [m.metric for m in measure(scores, 0.3, "fixed-0.3", num_resamples=10)]
    assert "cldice" not in names
    assert "dice" in names


def test_images_without_vessels_leave_the_per_image_mean_and_its_n():
    blank = images(num_images=3)
    blank[1] = ScoredImage("01", blank[1].probs, np.zeros_like(blank[1].labels), blank[1].region)
    measurements = measure(score_images(blank), 0.5, "fixed-0.5", num_resamples=10)
    assert find_measurement(measurements, "sensitivity", averaging="per-image").n == 2
    assert find_measurement(measurements, "sensitivity", averaging="pooled").n == 3
    assert find_measurement(measurements, "specificity", averaging="per-image").n == 3


def test_the_chosen_threshold_has_the_best_dice_inside_the_fov(scores):
    threshold = choose_threshold(scores)
    levels, vessels, fov = retina(30)
    best = best_dice(levels[fov], vessels[fov])
    [chosen] = measure(scores, threshold, "val-best-dice", regions=["fov"], averagings=["pooled"], metrics=["dice"])
    assert chosen.value == pytest.approx(best, rel=1e-12)


def test_no_threshold_is_chosen_without_vessels():
    image = images()[0]
    with pytest.raises(RequestError, match="cannot choose a threshold"):
        choose_threshold([score_image(ScoredImage("01", image.probs, np.zeros_like(image.labels), image.region))])


def test_a_second_observer_is_scored_like_any_run():
    image = images()[0]
    score = score_image(ScoredImage("01", binary_probs(image.labels), image.labels, image.region))
    values = {m.metric: m.value for m in measure([score], 0.5, "fixed-0.5")}
    assert values["dice"] == values["auroc"] == values["cldice"] == 1
    assert values["log_loss"] == pytest.approx(-math.log(1 - 0.5 / 65535))


def test_measurements_survive_json(measured):
    copied = [from_json(record) for record in json.loads(json.dumps([to_json(m) for m in measured], allow_nan=False))]
    assert copied == measured


def test_a_number_that_is_missing_survives_json(scores):
    [single] = measure(scores[:1], 0.5, "fixed-0.5", regions=["fov"], averagings=["pooled"], metrics=["dice"])
    copied = from_json(json.loads(json.dumps(to_json(single), allow_nan=False)))
    assert copied.value == single.value
    assert math.isnan(copied.low)


def test_foreign_json_is_refused():
    with pytest.raises(RequestError, match="averaging"):
        from_json({"metric": "dice", "value": 0.8})


def test_stored_scores_measure_the_same(scores, measured, tmp_path):
    save_scores(scores, tmp_path / "scores.npz")
    again = load_scores(tmp_path / "scores.npz")
    assert [score.name for score in again] == [score.name for score in scores]
    assert measure(again, 0.4, "val-best-dice", num_resamples=100) == measured


def test_a_small_lift_is_seen_by_pairing_and_missed_by_two_intervals():
    plain, lifted = score_images(images(31, 12)), score_images(images(31, 12, better=2500))
    run = {"regions": ["fov"], "averagings": ["pooled"], "metrics": ["dice"]}
    [a], [b] = measure(lifted, 0.5, "fixed-0.5", **run), measure(plain, 0.5, "fixed-0.5", **run)
    assert a.low < b.high
    paired = compare(lifted, plain, 0.5, 0.5)
    assert paired.low > 0
    assert paired.difference == pytest.approx(a.value - b.value)
    assert (paired.n, paired.metric, paired.region, paired.threshold_a) == (12, "dice", "fov", 0.5)


@pytest.mark.parametrize("metric", DEFAULT_METRICS)
def test_comparison_is_by_name_whatever_the_order(metric):
    plain, lifted = score_images(images(32)), score_images(images(32, better=900))
    forward = compare(lifted, plain, 0.5, 0.5, metric, averaging="per-image", num_resamples=50)
    assert compare(lifted[::-1], plain, 0.5, 0.5, metric, averaging="per-image", num_resamples=50) == forward
    difference = image_values(lifted, metric, "fov", 0.5) - image_values(plain, metric, "fov", 0.5)
    assert forward.difference == pytest.approx(difference.mean())


def test_runs_on_other_images_are_not_compared(scores):
    with pytest.raises(RequestError, match="only one has: 03"):
        compare(scores, scores[:3], 0.5, 0.5)


def test_runs_against_other_labels_are_not_compared(scores):
    image = images()[0]
    other = score_image(ScoredImage("00", image.probs, image.labels ^ True, image.region))
    with pytest.raises(RequestError, match="other labels"):
        compare(scores, [other, *scores[1:]], 0.5, 0.5)


def test_cldice_is_compared_only_where_it_was_scored(scores):
    with pytest.raises(RequestError, match=r"at 0\.3"):
        compare(scores, scores, 0.3, 0.5, "cldice")


def test_an_unknown_metric_is_refused_with_the_known_ones(scores):
    with pytest.raises(RequestError, match="dice, sensitivity"):
        compare(scores, scores, 0.5, 0.5, "f2")


def test_predictions_of_another_size_or_depth_are_refused():
    image = images()[0]
    with pytest.raises(RequestError, match="differ in size"):
        score_image(ScoredImage("01", image.probs[1:], image.labels, image.region))
    with pytest.raises(RequestError, match="not 16 bit"):
        score_image(ScoredImage("01", (image.probs >> 8).astype(np.uint8), image.labels, image.region))


def test_an_image_named_twice_is_refused():
    with pytest.raises(RequestError, match="'00'"):
        score_images([images()[0], images()[0]])


def test_no_images_is_a_wrong_request():
    with pytest.raises(RequestError, match="no image"):
        measure([], 0.5, "fixed-0.5")


def test_scoring_files_needs_no_torch():
    code = "import sys, segkit.metrics.measure, segkit.metrics.tables; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_binary_if_no_map_holds_a_probability_between():
    hard = [ScoredImage(i.name, binary_probs(i.probs > 30000), i.labels, i.region) for i in images()]
    assert is_binary(score_images(hard))
    assert not is_binary(score_images(images()))
    nearly = hard[0].probs.copy()
    nearly[0, 0] = 1
    assert not is_binary(score_images([*hard[1:], ScoredImage("00", nearly, hard[0].labels, hard[0].region)]))
