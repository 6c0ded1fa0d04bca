import numpy as np
import torch

from segkit.models.heads import Outputs, as_outputs, logits_of_mean, probabilities
from tests.reference import models_losses as reference


def test_one_channel_becomes_a_probability_by_a_sigmoid_and_several_by_a_softmax():
    logits = torch.from_numpy(np.random.default_rng(0).normal(scale=5, size=(2, 3, 4, 5))).float()
    one = probabilities(logits[:, :1])
    np.testing.assert_allclose(one.numpy(), reference.probabilities(logits[:, :1].numpy()), rtol=1e-5)
    several = probabilities(logits).numpy()
    np.testing.assert_allclose(several[0], reference.softmax(logits[0].numpy()), rtol=1e-5)
    np.testing.assert_allclose(several.sum(axis=1), 1, rtol=1e-6)


def test_logits_in_low_precision_give_probabilities_in_fp32():
    logits = torch.randn(1, 3, 2, 2).bfloat16()
    assert probabilities(logits).dtype == torch.float32
    torch.testing.assert_close(probabilities(logits), probabilities(logits.float()), rtol=0, atol=0)


def test_a_network_may_return_auxiliary_logits_or_none():
    logits, further = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert as_outputs(logits).auxiliary == ()
    assert as_outputs(logits).logits is logits
    with_auxiliary = Outputs(logits, (further,))
    assert as_outputs(with_auxiliary) is with_auxiliary


def test_the_logits_of_a_mean_give_the_mean_of_the_probabilities():
    rng = np.random.default_rng(0)
    for channels in (1, 4):
        maps = [rng.normal(scale=6, size=(2, channels, 3, 5)) for _ in range(3)]
        expected = np.mean([probabilities(torch.from_numpy(logits)).numpy() for logits in maps], axis=0)
        mean = probabilities(logits_of_mean([torch.from_numpy(logits) for logits in maps]))
        np.testing.assert_allclose(mean.numpy(), expected, atol=1e-6)


def test_the_logits_of_a_mean_are_finite_where_probabilities_are_zero_and_one():
    certain = torch.tensor([-500.0, 500.0]).reshape(1, 1, 1, 2)
    assert torch.allclose(logits_of_mean([certain, certain]), certain)
