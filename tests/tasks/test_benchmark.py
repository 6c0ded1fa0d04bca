import numpy as np
import pytest
import torch

from segkit.models import settings as model_settings
from segkit.models.settings import SAUNetSettings
from segkit.tasks import benchmark
from segkit.tasks.benchmark import time_network
from tests.pipelines.tiny import segkit_here


def test_each_mode_and_precision_is_measured():
    found = time_network(SAUNetSettings(), 32, 1, ["32-true", "bf16-mixed"], 3)
    assert [(row["mode"], row["precision"]) for row in found["rows"]] == [
        ("train", "32-true"),
        ("train", "bf16-mixed"),
        ("predict", "32-true"),
        ("predict", "bf16-mixed"),
    ]
    for row in found["rows"]:
        assert 0 < row["low"] <= row["images_per_second"] <= row["high"]
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert found["rows"][0]["ratio"] == found["rows"][2]["ratio"] == 1
    assert (found["model"], found["size"], found["batch"], found["repeats"]) == ("sa-unet", 32, 1, 3)
    assert f"torch {torch.__version__}" in found["machine"]


def test_rates_and_ratios_come_from_rounds_timed_in_turn(monkeypatch):
    """Steps take known times; in the median round the second kind is twice as fast."""
    seconds = {"slow": [9.0, 2.0, 2.0, 4.0], "fast": [9.0, 1.0, 2.0, 1.0]}  # the first of each is the warm-up
    order, now = [], [0.0]

    def training(settings, size, batch, kind, device):
        def step():
            order.append(kind)
            now[0] += seconds[kind][order.count(kind) - 1]

        return step

    def inference(settings, size, batch, kind, device):
        return lambda: now.append(now.pop() + 1)

    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(benchmark, "_training", training)
    monkeypatch.setattr(benchmark, "_inference", inference)
    rows = time_network(SAUNetSettings(), 32, 2, ["slow", "fast"], 3)["rows"]
    assert order == ["slow", "fast"] * 4
    for row, kind in zip(rows[:2], seconds, strict=True):
        assert row["images_per_second"] == np.median([2 / each for each in seconds[kind][1:]])
    assert (rows[1]["ratio"], rows[1]["ratio_low"], rows[1]["ratio_high"]) == (2, 1, 4)
    assert [row["images_per_second"] for row in rows[2:]] == [2, 2]


def test_a_training_step_trains(monkeypatch):
    made = []
    build = benchmark._network
    monkeypatch.setattr(benchmark, "_network", lambda *args: made.append(build(*args)) or made[-1])
    for precision in ("32-true", "bf16-mixed"):
        step = benchmark._training(SAUNetSettings(), 16, 1, precision, torch.device("cpu"))
        network = made[-1]
        before = network.head.weight.detach().clone()
        step()
        assert network.training
        assert not torch.equal(network.head.weight, before)
        assert network.head.weight.dtype == torch.float32
    layouts = [net.encoder[0][0][0].weight.is_contiguous(memory_format=torch.channels_last) for net in made]
    assert layouts == [False, True]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_inference_step_predicts_in_its_precision(monkeypatch, precision):
    seen = []
    build = benchmark._network

    def watched(*args):
        network = build(*args)
        network.head.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.dtype)))
        return network

    monkeypatch.setattr(benchmark, "_network", watched)
    benchmark._inference(SAUNetSettings(), 16, 1, precision, torch.device("cpu"))()
    assert seen == [(False, torch.float32 if precision == "32-true" else torch.bfloat16)]


class OtherSettings(SAUNetSettings):
    """A second network's settings."""

    name: str = "other"

    @property
    def stride(self):
        return 2


class Other(torch.nn.Module):
    """A second network."""

    forwards = 0

    def __init__(self, settings, num_channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(settings.image_channels, num_channels, 1)

    def forward(self, image):
        Other.forwards += 1
        return self.conv(image)


def test_the_named_network_is_the_one_that_is_measured(monkeypatch, capsys):
    monkeypatch.setitem(model_settings.MODELS, OtherSettings, f"{__name__}:Other")
    assert segkit_here("bench", "--model", "other", "--size", "18", "--repeats", "3", "--precision", "32-true") == 0
    assert capsys.readouterr().out.startswith("other, 18x18")
    assert Other.forwards == 2 * (1 + 3)  # train and predict, each with a warm-up
    assert segkit_here("models") == 0
    assert "other: A second network's settings." in capsys.readouterr().out
    assert segkit_here("bench", "--model", "unknown") == 2
    error = capsys.readouterr().err
    assert "'unknown'" in error
    assert "other" in error
