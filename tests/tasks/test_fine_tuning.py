"""Fine-tuning: frozen modules stay as they are, learning rates differ by module, wrong names are refused."""

import io

import lightning as L
import pytest
import torch

from pipelines.stage_types import TRAIN
from segkit.core.errors import ConfigError
from segkit.core.files import read_json
from segkit.tasks import pretrained
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.settings import TrainSettings
from segkit.weights import shipped_models
from tests.tasks import small


def with_batch_norm(**phase):
    model = {"name": "unet", "norm": "batch", "attention_size": None}
    return small.settings(model, epochs=2, ema_decay=0.9, **phase)


def preflight(settings, monkeypatch):
    """Exit code of the check that the runner starts as a process."""
    check = TRAIN.preflight(settings)
    assert check.module == pretrained.__name__
    monkeypatch.setattr("sys.stdin", io.StringIO(check.request))
    try:
        pretrained.main()
    except SystemExit as end:
        return end.code
    return 0


def test_frozen_modules_keep_weights_and_statistics_and_the_others_move(tmp_path, phantoms):
    kept = small.Kept()
    settings = with_batch_norm(frozen=["encoder"], optimizer={"learning_rate": 0.01, "weight_decay": 0.1})
    task, _, best, _ = small.fit(tmp_path, phantoms, settings, callbacks=[kept])
    first = kept.weights[0]
    for name, value in task.model.state_dict().items():
        moved = not torch.equal(value, first[name])
        assert moved == (not name.startswith("encoder.")), name
    encoder = [name for name in first if name.startswith("encoder.")]
    assert any("running_mean" in name for name in encoder)
    assert all(torch.equal(best.weights[name], first[name]) for name in encoder)
    L.seed_everything(0, verbose=False)  # as `small.fit` does
    start = SegmentationTask(settings, settings.phases[0]).model.state_dict()
    assert all(torch.equal(start[name], first[name]) for name in encoder)


def test_an_interrupted_fine_tuning_goes_on_to_the_same_weights(tmp_path, phantoms, one_thread):
    settings = with_batch_norm(
        frozen=["encoder.0"], optimizer={"learning_rate": 0.01, "learning_rate_factors": {"encoder": 0.1}}
    )
    whole, *_ = small.fit(tmp_path / "whole", phantoms, settings)
    small.fit(tmp_path / "cut", phantoms, settings, stop_after=1)
    resumed, *_ = small.fit(tmp_path / "cut", phantoms, settings, ckpt_path=tmp_path / "cut" / "kept" / "last.ckpt")
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_factor_multiplies_the_step_of_its_module_and_the_innermost_counts():
    factors = {"encoder": 0.5, "encoder.0": 0.25}
    settings = with_batch_norm(optimizer={"name": "sgd", "learning_rate": 0.1, "learning_rate_factors": factors})
    task = SegmentationTask(settings, settings.phases[0])
    rates = {id(p): group["lr"] for group in task.parameter_groups() for p in group["params"]}
    expected = {"encoder.0": 0.025, "encoder.1": 0.05, "decoder.0": 0.1, "head": 0.1}
    for name, parameter in task.model.named_parameters():
        for module, rate in expected.items():
            if name.startswith(f"{module}."):
                assert rates[id(parameter)] == pytest.approx(rate), name
    assert len(rates) == len(list(task.model.parameters()))


@pytest.mark.parametrize("phase", [{"frozen": ["encodr"]}, {"optimizer": {"learning_rate_factors": {"encodr": 0.1}}}])
def test_an_unknown_module_is_refused_with_the_nearest_name_before_anything_starts(phase, monkeypatch, capsys):
    assert preflight(with_batch_norm(**phase), monkeypatch) == 2
    assert "encoder" in capsys.readouterr().err
    right = with_batch_norm(frozen=["encoder.0"], optimizer={"learning_rate_factors": {"decoder": 0.1}})
    assert preflight(right, monkeypatch) == 0


def test_a_network_without_weights_to_train_is_refused():
    settings = with_batch_norm(frozen=["encoder", "up", "decoder", "head"])
    with pytest.raises(ConfigError):
        SegmentationTask(settings, settings.phases[0])


def test_a_shipped_name_gives_weights_network_geometry_and_preprocessing(monkeypatch):
    settings = TrainSettings.model_validate({"init_from": "vessels"})
    folder = shipped_models()["vessels"]
    assert settings.init_path == folder / "model.safetensors"
    details = read_json(folder / "model.json")["details"]
    for section in ("model", "geometry", "preprocessing"):
        dumped = getattr(settings, section).model_dump(mode="json")
        assert details[section].items() <= dumped.items()
    assert preflight(settings, monkeypatch) == 0
    again = TrainSettings.model_validate(settings.model_dump(mode="json"))
    assert again == settings
    own = {"init_from": "vessels", "model": {"name": "unet", "widths": [4, 8]}}
    assert TrainSettings.model_validate(own).model.widths == (4, 8)
