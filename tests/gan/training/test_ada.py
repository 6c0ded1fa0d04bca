import pytest

from gan.training.ada import ada_step, next_ada_p


def test_chance_rises_while_overfitting_and_falls_otherwise():
    assert next_ada_p(0.2, overfitting=0.9, target=0.6, step=0.01) == pytest.approx(0.21)
    assert next_ada_p(0.2, overfitting=0.1, target=0.6, step=0.01) == pytest.approx(0.19)
    assert next_ada_p(0.2, overfitting=0.6, target=0.6, step=0.01) == 0.2


def test_chance_stays_between_none_and_always():
    assert next_ada_p(0.999, 1.0, 0.6, 0.01) == 1.0
    assert next_ada_p(0.001, -1.0, 0.6, 0.01) == 0.0


def test_chance_can_go_from_none_to_always_in_the_ramp():
    p = 0.0
    adjustments = 500_000 // (64 * 4)
    for _ in range(adjustments):
        p = next_ada_p(p, 1.0, 0.6, ada_step(64, ada_interval=4, ada_ramp_kimg=500.0))
    assert p == pytest.approx(1.0, abs=1e-3)
