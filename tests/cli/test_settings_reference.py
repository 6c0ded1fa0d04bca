"""The reference of all settings."""

import pytest

from pipelines.recipes.synthetic_aug import SyntheticAugSettings
from segkit.cli import settings_reference as reference
from segkit.core.errors import RequestError
from segkit.tasks.settings import PhaseSettings, RuntimeSettings
from tests.pipelines.tiny import segkit_here


@pytest.mark.parametrize(("name", "cls"), [("phase", PhaseSettings), ("runtime", RuntimeSettings)])
def test_a_section_has_every_setting_with_default_and_docstring(
    name: str, cls: type[PhaseSettings | RuntimeSettings]
) -> None:
    (section,) = reference.find(name)
    assert [setting.key for setting in section.settings] == list(cls.model_fields)
    for setting, field in zip(section.settings, cls.model_fields.values(), strict=True):
        assert setting.description == " ".join((field.description or "").split())
        if isinstance(field.default, int) and not isinstance(field.default, bool):
            assert setting.default == str(field.default)


def test_a_recipe_has_its_keys_and_each_section_once() -> None:
    recipe, *below = reference.find("synthetic-aug")
    assert [setting.key for setting in recipe.settings] == list(SyntheticAugSettings.model_fields)
    names = [section.name for section in below]
    assert len(names) == len(set(names))
    assert {"gan", "train", "phase", "unet++", "optimizer"} <= set(names)


def test_types_and_ranges_are_written_in_words() -> None:
    by_key = {setting.key: setting for setting in reference.find("phase")[0].settings}
    assert by_key["crop_size"].type == "whole number ≥ 16 or null"
    assert by_key["crop_positive_prob"].type == "number from 0 to 1"
    assert by_key["data"].type == "`real`, `synthetic`, `mixed`"
    assert by_key["schedule"].sections == ("schedule",)


def test_a_key_stands_for_its_sections(capsys: pytest.CaptureFixture[str]) -> None:
    assert [section.name for section in reference.find("teacher.phases.0")] == ["phases", "phase"]
    assert segkit_here("settings", "teacher") == 0
    assert "threshold: number from 0 to 1 or null; default null" in capsys.readouterr().out
    assert segkit_here("settings") == 0


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'runtime'"):
        reference.find("runtme")
