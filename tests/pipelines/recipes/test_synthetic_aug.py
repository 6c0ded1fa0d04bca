"""The recipe's graph."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.graph import Graph
from pipelines.recipes import synthetic_aug
from pipelines.recipes.synthetic_aug import SyntheticAugSettings
from pipelines.stage_types import ReportRequest, Roles
from segkit.core.config import validate
from segkit.core.errors import ConfigError
from segkit.tasks.settings import TrainSettings
from tests.pipelines.tiny import STAGES, TINY, segkit_here


def build(**changes: Any) -> Graph:
    return synthetic_aug.build(validate(SyntheticAugSettings, copy.deepcopy(TINY) | changes, "test"))


def reads(graph: Graph) -> dict[str, dict[str, str]]:
    return {stage.name: dict(stage.inputs) for stage in graph}


def test_the_graph_is_the_paper_s() -> None:
    scored = {name: name for name in ("teacher", "mixed", "mixed-control", "ensemble")}
    assert reads(build()) == {
        "data": {},
        "teacher": {"data": "data"},
        "gan": {"data": "data"},
        "samples": {"gan": "gan", "data": "data"},
        "fidelity": {"gan": "gan", "data": "data", "samples": "samples", "teacher": "teacher"},
        "pseudo-labels": {"samples": "samples", "model": "teacher"},
        "mixed": {"data": "data", "synthetic": "pseudo-labels"},
        "mixed-control": {"data": "data"},
        "ensemble": {"data": "data", "teacher": "teacher", "mixed": "mixed"},
        "evaluate": {"data": "data", **scored},
        "report": {
            "data": "data",
            "evaluate": "evaluate",
            "gan": "gan",
            "samples": "samples",
            "fidelity": "fidelity",
            "pseudo-labels": "pseudo-labels",
            **scored,
        },
    }
    assert [stage.name for stage in build()] == STAGES


def test_a_control_differs_from_its_student_in_nothing_but_its_images() -> None:
    graph = build()
    student, control = graph["mixed"].settings, graph["mixed-control"].settings
    assert isinstance(student, TrainSettings)
    assert isinstance(control, TrainSettings)
    assert control.synthetic_replaced
    assert control.model_copy(update={"synthetic_replaced": False}) == student


def test_a_control_draws_as_many_real_images_as_its_student_has_synthetic_ones() -> None:
    # `num_synthetic: all of them` must be a number where there are none to count
    control = build()["mixed-control"].settings
    assert isinstance(control, TrainSettings)
    assert [phase.num_synthetic for phase in control.phases] == [4, 4]


def test_the_verdict_compares_each_student_with_its_own_control() -> None:
    students = dict.fromkeys(("first", "second"), TINY["students"]["mixed"])
    request = build(students=students)["report"].settings
    assert isinstance(request, ReportRequest)
    assert request.roles == Roles(
        baseline="teacher",
        treated=("first", "second"),
        controls={"first": "first-control", "second": "second-control"},
        ensemble="ensemble",
    )


def test_the_ensemble_s_control_combines_the_controls_with_the_teacher() -> None:
    graph = build(control={"ensemble": True})
    controls = {name: name for name in ("teacher", "mixed-control")}
    assert reads(graph)["ensemble-control"] == {"data": "data", **controls}
    request = graph["report"].settings
    assert isinstance(request, ReportRequest)
    assert request.roles.controls == {"mixed": "mixed-control", "ensemble": "ensemble-control"}
    assert "ensemble-control" in reads(graph)["evaluate"]


def test_without_controls_there_is_nothing_to_compare_with() -> None:
    graph = build(control={"enabled": False})
    assert "mixed-control" not in reads(graph)
    request = graph["report"].settings
    assert isinstance(request, ReportRequest)
    assert request.roles.controls == {}
    assert request.roles.treated == ("mixed",)


def test_a_second_round_takes_the_best_model_so_far_as_its_teacher() -> None:
    """Step 5 of the paper: the pipeline again, with what it has made as the new teacher."""
    inputs = reads(build(rounds=2))
    assert inputs["select-r2"] == {"teacher": "teacher", "mixed": "mixed"}
    assert inputs["gan-r2"] == {"data": "data"}
    assert inputs["samples-r2"] == {"gan": "gan-r2", "data": "data"}
    assert inputs["pseudo-labels-r2"] == {"samples": "samples-r2", "model": "select-r2"}
    assert inputs["mixed-r2"] == {"data": "data", "synthetic": "pseudo-labels-r2"}
    assert inputs["ensemble"] == {name: name for name in ("data", "teacher", "mixed", "mixed-r2")}
    assert set(inputs) == {
        *STAGES, "select-r2", "gan-r2", "samples-r2", "fidelity-r2", "pseudo-labels-r2", "mixed-r2",
    }  # fmt: skip


def test_the_gans_of_all_rounds_are_measured_through_the_first_teacher() -> None:
    """Numbers of other features would not compare."""
    inputs = reads(build(rounds=2))
    assert inputs["fidelity-r2"] == {"gan": "gan-r2", "data": "data", "samples": "samples-r2", "teacher": "teacher"}


def test_nothing_that_is_trained_depends_on_how_the_gan_was_measured() -> None:
    assert all("fidelity" not in inputs.values() for name, inputs in reads(build()).items() if name != "report")
    without = build(fidelity={"enabled": False})
    assert "fidelity" not in reads(without)
    assert "fidelity" not in reads(without)["report"]


def test_a_limit_on_copies_is_passed_before_anything_is_labelled() -> None:
    """By a part of the pipeline too, which would else do without what it does not read."""
    gated = build(fidelity={"max_copy_share": 0.1}, rounds=2)
    assert [stage.name for stage in gated.upto("mixed")] == [
        "data", "teacher", "gan", "samples", "fidelity", "pseudo-labels", "mixed",
    ]  # fmt: skip
    assert gated["pseudo-labels-r2"].after == ("fidelity-r2",)
    assert reads(gated) == reads(build(rounds=2))
    assert "fidelity" not in [stage.name for stage in build().upto("mixed")]


def test_a_third_round_chooses_among_all_models_before_it() -> None:
    inputs = reads(build(rounds=3))
    assert inputs["select-r3"] == {name: name for name in ("teacher", "mixed", "mixed-r2")}
    assert inputs["pseudo-labels-r3"]["model"] == "select-r3"


def test_each_round_trains_another_gan_and_the_first_round_is_that_of_a_single_one() -> None:
    once, twice = build(), build(rounds=2)
    assert twice["gan"] == once["gan"]
    assert twice["gan-r2"].settings == once["gan"].settings.model_copy(update={"seed_offset": 1})
    assert twice["mixed-r2"].settings == once["mixed"].settings


def test_a_student_of_any_round_is_compared_with_the_one_control() -> None:
    request = build(rounds=2)["report"].settings
    assert isinstance(request, ReportRequest)
    assert request.roles.controls == {"mixed": "mixed-control", "mixed-r2": "mixed-control"}


def test_a_named_member_belongs_to_the_ensemble_in_every_round_and_others_do_not() -> None:
    students = dict.fromkeys(("no", "no-replay"), TINY["students"]["mixed"])
    graph = build(students=students, rounds=2, ensemble={"members": ["no"]})
    assert reads(graph)["ensemble"] == {name: name for name in ("data", "no", "no-r2")}


def test_the_report_records_no_place_on_this_machine() -> None:
    data = TINY["data"] | {"source": "drive:/somewhere/on/this/machine"}
    request = build(data=data)["report"].settings
    assert "/somewhere" not in request.model_dump_json()


@pytest.mark.parametrize(
    ("students", "rounds", "clash"),
    [(["gan-r2"], 2, "gan-r2"), (["big", "big-r2"], 2, "big-r2"), (["big", "big-control"], 1, "big-control")],
)
def test_a_student_s_name_that_another_stage_bears_is_refused(students: list[str], rounds: int, clash: str) -> None:
    with pytest.raises(ConfigError, match=f"'{clash}'"):
        build(students=dict.fromkeys(students, TINY["students"]["mixed"]), rounds=rounds)


@pytest.mark.parametrize("name", ["teacher", "data", "report", "Big", "big student", "-x", "../x"])
def test_a_student_s_name_must_do_as_a_folder_and_be_free(name: str) -> None:
    with pytest.raises(ConfigError, match="student"):
        build(students={name: TINY["students"]["mixed"]})


def test_the_teacher_sees_no_synthetic_images() -> None:
    phases = [{"data": "mixed", "epochs": 1}]
    with pytest.raises(ConfigError, match="teacher"):
        build(teacher=TINY["teacher"] | {"phases": phases})


def test_an_unknown_ensemble_member_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="mxied"):
        build(ensemble={"members": ["mxied"]})


@pytest.mark.parametrize("section", ["samples", "fidelity"])
@pytest.mark.parametrize(
    ("first_seed", "num_images", "message"),
    [
        (2**32 - 3, 4, r": first_seed 4294967293 and num_images 4 go beyond the largest seed, 4294967295; lower one"),
        (0, 2**32 + 1, r": first_seed 0 and num_images 4294967297 go beyond"),
        (2**32, 2, r"\.first_seed = 4294967296: input should be less than or equal to 4294967295"),
        (-1, 2, r"\.first_seed = -1: input should be greater than or equal to 0"),
    ],
)
def test_seeds_that_there_are_not_are_refused_before_anything_starts(
    section: str, first_seed: int, num_images: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^test: {section}{message}"):
        build(**{section: {"first_seed": first_seed, "num_images": num_images}})


@pytest.mark.parametrize("section", ["samples", "fidelity"])
def test_the_largest_seeds_can_be_drawn(section: str) -> None:
    build(**{section: {"first_seed": 2**32 - 4, "num_images": 4}})
    np.random.RandomState(2**32 - 1)
    with pytest.raises(ValueError, match=r"2\*\*32 - 1"):
        np.random.RandomState(2**32)


def test_a_cut_that_leaves_no_phantom_to_train_on_is_refused_before_anything_starts(tmp_path: Path) -> None:
    cut = ("--set", "data.phantom.num_train=6", "--set", "data.num_val=3", "--set", "data.num_holdout=3")
    assert (
        segkit_here(
            "pipeline", "run", synthetic_aug.NAME, "-c", "demo", *cut, "--runs", str(tmp_path / "runs"), "--dry-run"
        )
        == 2
    )
    assert not list(tmp_path.rglob("done.json"))
