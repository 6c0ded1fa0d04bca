"""One process of `gan.bench.measure`: a training whose phases run on request.

The phases are those of `StyleGAN2Task.training_step`, so the benchmark times the code that trains.
"""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gan.bench.reference import ReferenceTask
from gan.networks.convolution import correlate
from gan.networks.generator import low_dtype
from gan.settings import GanSettings, phase_intervals
from gan.training.ema import update_ema
from gan.training.memory import keep_freed_memory
from gan.training.task import StyleGAN2Task

CONVOLUTION = "one convolution"
"""In addition to the phases: one large convolution, which shows the machine's rate of arithmetic."""

# Operations and the names of their functions in autograd and the profiler.
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "convolutions": ("_Correlate", "_ConvTranspose"),
    "weight gradients": ("_WeightGradient",),
    "filters": ("_Filter", "_FilterAdjoint"),
    "activations": ("_ClampedLeakyReLU", "_ClampedLeakyReLUGrad"),
    "grid sampling of the augmentation": ("_GridSample", "_GridSampleAdjoint"),
    "Adam": ("Optimizer.step#Adam.step",),
}
REST = "other: styles, noise, biases, preparing weights, mapping"


class Convolution(NamedTuple):
    """Sizes of a convolution that keeps a device busy; repeats make the launch time negligible."""

    num_images: int
    num_channels: int
    repeats: int

    @classmethod
    def on(cls, device: torch.device) -> "Convolution":
        """The sizes for a device; all repeats take tens of milliseconds."""
        return cls(4, 256, 1) if device.type == "cpu" else cls(32, 512, 20)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of images and weights."""
        return (self.num_images, self.num_channels, 64, 64), (self.num_channels, self.num_channels, 3, 3)

    @property
    def flop(self) -> float:
        """Floating-point operations of all repeats."""
        return 2.0 * self.repeats * self.num_images * 64**2 * self.num_channels**2 * 3**2


class Configuration(NamedTuple):
    """What a process measures."""

    settings: GanSettings
    is_reference: bool
    keeps_memory: bool
    num_threads: int


EMA = "EMA"
"""In addition to the task's phases: the update of the averaged generator in every iteration."""


def intervals(settings: GanSettings) -> dict[str, int]:
    """The phases that are timed, and the number of iterations from one run of each to the next."""
    return phase_intervals(settings) | {EMA: 1}


class Phases:
    """A training that runs one phase at a time."""

    def __init__(self, task: StyleGAN2Task, images: Tensor) -> None:
        self.task = task
        self.by_name = {phase.name: phase for phase in task.phases}
        adam_g, adam_d = task.configure_optimizers()
        self.optimizers = {
            name: adam_g if phase.network is task.generator else adam_d for name, phase in self.by_name.items()
        }
        self.real_pm1 = (images.to(task.device).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)

    def run(self, name: str, iteration: int) -> None:
        """Carry out a phase with the random numbers of an iteration."""
        if name == EMA:
            update_ema(self.task.generator_ema, self.task.generator, 0.999)
        else:
            self.task.run_phase(self.by_name[name], iteration, self.real_pm1, self.optimizers[name])


class _FlopCount(TorchDispatchMode):
    """Floating-point operations of the products and convolutions that run, by PyTorch's formulas.

    PyTorch's own counter also follows modules, which fails on gradients of gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(
        self,
        function: OpOverload,
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        result: object = function(*args, **kwargs)
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=result)
        return result


class Worker:
    """Measures time, operations and memory of one configuration."""

    def __init__(self, configuration: Configuration) -> None:
        torch.set_num_threads(configuration.num_threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":  # the reference in full fp32, the others in TF32 as in training
            torch.set_float32_matmul_precision("highest" if configuration.is_reference else "high")
            torch.backends.cudnn.allow_tf32 = not configuration.is_reference
            torch.backends.cudnn.benchmark = True  # as in training
        if configuration.keeps_memory:
            keep_freed_memory()
        self._resident_before = _resident_mb()
        settings = configuration.settings
        self.compiled = settings.torch_compile
        edge = settings.resolution
        task = (ReferenceTask if configuration.is_reference else StyleGAN2Task)(settings)
        images = torch.randint(256, (settings.batch_size, settings.image_channels, edge, edge), dtype=torch.uint8)
        self.phases = Phases(task.to(self.device), images)
        self.intervals = intervals(settings)
        dtype = low_dtype(settings.resolution, settings) or torch.float32
        self.convolution = Convolution.on(self.device)
        self.operands = [
            torch.randn(shape, device=self.device).to(dtype).contiguous(memory_format=task.layers.memory_format)
            for shape in self.convolution.shapes
        ]

    def warm_up(self, iteration: int) -> dict[str, float]:
        """Run every phase once; floating-point operations of each (multiply and add are two).

        In a compiled training they are not counted, since a dispatch mode would break compilation.
        """
        counts = {}
        for phase in self.intervals:
            with nullcontext() if self.compiled else _FlopCount() as count:
                self.phases.run(phase, iteration)
            counts[phase] = count.total if count else 0.0
        self.seconds(CONVOLUTION, iteration)
        return counts

    def seconds(self, phase: str, iteration: int) -> float:
        """Time a phase, or the convolution."""
        run = self._convolve if phase == CONVOLUTION else partial(self.phases.run, phase, iteration)
        self._wait()
        start = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - start

    def memory_mb(self) -> float | None:
        """Peak memory of the training: of the device, or of the process beyond its size before the training."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 1e6
        if self._resident_before is None:
            return None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - self._resident_before

    def profile(self, iteration: int) -> dict[str, float]:
        """Seconds of an average iteration by operation."""
        totals = dict.fromkeys([*_OPERATIONS, REST], 0.0)
        for phase, interval in self.intervals.items():
            for operation, seconds in self._profile_phase(phase, iteration).items():
                totals[operation] += seconds / interval
        return totals

    def _profile_phase(self, phase: str, iteration: int) -> dict[str, float]:
        on_gpu = self.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
            self.phases.run(phase, iteration)
            self._wait()
        return _seconds_by_operation(profiler.key_averages(), on_gpu)

    def _convolve(self) -> None:
        x, weight = self.operands
        for _ in range(self.convolution.repeats):
            correlate(x, weight, padding=1)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _seconds_by_operation(events: Sequence[FunctionEventAvg], on_gpu: bool) -> dict[str, float]:
    """Seconds by operation, from a profiler's averages.

    On a GPU a kernel's time occurs twice: at the kernel, and at the operation on the CPU that started it.
    """
    kernels = [event for event in events if event.device_type.name == "CUDA" and not event.is_user_annotation]
    started = [event for event in events if event.device_type.name == "CPU"]
    where = "device" if on_gpu else "cpu"
    parts = {
        part: sum(getattr(event, f"{where}_time_total") for event in started if event.key in names) / 1e6
        for part, names in _OPERATIONS.items()
    }
    total = sum(getattr(event, f"self_{where}_time_total") for event in (kernels if on_gpu else started)) / 1e6
    return parts | {REST: total - sum(parts.values())}


def _resident_mb() -> float | None:
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def serve(connection: Connection, configuration: Configuration) -> None:
    """Run a `Worker`'s methods, each given by name and arguments, until the other side closes the connection.

    A reply is a pair of a result and an error's text. The first reply, (None, None), means that the worker is ready.
    """
    try:
        worker = Worker(configuration)
        connection.send((None, None))
        while True:
            name, *arguments = connection.recv()
            connection.send((getattr(worker, name)(*arguments), None))
    except (EOFError, KeyboardInterrupt):  # the other side has closed
        return
    except Exception as error:
        connection.send((None, f"{type(error).__name__}: {error}"))
