from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from segkit.core.config import Settings, apply_overrides, dump_yaml, parse_yaml, read_yaml, validate
from segkit.core.errors import ConfigError


class Optimizer(Settings):
    learning_rate: float = Field(1e-3, gt=0)
    """In training only."""
    betas: tuple[float, float] = (0.9, 0.999)


class Phase(Settings):
    epochs: int = Field(10, ge=1)
    optimizer: Optimizer = Optimizer()
    data: Literal["real", "mixed"] = "real"

    @model_validator(mode="after")
    def _long_enough(self) -> "Phase":
        if self.data == "mixed" and self.epochs < 2:
            raise ValueError("mixed data need two epochs")
        return self


class Small(Settings):
    name: Literal["small"] = "small"
    widths: tuple[Annotated[int, Field(ge=1)], ...] = (4, 8)


class Large(Settings):
    name: Literal["large"] = "large"
    depth: int = 4


class Whole(Settings):
    seed: int = 0
    flips: bool = True
    limit: float | None = None
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    title: str = "none"
    model: Annotated[Small | Large, Field(discriminator="name")] = Small()
    either: Small | Large = Small()
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (Phase(), Phase(epochs=20))
    students: dict[str, Phase] = Field(default_factory=dict)


def load(cls, path, overrides=()):
    return validate(cls, apply_overrides(read_yaml(path), overrides, cls), str(path), overrides)


@pytest.fixture
def read(tmp_path):
    def read(text, *overrides):
        path = tmp_path / "settings.yaml"
        path.write_text(text, encoding="utf-8")
        return load(Whole, path, overrides)

    return read


@pytest.fixture
def complaint(read, tmp_path):
    """What is said of a wrong file, its name cut off the front of each line."""

    def complaint(text, *overrides):
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        lines = str(caught.value).splitlines()
        file = str(tmp_path / "settings.yaml")
        assert all(line.startswith((file, "--set")) for line in lines)
        assert caught.value.exit_code == 2
        return "\n".join(line.removeprefix(file) for line in lines)

    return complaint


def test_an_empty_file_gives_the_defaults(read):
    assert read("") == read("# nothing\n") == Whole()


def test_sections_lists_and_dictionaries_are_read(read):
    settings = read("seed: 3\nphases:\n  - {epochs: 5}\nstudents: {one: {optimizer: {learning_rate: 0.5}}}\n")
    assert settings.seed == 3
    assert settings.phases == (Phase(epochs=5),)
    assert settings.students["one"].optimizer.learning_rate == 0.5


def test_settings_cannot_be_changed_once_read(read):
    with pytest.raises(ValueError, match="frozen"):
        read("").seed = 4


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "+1e-03", "0.001"])
def test_a_number_with_an_exponent_is_a_number(read, text):
    assert parse_yaml(f"a: {text}", "x") == {"a": 0.001}
    assert read(f"limit: {text}").limit == read("", f"limit={text}").limit == 0.001


def test_text_that_looks_like_a_date_or_begins_like_a_number_stays_text(read):
    assert read("title: 2024-13-45").title == "2024-13-45"
    assert parse_yaml("a: 1e-3x", "x") == {"a": "1e-3x"}


def test_a_section_may_be_merged_into_another(read):
    settings = read("students:\n  one: &base {epochs: 5, data: mixed}\n  two: {<<: *base, epochs: 6}\n")
    assert settings.students["two"] == Phase(epochs=6, data="mixed")


def test_an_unknown_key_is_named_with_file_value_and_nearest_known_key(complaint):
    assert complaint("sed: 3") == ": unknown key 'sed' (value 3); did you mean 'seed'?"
    assert complaint("phases: [{}, {epoch: 3}]") == ": unknown key 'phases.1.epoch' (value 3); did you mean 'epochs'?"
    assert (
        complaint("students: {one: {optimizer: {learning-rate: 1}}}")
        == ": unknown key 'students.one.optimizer.learning-rate' (value 1); did you mean 'learning_rate'?"
    )


def test_where_no_known_key_is_near_all_are_listed(complaint):
    assert complaint("phases: [{xyz: 1}]") == ": unknown key 'phases.0.xyz' (value 1); known: data, epochs, optimizer"


def test_a_wrong_value_is_named_with_what_is_allowed(complaint):
    assert complaint("phases: [{data: fake}]") == ": phases.0.data = 'fake': input should be 'real' or 'mixed'"
    assert complaint("phases: [{epochs: 0}]") == ": phases.0.epochs = 0: input should be greater than or equal to 1"
    assert complaint("phases: []") == ": phases = []: list should have at least 1 item, not 0"
    assert complaint("phases: {epochs: 1}") == ": phases = {'epochs': 1}: input should be a list"
    assert complaint("phases: [3]") == ": phases.0 = 3: input should be a section with keys"
    assert complaint("limit: .nan") == ": limit = nan: input should be a finite number"
    assert ": title = ['" in complaint(f"title: [{'x' * 200}]")
    assert len(complaint(f"title: [{'x' * 200}]")) < 150


def test_several_mistakes_are_one_line_each_and_none_follows_from_another(complaint):
    lines = complaint("seed: a\nphases: [{epochs: 0, data: fake}]").splitlines()
    assert [line.split(" = ")[0] for line in lines] == [": seed", ": phases.0.epochs", ": phases.0.data"]


def test_yes_is_no_number(complaint, read):
    assert complaint("seed: yes") == ": seed = True: input should be a number, not yes or no"
    assert complaint("limit: off") == ": limit = False: input should be a number, not yes or no"
    assert complaint("phases: [{epochs: on}]") == ": phases.0: epochs = True: input should be a number, not yes or no"
    assert read("flips: no").flips is False


def test_a_value_that_may_be_of_two_types_gets_one_line(complaint, read):
    assert read("devices: auto").devices == "auto"
    message = complaint("devices: some")
    assert message.startswith(": devices = 'some': input should be a valid integer")
    assert message.endswith(", or input should be 'auto'")
    assert complaint("devices: 0").startswith(": devices = 0: input should be greater than or equal to 1")


def test_mistakes_inside_one_of_several_kinds_of_section_are_readable(complaint, read):
    assert read("model: {name: large, depth: 5}").model == Large(depth=5)
    assert complaint("model: {name: large, dept: 5}") == ": unknown key 'model.dept' (value 5); did you mean 'depth'?"
    assert complaint("model: {name: small, widths: [3, 0]}").startswith(": model.widths.1 = 0: input should be great")
    message = complaint("model: {name: lage, depth: 5}")
    assert message.startswith(": model.name = 'lage'")
    assert "'small', 'large'" in message
    assert message.endswith("did you mean 'large'?")
    assert "did you mean" not in complaint("model: {name: xyz}")
    assert complaint("model: {dept: 5}") == (": model = {'dept': 5}: key 'name' is missing, which says what kind it is")
    assert complaint("either: 3") == ": either = 3: input should be a section with keys"
    assert ": unknown key 'either.dept' (value 5)" in complaint("either: {name: large, dept: 5}")


def test_what_a_section_lacks_as_a_whole_is_said_without_repeating_it(complaint):
    assert complaint("phases: [{data: mixed, epochs: 1}]") == ": phases.0: mixed data need two epochs"


def test_a_wrong_name_in_a_dictionary_is_called_a_key():
    class Named(Settings):
        students: dict[Annotated[str, Field(pattern="^[a-z]+$")], Phase]

    with pytest.raises(ConfigError, match=r"^: key 'students.One': string should match"):
        validate(Named, {"students": {"One": {}}}, "")


def test_a_missing_key_is_named():
    class Needs(Settings):
        inner: dict[str, Optimizer]

    with pytest.raises(ConfigError, match=r"^f: key 'inner' is missing$"):
        validate(Needs, {}, "f")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nseed: 2", ", line 2, column 1: not valid YAML: key 'seed' is given twice"),
        ("phases:\n  - {epochs: 1, epochs: 2}", ", line 2, column 17: not valid YAML: key 'epochs' is given twice"),
        ("a: 1\n1: 2", ", line 2, column 1: not valid YAML: key 1 is not text; put quotes around it"),
        ("a: 1\n? [x]\n: 2", ", line 2, column 3: not valid YAML: key ['x'] is not text; put quotes around it"),
        ("seed: [1\n", ", line 2, column 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("seed:\n\t1", ", line 2, column 1: not valid YAML: found character '\\t' that cannot start any token"),
        ("seed: !!int x", ": not valid YAML: invalid literal for int() with base 10: 'x'"),
        ("seed: \x00", ': not valid YAML: unacceptable character #x0000: special characters are not allowed in "'),
        ("[1, 2]", " holds a list, not sections with keys"),
        ("seed", " holds a value, not sections with keys"),
    ],
)
def test_what_is_not_yaml_of_sections_is_refused_with_its_place(complaint, text, expected):
    assert complaint(text).startswith(expected)


def test_yaml_cannot_build_objects(complaint, tmp_path):
    message = complaint(f"seed: !!python/object/apply:os.mkdir ['{tmp_path}/made']")
    assert "could not determine a constructor" in message
    assert not (tmp_path / "made").exists()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load(Whole, tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load(Whole, tmp_path)
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match=r"picture\.yaml"):
        load(Whole, tmp_path / "picture.yaml")


def test_overrides_reach_sections_and_list_items(read):
    settings = read(
        "phases: [{epochs: 5}, {epochs: 6}]",
        "seed=7",
        "phases.1.optimizer.learning_rate=1e-4",
        "students.one.epochs=9",
        "model={name: small, widths: [1, 2, 3]}",
        "title= spaced out ",
    )
    assert settings.seed == 7
    assert [phase.epochs for phase in settings.phases] == [5, 6]
    assert [phase.optimizer.learning_rate for phase in settings.phases] == [1e-3, 1e-4]
    assert settings.students["one"].epochs == 9
    assert settings.model == Small(widths=(1, 2, 3))
    assert settings.title == "spaced out"


def test_an_override_reaches_into_a_list_left_at_its_default(read):
    settings = read(
        "",
        "phases.1.optimizer.betas.0=0.5",
        "students.new.optimizer.betas.1=0.7",
        "model.name=small",
        "model.widths.0=9",
    )
    assert [phase.epochs for phase in settings.phases] == [10, 20]
    assert settings.phases[1].optimizer.betas == (0.5, 0.999)
    assert settings.phases[0].optimizer.betas == (0.9, 0.999)
    assert settings.students["new"].optimizer.betas == (0.9, 0.7)
    assert settings.model == Small(widths=(9, 8))


def test_of_two_overrides_of_one_key_the_last_holds(read):
    assert read("seed: 1", "seed=2", "seed=3").seed == 3


def test_overrides_leave_what_they_are_applied_to_alone():
    raw = {"phases": [{"epochs": 5}]}
    assert apply_overrides(raw, ["phases.0.epochs=6"]) == {"phases": [{"epochs": 6}]}
    assert raw == {"phases": [{"epochs": 5}]}


def test_a_mistake_in_an_override_is_put_down_to_it_and_no_other_is(complaint):
    message = complaint("title: [1]", "seed=5", "phases.0.epoch=3")
    assert message.splitlines() == [
        ": title = [1]: input should be a valid string",
        " with --set phases.0.epoch=3: unknown key 'phases.0.epoch' (value 3); did you mean 'epochs'?",
    ]
    assert complaint("", "phase.epochs=3").startswith(" with --set phase.epochs=3: unknown key 'phase'")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set 'seed' is not of the form section.key=value"),
        ("=3", "--set '=3' is not of the form section.key=value"),
        ("model..depth=3", "--set 'model..depth=3' is not of the form section.key=value"),
        ("seed=[1", "--set 'seed=[1': not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("students={a: {}, a: {}}", "--set 'students={a: {}, a: {}}': not valid YAML: key 'a' is given twice"),
        ("seed.x=3", "--set 'seed.x=3': seed holds a plain value, not a section"),
        ("phases.2.epochs=3", "--set 'phases.2.epochs=3': phases has no item '2'; its items are 0 to 1"),
        ("phases.-1.epochs=3", "--set 'phases.-1.epochs=3': phases has no item '-1'; its items are 0 to 1"),
        ("phases.last.epochs=3", "--set 'phases.last.epochs=3': phases has no item 'last'; its items are 0 to 1"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(complaint, override, expected):
    assert complaint("seed: 1", override) == expected


def test_an_override_of_an_item_that_is_missing_names_those_of_the_list(complaint):
    assert "its only item is 0" in complaint("phases: [{}]", "phases.1.epochs=3")
    assert "give all of it: --set 'phases=[...]'" in complaint("phases: []", "phases.3.epochs=3")


def test_written_settings_read_back_the_same(read):
    settings = read("seed: 3\nmodel: {name: large}\nlimit: 1e-7\nstudents: {é: {epochs: 2}}\ntitle: '2024-01-01'")
    assert read(dump_yaml(settings)) == settings
    assert "learning_rate: 0.001" in dump_yaml(settings)


def test_the_recipes_own_settings_give_readable_messages(tmp_path):
    from pipelines.recipes.synthetic_aug import SyntheticAugSettings

    path = tmp_path / "c.yaml"
    path.write_text("students: {one: {phases: [{epoch: 3}]}}\nruntime: {devices: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load(SyntheticAugSettings, Path(path))
    assert str(caught.value).splitlines() == [
        f"{path}: runtime.devices = 0: input should be greater than or equal to 1, or input should be 'auto'",
        f"{path}: unknown key 'students.one.phases.0.epoch' (value 3); did you mean 'epochs'?",
    ]
