import random

import pytest

from pipelines.report.sections.provenance import layers, reduced

PIPELINE = {
    "data": (),
    "teacher": ("data",),
    "gan": ("data",),
    "samples": ("gan", "data"),
    "pseudo-labels": ("samples", "teacher"),
    "student": ("data", "pseudo-labels"),
    "control": ("data",),
    "ensemble": ("data", "teacher", "student"),
    "evaluate": ("data", "teacher", "student", "control", "ensemble"),
}


def reachable(inputs: dict[str, tuple[str, ...]], start: str) -> set[str]:
    indirect, waiting = set(), list(inputs[start])
    while waiting:
        name = waiting.pop()
        if name not in indirect:
            indirect.add(name)
            waiting += inputs[name]
    return indirect


def random_pipeline(seed: int) -> dict[str, tuple[str, ...]]:
    rng = random.Random(seed)
    names = [f"stage-{number}" for number in range(12)]
    return {name: tuple(rng.sample(names[:index], min(index, rng.randint(1, 4)))) for index, name in enumerate(names)}


def test_an_input_that_another_input_needs_is_left_out() -> None:
    assert reduced(PIPELINE)["evaluate"] == ("control", "ensemble")
    assert reduced(PIPELINE)["student"] == ("pseudo-labels",)
    assert reduced(PIPELINE)["pseudo-labels"] == ("samples", "teacher")


@pytest.mark.parametrize("seed", range(5))
def test_reduction_keeps_what_each_stage_needs_and_nothing_twice(seed: int) -> None:
    inputs = random_pipeline(seed)
    kept = reduced(inputs)
    for name, direct in kept.items():
        assert reachable(kept, name) == reachable(inputs, name)
        assert not any(other in reachable(inputs, third) for other in direct for third in direct)


@pytest.mark.parametrize("inputs", [PIPELINE, *map(random_pipeline, range(5))])
def test_every_stage_is_in_the_first_layer_below_its_inputs(inputs: dict[str, tuple[str, ...]]) -> None:
    depth = {name: number for number, layer in enumerate(layers(inputs)) for name in layer}
    assert set(depth) == set(inputs)
    for name, direct in inputs.items():
        assert depth[name] == max((depth[other] + 1 for other in direct), default=0)


def test_a_layer_keeps_the_order_of_the_run() -> None:
    assert layers(PIPELINE)[1] == ["teacher", "gan", "control"]
