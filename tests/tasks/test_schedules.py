import numpy as np
import pytest

from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.tasks.schedules import learning_rate_factor
from segkit.tasks.settings import ScheduleSettings
from tests.reference import tasks_schedules as reference


def rates(rate, epochs, steps_per_epoch, **settings):
    schedule = ScheduleSettings(**settings)
    steps = range(epochs * steps_per_epoch)
    return np.array([rate * learning_rate_factor(schedule, step / steps_per_epoch, epochs) for step in steps])


def test_a_constant_schedule_is_constant():
    assert (rates(0.1, 7, 3) == 0.1).all()


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 8])
def test_the_papers_steps_are_100_epochs_and_then_50_at_a_tenth(steps_per_epoch):
    found = rates(1e-3, 150, steps_per_epoch, name="step", step_epochs=[100])
    np.testing.assert_allclose(found, reference.paper(steps_per_epoch), rtol=1e-12)


def test_each_step_multiplies_by_the_factor():
    found = rates(1.0, 10, 1, name="step", step_epochs=[2, 5, 7.5], step_factor=0.5)
    np.testing.assert_allclose(found, [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125])


def test_a_cosine_falls_once_over_the_whole_phase():
    found = rates(0.01, 12, 5, name="cosine", final_factor=0.1)
    np.testing.assert_allclose(found, reference.cosine(0.01, 0.1, 60), rtol=1e-12)
    for epoch in (12, 13):
        end = learning_rate_factor(ScheduleSettings(name="cosine", final_factor=0.1), epoch, 12)
        assert end == pytest.approx(0.1)


def test_a_cyclic_cosine_starts_over_after_each_cycle():
    found = rates(0.01, 12, 5, name="cyclic-cosine", cycle_epochs=4)
    np.testing.assert_allclose(found, np.tile(reference.cosine(0.01, 0.0, 20), 3), rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize(
    ("settings", "rest"),
    [
        ({}, np.full(40, 0.01)),
        ({"name": "cosine"}, reference.cosine(0.01, 0.0, 40)),
        ({"name": "cyclic-cosine", "cycle_epochs": 4}, np.tile(reference.cosine(0.01, 0.0, 20), 2)),
        ({"name": "step", "step_epochs": [6]}, np.repeat([0.01, 0.001], [20, 20])),
    ],
    ids=["constant", "cosine", "cyclic-cosine", "step"],
)
def test_a_warmup_comes_before_everything_and_counts_in_epochs(settings, rest):
    found = rates(0.01, 10, 5, warmup_epochs=2, **settings)
    expected = np.concatenate([reference.warmup(0.01, 10), rest])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-18)


def test_a_warmup_of_half_an_epoch_is_possible():
    np.testing.assert_allclose(rates(1.0, 1, 4, warmup_epochs=0.5), [0, 0.5, 1, 1])


def test_a_warmup_as_long_as_the_phase_divides_by_nothing():
    assert np.isfinite(rates(1.0, 3, 4, warmup_epochs=3, name="cosine")).all()
    assert learning_rate_factor(ScheduleSettings(warmup_epochs=3, name="cosine"), 3, 3) == pytest.approx(1.0)


def test_a_step_schedule_without_steps_is_refused():
    with pytest.raises(ConfigError, match="a step schedule needs step_epochs"):
        validate(ScheduleSettings, {"name": "step"}, "f")
