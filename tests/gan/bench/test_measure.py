import json
import threading
from multiprocessing import Pipe
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg

from gan.bench import measure as benchmark
from gan.bench.measure import ITERATION, REFERENCE, measure
from gan.bench.reference import REFERENCE_LAYERS
from gan.bench.result import Benchmark
from gan.bench.worker import (
    CONVOLUTION,
    REST,
    Configuration,
    Convolution,
    Phases,
    Worker,
    _FlopCount,
    _seconds_by_operation,
    intervals,
    serve,
)
from gan.networks.layers import FAST_LAYERS
from gan.training.data import BatchStream
from gan.training.task import StyleGAN2Task
from segkit.core.errors import SegkitError
from tests.gan.train_together import SEED, fit, images, tiny
from tests.pipelines.tiny import segkit_here


def configuration(**changes):
    return Configuration(tiny(**changes), is_reference=False, keeps_memory=False, num_threads=torch.get_num_threads())


class FakeProcess:
    """A process whose phases take known times, and which records the order of calls."""

    seconds: ClassVar = {}
    calls: ClassVar = []

    def __init__(self, name, configuration):
        self.name, self.configuration = name, configuration

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, method, *arguments):
        if method == "seconds":
            phase, iteration = arguments
            self.calls.append((iteration, phase, self.name))
            return self.seconds[self.name][phase][iteration - 1]
        return {"warm_up": dict.fromkeys(intervals(self.configuration.settings), 8e9), "memory_mb": 7.0}[method]


@pytest.fixture
def fake(monkeypatch):
    phases = ("Gmain", "Greg", "Dmain", "Dreg", "EMA", CONVOLUTION)
    FakeProcess.calls = []
    FakeProcess.seconds = {
        REFERENCE: {phase: [6.0, 2.0, 4.0] for phase in phases},
        "bf16": {phase: [1.0, 2.0, 1.0] for phase in phases},
    }
    monkeypatch.setattr(benchmark, "_Process", FakeProcess)
    return FakeProcess


def test_the_phases_that_are_timed_are_those_that_train(tmp_path):
    settings = tiny(kimg=0.004)
    trained, _ = fit(settings, tmp_path)
    (batch,) = [next(iter(BatchStream(images(settings), settings, SEED, 1)))]
    task = StyleGAN2Task(settings, SEED)
    phases = Phases(task, batch)
    for phase in intervals(settings):
        phases.run(phase, 0)
    for network in ("generator", "discriminator"):
        expected = getattr(trained, network).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in getattr(task, network).state_dict().items())
    assert task.pl_mean == trained.pl_mean != 0
    assert not torch.equal(task.generator_ema.mapping.w_avg, StyleGAN2Task(settings, SEED).generator.mapping.w_avg)


def test_phases_are_those_that_the_settings_have():
    assert intervals(tiny()) == {"Gmain": 1, "Greg": 2, "Dmain": 1, "Dreg": 3, "EMA": 1}
    assert intervals(tiny(pl_weight=0.0, r1_gamma=0.0)) == {"Gmain": 1, "Dmain": 1, "EMA": 1}


def test_configurations_and_phases_take_turns(fake):
    measure(tiny(), ["bf16"], 3)
    phases = [*intervals(tiny()), CONVOLUTION]
    assert fake.calls == [
        (iteration, phase, name) for iteration in (1, 2, 3) for phase in phases for name in (REFERENCE, "bf16")
    ]


def test_ratios_are_of_pairs_from_one_round_and_lazy_phases_count_by_how_seldom_they_are(fake):
    result = measure(tiny(), ["bf16"], 3)
    rows = {(row.kind, row.phase): row for row in result.rows}
    main = rows["bf16", "Gmain"]
    assert main.s_per_kimg == 250  # 1 s for 4 images
    assert main.ratio == np.median([6 / 1, 2 / 2, 4 / 1])
    assert main.ratio_low <= main.ratio <= main.ratio_high
    assert main.gflop_per_image == 2
    assert main.gflops == 8  # in 1 s
    whole = rows["bf16", ITERATION]
    assert whole.s_per_kimg == pytest.approx(250 * (1 + 1 / 2 + 1 + 1 / 3 + 1))
    assert whole.gflop_per_image == pytest.approx(2 * (1 + 1 / 2 + 1 + 1 / 3 + 1))
    assert rows[REFERENCE, ITERATION].ratio == 1
    assert result.convolution_gflops["bf16"] == pytest.approx(2 * 4 * 64**2 * 256**2 * 9 / 1e9)  # in 1 s
    assert result.memory_mb == {REFERENCE: 7.0, "bf16": 7.0}


def test_each_configuration_has_its_networks_and_its_precision():
    settings = tiny(num_low_precision_resolutions=3)
    configurations = benchmark._configurations(settings, ["fp32", "fp16"], 2, "default", False)
    low = {name: item.settings.num_low_precision_resolutions for name, item in configurations.items()}
    assert low == {REFERENCE: 0, "fp32": 0, "fp16": 2}
    assert configurations["fp16"].settings.low_precision == "fp16"
    layers = {name: Worker(item).phases.task.layers for name, item in configurations.items()}
    assert layers == {REFERENCE: REFERENCE_LAYERS, "fp32": FAST_LAYERS, "fp16": FAST_LAYERS}


def test_operations_are_counted_twice_for_a_multiplication_and_an_addition():
    """Dmain takes two batches through the discriminator, forward and twice backward, and draws one of them."""
    worker = Worker(configuration(num_mapping_layers=1))
    counts = worker.warm_up(0)
    assert counts["EMA"] == 0
    assert counts["Dreg"] > counts["Dmain"] / 4 > 0
    task, batch = worker.phases.task, worker.phases.real_pm1
    with torch.no_grad(), _FlopCount() as of_d:
        task.discriminator(batch)
    with torch.no_grad(), _FlopCount() as of_g:
        task.generator(torch.randn(4, 8), noise_mode="const")
    assert counts["Dmain"] == pytest.approx(6 * of_d.total + of_g.total, rel=0.15)


def test_a_profile_adds_up_to_an_average_iteration():
    worker = Worker(configuration())
    worker.warm_up(0)
    found = worker.profile(1)
    assert all(value >= 0 for value in found.values())
    assert {"convolutions", "weight gradients", "Adam"} <= {part for part, spent in found.items() if spent > 0}


def event(key, device_type, total, own, annotation=False):
    average = FunctionEventAvg()
    average.key, average.device_type, average.is_user_annotation = key, device_type, annotation
    average.device_time_total, average.self_device_time_total = total, own
    return average


def test_on_a_gpu_no_kernel_counts_twice():
    adam = "Optimizer.step#Adam.step"
    events = [
        event("_Correlate", DeviceType.CPU, 60e6, 0),
        event("aten::convolution", DeviceType.CPU, 60e6, 60e6),
        event("the convolution's kernel", DeviceType.CUDA, 60e6, 60e6),
        event(adam, DeviceType.CPU, 30e6, 0),
        event("aten::_fused_adam_", DeviceType.CPU, 30e6, 30e6),
        event("Adam's kernel", DeviceType.CUDA, 30e6, 30e6),
        event(adam, DeviceType.CUDA, 35e6, 35e6, annotation=True),
        event("another kernel", DeviceType.CUDA, 10e6, 10e6),
    ]
    found = _seconds_by_operation(events, on_gpu=True)
    assert {part: seconds for part, seconds in found.items() if seconds} == {"convolutions": 60, "Adam": 30, REST: 10}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_one_convolution_is_counted_as_the_networks_are(device):
    convolution = Convolution.on(torch.device(device))
    x, weight = (torch.empty(shape, device="meta") for shape in convolution.shapes)
    with _FlopCount() as count:
        torch.nn.functional.conv2d(x, weight, padding=1)
    assert convolution.flop == convolution.repeats * count.total


def test_on_a_gpu_configurations_run_one_after_another(fake, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(benchmark, "_machine", lambda device: "a GPU")
    measure(tiny(), ["bf16"], 3)
    assert [name for _, _, name in fake.calls] == [REFERENCE] * 18 + ["bf16"] * 18


def test_a_failure_in_a_process_is_reported():
    here, there = Pipe()
    impossible = configuration()._replace(settings=tiny().model_copy(update={"mbstd_group_size": 3}))
    thread = threading.Thread(target=serve, args=(there, impossible))
    thread.start()
    assert here.recv() == (None, None)
    here.send(("warm_up", 0))
    value, failure = here.recv()
    thread.join()
    assert value is None
    assert failure.startswith("ValueError: 4 images cannot be split into groups of 3")


@pytest.mark.slow
def test_a_process_that_dies_is_reported():
    with benchmark._Process("bf16", configuration()) as process:
        assert process.call("memory_mb") >= 0
        process.process.kill()
        with pytest.raises(SegkitError, match="-9"):
            process.call("warm_up", 0)


@pytest.mark.slow
def test_bench_gan_prints_and_writes_the_same_figures(tmp_path, capsys):
    path = tmp_path / "new" / "bench.json"
    size = ("--resolution", "16", "--batch", "4", "--channel-base", "128", "--channel-max", "8")
    args = ("--precision", "bf16", "--augment-p", "0.5", "--repeats", "3", "--profile")
    assert segkit_here("bench", "gan", *size, *args, "--json", str(path)) == 0
    out = capsys.readouterr().out
    written = json.loads(path.read_text())
    assert "16x16, batch 4, channels 128 / r up to 8, augmentation p 0.5; " in out
    assert written["rounds"] == 3
    assert written["num_low_precision_resolutions"] == 3
    assert [row["kind"] for row in written["rows"]] == [name for name in (REFERENCE, "bf16") for _ in range(6)]
    lines = {tuple(line.split()[:2]): line for line in out.splitlines() if "(" in line}
    for row in written["rows"]:
        assert 0 < row["low"] <= row["s_per_kimg"] <= row["high"]
        assert f"{row['s_per_kimg']:.2f}" in lines[row["kind"], row["phase"]]
        assert f"{row['ratio']:.2f}" in lines[row["kind"], row["phase"]]
    assert written["profile"].keys() == {"bf16"}
    assert all(value > 0 for value in written["memory_mb"].values())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["bench", "gan", "--resolution", "48"], "resolution = 48: input should be 8, 16, 32"),
        (["bench", "--size", "64", "gan"], "options of 'gan' come after its name"),
        (["bench", "gann"], "No such command 'gann'. Did you mean 'gan'?"),
    ],
)
def test_a_wrong_request_is_answered_before_anything_starts(args, words, capsys):
    assert segkit_here(*args) == 2
    assert words in capsys.readouterr().err


def test_a_profile_without_times_is_printed():
    """A profiler without permission to read a GPU's counters measures 0 s for every operation."""
    profile = {"bf16": {"filters": 0.0, REST: 0.0}}
    result = Benchmark(16, 4, 128, 8, 0.0, 3, "default", 3, {}, [], {}, {}, profile, "CPU")
    assert "\n".join(result.lines()).count("0.0%") == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_phase_makes_the_host_wait_for_the_device():
    worker = Worker(configuration(augment="fixed", augment_p=0.5, num_low_precision_resolutions=2))
    worker.warm_up(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for phase in worker.intervals:
            worker.phases.run(phase, 1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
