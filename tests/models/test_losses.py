import numpy as np
import pytest
import torch

from segkit.models.losses import build_loss
from segkit.models.settings import LOSSES, NAMED_LOSSES, CrossEntropySettings, DiceSettings, MccSettings
from tests.reference import models_losses as reference

BUILT = {name: build_loss(terms) for name, terms in NAMED_LOSSES.items()}
every_loss = pytest.mark.parametrize("name", NAMED_LOSSES)


def batch(seed, num=3, size=(12, 10), soft=False, confident=False):
    """Logits, target and pixel weights (n, 1, h, w) as float32 arrays; a third of the pixels carries no weight."""
    rng = np.random.default_rng(seed)
    shape = (num, 1, *size)
    logits = rng.normal(scale=2, size=shape)
    vessels = rng.random(shape) if soft else (rng.random(shape) < 0.15)
    weight = (rng.random(shape) < 0.67) * (rng.random(shape) if confident else 1.0)
    return tuple(array.astype(np.float32) for array in (logits, vessels, weight))


def computed(name, *arrays):
    return BUILT[name](*(torch.from_numpy(array) for array in arrays)).numpy()


@every_loss
@pytest.mark.parametrize("kind", [{}, {"soft": True}, {"confident": True}, {"soft": True, "confident": True}])
def test_every_loss_equals_plain_numpy_on_the_pixels_that_count(name, kind):
    arrays = batch(0, **kind)
    expected = [reference.LOSSES[name](*(array[i, 0] for array in arrays)) for i in range(3)]
    np.testing.assert_allclose(computed(name, *arrays), expected, rtol=2e-5)


@every_loss
def test_pixels_outside_the_fov_do_not_count(name):
    logits, vessels, weight = batch(1)
    outside = weight == 0
    changed = np.where(outside, -logits * 3, logits), np.where(outside, 1 - vessels, vessels)
    np.testing.assert_array_equal(computed(name, logits, vessels, weight), computed(name, *changed, weight))
    tensors = [torch.from_numpy(array) for array in (logits, vessels, weight)]
    tensors[0].requires_grad_()
    BUILT[name](*tensors).sum().backward()
    assert (tensors[0].grad[torch.from_numpy(outside)] == 0).all()


@every_loss
def test_a_loss_is_one_number_per_image_so_that_sharding_changes_nothing(name):
    arrays = batch(2, num=4)
    whole = computed(name, *arrays)
    assert whole.shape == (4,)
    shards = [computed(name, *(array[part] for array in arrays)) for part in (slice(0, 1), slice(1, 4))]
    np.testing.assert_array_equal(np.concatenate(shards), whole)


@every_loss
def test_a_common_factor_on_the_pixel_weights_changes_nothing(name):
    logits, vessels, weight = batch(3)
    np.testing.assert_allclose(
        computed(name, logits, vessels, weight / 4), computed(name, logits, vessels, weight), rtol=1e-4
    )


@every_loss
def test_gradients_are_those_of_finite_differences(name):
    for kind in ({}, {"soft": True, "confident": True}):
        arrays = batch(4, num=1, size=(6, 5), **kind)
        tensors = [torch.from_numpy(array) for array in arrays]
        tensors[0].requires_grad_()
        BUILT[name](*tensors).sum().backward()
        flat = [array[0, 0] for array in arrays]
        expected = np.array([reference.slope(reference.LOSSES[name], *flat, place) for place in np.ndindex(6, 5)])
        np.testing.assert_allclose(tensors[0].grad.numpy().ravel(), expected, rtol=1e-3, atol=1e-7)
        assert (np.abs(expected) > 1e-6).sum() == (flat[2] > 0).sum()


@every_loss
def test_a_perfect_prediction_costs_nothing_and_an_inverted_one_most(name):
    _, vessels, weight = batch(5)
    certain = (vessels * 2 - 1) * 20
    assert computed(name, certain, vessels, weight).max() < 1e-4
    worst = {"bce": 20, "dice": 1, "bce-dice": 10.5, "bce-mcc": 11}[name]
    assert computed(name, -certain, vessels, weight) == pytest.approx(worst, rel=1e-3)


def test_soft_targets_are_best_met_exactly_by_cross_entropy():
    _, vessels, weight = batch(6, soft=True)
    exact = np.log(vessels / (1 - vessels))
    least = computed("bce", exact, vessels, weight)
    for change in (0.1, -0.1):
        assert (computed("bce", exact + np.float32(change), vessels, weight) > least).all()


@every_loss
def test_an_image_without_vessels_or_without_pixels_gives_finite_loss_and_gradient(name):
    for vessels, weight in ((0.0, 1.0), (1.0, 1.0), (0.0, 0.0)):
        for level in (-30.0, 0.0, 30.0):
            logits = torch.full((1, 1, 6, 6), level, requires_grad=True)
            loss = BUILT[name](logits, torch.full_like(logits, vessels), torch.full_like(logits, weight))
            loss.sum().backward()
            assert torch.isfinite(loss).all()
            assert torch.isfinite(logits.grad).all()


@every_loss
def test_logits_in_bf16_are_worked_out_in_fp32(name):
    logits, vessels, weight = (torch.from_numpy(array) for array in batch(7, size=(64, 64)))
    low = logits.bfloat16()
    loss = BUILT[name](low, vessels, weight)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, BUILT[name](low.float(), vessels, weight), rtol=0, atol=0)


def test_sums_over_a_large_image_keep_their_digits():
    logits, vessels, weight = batch(8, num=1, size=(700, 600))
    for name in NAMED_LOSSES:
        expected = reference.LOSSES[name](logits[0, 0], vessels[0, 0], weight[0, 0])
        assert computed(name, logits, vessels, weight)[0] == pytest.approx(expected, rel=1e-5), name


def multiclass_batch(seed, num=2, classes=3, size=(9, 8), soft=False):
    """Logits and targets (n, k, h, w), pixel weights (n, 1, h, w), as float32 arrays."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(num, classes, *size))
    labels = rng.integers(classes, size=(num, *size))
    target = (labels[:, None] == np.arange(classes)[:, None, None]).astype(float)
    if soft:
        target = 0.8 * target + 0.2 / classes
    weight = (rng.random((num, 1, *size)) < 0.67) * rng.random((num, 1, *size))
    return tuple(array.astype(np.float32) for array in (logits, target, weight))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_several_classes_equal_plain_numpy(kind, soft):
    arrays = multiclass_batch(9, soft=soft)
    expected = [reference.MULTICLASS[kind().name](*(array[i] for array in arrays)) for i in range(2)]
    result = build_loss([kind()])(*map(torch.from_numpy, arrays))
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5)


def test_dice_without_the_background_is_the_mean_over_the_other_classes():
    arrays = multiclass_batch(10)
    expected = [reference.multiclass_dice(*(array[i] for array in arrays), first=1) for i in range(2)]
    result = build_loss([DiceSettings(background=False)])(*map(torch.from_numpy, arrays))
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5)


def test_a_loss_of_several_terms_is_their_weighted_sum():
    arrays = [torch.from_numpy(array) for array in multiclass_batch(11)]
    terms = [CrossEntropySettings(weight=2.0), MccSettings(weight=0.25)]
    parts = [build_loss([term.model_copy(update={"weight": 1.0})])(*arrays) for term in terms]
    torch.testing.assert_close(build_loss(terms)(*arrays), 2 * parts[0] + 0.25 * parts[1])


@pytest.mark.parametrize("kind", LOSSES)
def test_gradients_of_several_classes_are_those_of_finite_differences(kind):
    logits, target, weight = (torch.from_numpy(a).double() for a in multiclass_batch(12, num=1, size=(4, 3)))
    weight = weight.clamp_min(0.1)
    logits.requires_grad_()
    build_loss([kind()])(logits, target, weight).sum().backward()
    arrays = [array.detach().numpy()[0] for array in (logits, target, weight)]
    places = list(np.ndindex(*arrays[0].shape))
    expected = [reference.slope(reference.MULTICLASS[kind().name], *arrays, place) for place in places]
    np.testing.assert_allclose(logits.grad.numpy().ravel(), expected, rtol=5e-3, atol=1e-5)
    assert np.abs(expected).max() > 1e-3
