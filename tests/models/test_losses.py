import numpy as np
import pytest
import torch
from monai import losses as monai_losses
from sklearn import metrics as sk
from torch.nn import functional as F

from segkit.core.errors import RequestError
from segkit.models.loss_settings import (
    LOSSES,
    NAMED_LOSSES,
    CrossEntropySettings,
    DiceSettings,
    FocalSettings,
    LovaszSettings,
    MccSettings,
    SoftClDiceSettings,
    TverskySettings,
)
from segkit.models.losses import build_loss
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
    np.testing.assert_allclose(computed(name, *changed, weight), computed(name, logits, vessels, weight), rtol=1e-6)
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
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_are_those_of_finite_differences_and_not_zero(name, soft):
    logits, vessels, weight = (torch.from_numpy(a).double() for a in batch(4, 1, (6, 5), soft=soft, confident=True))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: BUILT[name](x, vessels, weight), logits)
    BUILT[name](logits, vessels, weight).sum().backward()
    assert logits.grad.abs().max() > 1e-3
    assert (logits.grad[weight == 0] == 0).all()


@every_loss
def test_a_perfect_prediction_costs_nothing_and_an_inverted_one_most(name):
    _, vessels, weight = batch(5)
    certain = (vessels * 2 - 1) * 20
    assert computed(name, certain, vessels, weight).max() < 1e-4
    worst = {"ce": 20, "bce": 20, "focal": 20, "mcc": 2, "lovasz": 21, "bce-dice": 10.5, "bce-mcc": 11}
    assert computed(name, -certain, vessels, weight) == pytest.approx(worst.get(name, 1), rel=1e-3)


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
    for name in set(NAMED_LOSSES) - {"lovasz"}:  # its reference tries every set of pixels
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
def test_gradients_of_several_classes_are_those_of_finite_differences_and_not_zero(kind):
    logits, target, weight = (torch.from_numpy(a).double() for a in multiclass_batch(12, num=1, size=(5, 4)))
    loss = build_loss([kind()])
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight), logits)
    loss(logits, target, weight).sum().backward()
    assert logits.grad.abs().max() > 1e-3
    assert (logits.grad.abs().amax(1, keepdim=True)[weight == 0] == 0).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_pixels_without_weight_and_the_order_of_the_pixels_do_not_count_with_several_classes(kind):
    logits, target, weight = map(torch.from_numpy, multiclass_batch(13))
    loss = build_loss([kind()])
    value = loss(logits, target, weight)
    elsewhere = torch.where(weight == 0, -3 * logits, logits), torch.where(weight == 0, target.flip(1), target)
    torch.testing.assert_close(loss(*elsewhere, weight), value, rtol=1e-5, atol=1e-6)
    mirrored = loss(*(array.flip(3) for array in (logits, target, weight)))
    torch.testing.assert_close(mirrored, value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_perfect_prediction_of_several_classes_costs_nothing(kind):
    _, target, weight = map(torch.from_numpy, multiclass_batch(14))
    assert build_loss([kind()])((target * 2 - 1) * 20, target, weight).abs().max() < 1e-4


def test_class_weights_weight_the_pixels_of_a_class_in_the_mean():
    logits, target, _ = multiclass_batch(15)
    ones, per_class = torch.ones(2, 1, 9, 8), (0.5, 2.0, 3.0)
    tensors = torch.from_numpy(logits), torch.from_numpy(target), ones
    result = build_loss([CrossEntropySettings(class_weights=per_class)])(*tensors)
    labels = tensors[1].argmax(1)
    expected = [
        F.cross_entropy(image[None], label[None], weight=torch.tensor(per_class))
        for image, label in zip(tensors[0], labels, strict=True)
    ]
    torch.testing.assert_close(result, torch.stack(expected))


def test_a_positive_weight_is_that_of_scikit_learn():
    logits, vessels, weight = batch(16, num=1, confident=True)
    result = build_loss([CrossEntropySettings(class_weights=(1, 5))])(*map(torch.from_numpy, (logits, vessels, weight)))
    probs, truth = reference.probabilities(logits).ravel(), vessels.ravel().astype(int)
    weights = np.where(truth == 1, 5, 1) * weight.ravel()
    expected = sk.log_loss(truth, np.stack([1 - probs, probs], axis=1), sample_weight=weights)
    assert result.item() == pytest.approx(expected, rel=1e-5)


def test_another_number_of_class_weights_than_classes_is_refused():
    arrays = [torch.from_numpy(array) for array in multiclass_batch(17)]
    for kind in (CrossEntropySettings, FocalSettings):
        with pytest.raises(RequestError, match="2 class_weights, expected 3"):
            build_loss([kind(class_weights=(1, 2))])(*arrays)


def monai_value(kind, logits, target, **settings):
    """One value per image of a loss of monai, which knows no pixel weights."""
    activation = {"sigmoid": True} if logits.shape[1] == 1 else {"softmax": True}
    loss = kind(reduction="none", smooth_nr=0, smooth_dr=1e-9, **activation, **settings)
    return loss(input=logits, target=target).flatten(1).mean(1)


@pytest.mark.parametrize("draw", [batch, multiclass_batch])
def test_losses_equal_those_of_monai_without_pixel_weights(draw):
    logits, target, weight = map(torch.from_numpy, draw(18))
    ones = torch.ones_like(weight)
    several = target.shape[1] > 1
    pairs = [
        (DiceSettings(), monai_value(monai_losses.DiceLoss, logits, target)),
        (TverskySettings(), monai_value(monai_losses.TverskyLoss, logits, target, alpha=0.3, beta=0.7)),
    ]
    focal = monai_losses.FocalLoss(gamma=1.5, reduction="none", use_softmax=several)
    pairs.append((FocalSettings(gamma=1.5), focal(input=logits, target=target).sum(1).flatten(1).mean(1)))
    for settings, expected in pairs:
        torch.testing.assert_close(build_loss([settings])(logits, target, ones), expected, rtol=1e-4, atol=1e-5)


def test_soft_cldice_equals_that_of_monai_on_one_image():
    logits, vessels, weight = map(torch.from_numpy, batch(19, num=1, size=(24, 24)))
    loss = monai_losses.SoftclDiceLoss(iter_=3, smooth_nr=1e-6, smooth_dr=1e-6, smooth=1e-12, sigmoid=True)
    result = build_loss([SoftClDiceSettings(iterations=3)])(logits, vessels, torch.ones_like(weight))
    assert result.item() == pytest.approx(loss(input=logits, target=vessels).item(), rel=1e-4)


def test_the_lovasz_losses_of_certain_predictions_are_one_minus_iou():
    rng = np.random.default_rng(20)
    truth, predicted = (rng.integers(3, size=(1, 12, 12)) for _ in range(2))
    target, logits = (torch.from_numpy(np.eye(3)[a].transpose(0, 3, 1, 2)) for a in (truth, predicted))
    result = build_loss([LovaszSettings()])(logits * 60, target, torch.ones(1, 1, 12, 12))
    expected = sk.jaccard_score(truth.ravel(), predicted.ravel(), average="macro")
    assert result.item() == pytest.approx(1 - expected, rel=1e-6)
    # a hinge error is 0 where the logit is right by 1, and 2 where it is wrong by 1
    hinge = build_loss([LovaszSettings()])((logits * 2 - 1)[:, :1], target[:, :1], torch.ones(1, 1, 12, 12))
    assert hinge.item() == pytest.approx(2 * (1 - sk.jaccard_score(truth.ravel() == 0, predicted.ravel() == 0)))


def test_special_cases_of_the_settings_are_the_plainer_losses():
    arrays = [torch.from_numpy(array) for array in multiclass_batch(21)]
    pairs = [
        (FocalSettings(gamma=0), CrossEntropySettings()),
        (TverskySettings(false_positive_weight=0.5, false_negative_weight=0.5), DiceSettings()),
    ]
    for special, plain in pairs:
        torch.testing.assert_close(build_loss([special])(*arrays), build_loss([plain])(*arrays))
