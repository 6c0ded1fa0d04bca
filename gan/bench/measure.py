"""Speed of GAN training: each phase at several precisions, compared with a straightforward implementation.

Each configuration runs in its own process, so its memory is measured separately and no cache is shared. On CPUs the
processes take turns, phase by phase, so other load slows all of them alike. On a GPU, whose memory would not hold all
of them, they run one after another.
"""

import multiprocessing
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, NamedTuple

import torch

from gan.bench.result import Benchmark, PhaseTime
from gan.bench.worker import CONVOLUTION, Configuration, Convolution, intervals, serve
from gan.networks.compiling import check_compiler
from gan.settings import GanSettings
from segkit.core.errors import SegkitError

REFERENCE = "reference"
ITERATION = "iteration"
"""All phases together, the lazy ones divided by their intervals."""

Memory = Literal["default", "kept"]
_EXIT_TIMEOUT_S = 5.0
Track = Callable[[Iterable[int]], Iterable[int]]


def measure(
    settings: GanSettings,
    precisions: Sequence[str],
    num_rounds: int,
    *,
    num_low_precision_resolutions: int = 4,
    reference_memory: Memory = "default",
    with_compiled: bool = False,
    with_profile: bool = False,
    track: Track = lambda rounds: rounds,
) -> Benchmark:
    """Time the phases of a training.

    Args:
        settings: of the networks and their training; its precision is ignored.
        precisions: "fp32", "bf16", "fp16".
        num_rounds: timed runs of each phase, after one to warm up.
        num_low_precision_resolutions: number of the highest resolutions in bf16 or fp16.
        reference_memory: "default" runs the reference with PyTorch's default memory; "kept" lets it keep freed memory
            like the others on CPUs (`gan.training.memory`), which shows that part of the ratio.
        with_compiled: measure each precision also with `torch_compile`, as "bf16 compiled" and the like.
        with_profile: also measure the time by operation, where the networks are not compiled.
        track: yields the rounds and shows progress.

    Raises:
        RequestError: there is no compiler.
        SegkitError: a process failed, for example for lack of memory.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if with_compiled:
        check_compiler(device)
    configurations = _configurations(
        settings, precisions, num_low_precision_resolutions, reference_memory, with_compiled
    )
    phases = [*intervals(settings), CONVOLUTION]
    on_cpu = device.type == "cpu"
    concurrent = [configurations] if on_cpu else [{name: config} for name, config in configurations.items()]
    profiled = precisions if with_profile else ()
    measured: dict[str, _Measurement] = {}
    for group in concurrent:
        measured |= _time(group, phases, num_rounds, profiled, track)
    seconds = {name: measurement.seconds for name, measurement in measured.items()}
    convolution = Convolution.on(device)
    return Benchmark(
        resolution=settings.resolution,
        batch=settings.batch_size,
        channel_base=settings.channel_base,
        channel_max=settings.channel_max,
        augment_p=settings.augment_p if settings.augment != "none" else 0.0,
        num_low_precision_resolutions=num_low_precision_resolutions,
        reference_memory=reference_memory,
        rounds=num_rounds,
        intervals=intervals(settings),
        rows=_rows(seconds, measured[precisions[0]].flop, settings),
        memory_mb={name: measurement.memory_mb for name, measurement in measured.items()},
        convolution_gflops={
            name: convolution.flop / statistics.median(times[CONVOLUTION]) / 1e9 for name, times in seconds.items()
        },
        profile={name: measured[name].profile for name in profiled},
        machine=_machine(device),
    )


class _Measurement(NamedTuple):
    """Figures of one configuration."""

    seconds: dict[str, list[float]]
    """By phase and round."""
    flop: dict[str, float]
    memory_mb: float | None
    profile: dict[str, float]


def _time(
    configurations: dict[str, Configuration],
    phases: Sequence[str],
    num_rounds: int,
    profiled: Sequence[str],
    track: Track,
) -> dict[str, _Measurement]:
    """Measure configurations whose processes run at the same time and take turns."""
    seconds: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in phases} for name in configurations}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_Process(name, config)) for name, config in configurations.items()}
        flop = {name: process.call("warm_up", 0) for name, process in processes.items()}
        for iteration in track(range(1, num_rounds + 1)):
            for phase in phases:
                for name, process in processes.items():
                    seconds[name][phase].append(process.call("seconds", phase, iteration))
        return {
            name: _Measurement(
                seconds[name],
                flop[name],
                process.call("memory_mb"),
                process.call("profile", 0) if name in profiled else {},
            )
            for name, process in processes.items()
        }


def _configurations(
    settings: GanSettings,
    precisions: Sequence[str],
    num_low_precision_resolutions: int,
    reference_memory: Memory,
    with_compiled: bool,
) -> dict[str, Configuration]:
    on_cpu, threads = not torch.cuda.is_available(), torch.get_num_threads()
    fp32 = settings.model_copy(update={"num_low_precision_resolutions": 0})
    configurations = {REFERENCE: Configuration(fp32, True, on_cpu and reference_memory == "kept", threads)}
    for precision in precisions:
        low = {"num_low_precision_resolutions": num_low_precision_resolutions, "low_precision": precision}
        chosen = fp32 if precision == "fp32" else settings.model_copy(update=low)
        configurations[precision] = Configuration(chosen, False, on_cpu, threads)
        if with_compiled:
            compiled = chosen.model_copy(update={"torch_compile": True})
            configurations[f"{precision} compiled"] = Configuration(compiled, False, on_cpu, threads)
    return configurations


def _rows(seconds: dict[str, dict[str, list[float]]], flop: dict[str, float], settings: GanSettings) -> list[PhaseTime]:
    every, images = intervals(settings), settings.batch_size
    flop = flop | {ITERATION: sum(flop[phase] / interval for phase, interval in every.items())}
    for times in seconds.values():
        rounds = zip(*(times[phase] for phase in every), strict=True)
        times[ITERATION] = [sum(map(float.__truediv__, phases, map(float, every.values()))) for phases in rounds]
    rows = []
    for name, times in seconds.items():
        for phase in [*every, ITERATION]:
            low, median, high = statistics.quantiles((1000 * time / images for time in times[phase]), n=4)
            pairs = zip(seconds[REFERENCE][phase], times[phase], strict=True)
            ratio_low, ratio, ratio_high = statistics.quantiles((a / b for a, b in pairs), n=4)
            rows.append(
                PhaseTime(
                    kind=name,
                    phase=phase,
                    s_per_kimg=median,
                    low=low,
                    high=high,
                    ratio=ratio,
                    ratio_low=ratio_low,
                    ratio_high=ratio_high,
                    gflop_per_image=flop[phase] / images / 1e9,
                    gflops=flop[phase] / images / median / 1e6,
                )
            )
    return rows


def _machine(device: torch.device) -> str:
    where = f"CPU, {torch.get_num_threads()} thread(s)" if device.type == "cpu" else torch.cuda.get_device_name()
    return f"{where}, torch {torch.__version__}, {platform.platform()}"


class _Process:
    """A `Worker` in a process of its own."""

    def __init__(self, name: str, configuration: Configuration) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.connection, worker_end = context.Pipe()
        self.process = context.Process(target=serve, args=(worker_end, configuration), daemon=True)
        self.process.start()
        worker_end.close()

    def __enter__(self) -> "_Process":
        self._receive()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()  # an idle worker then exits and ends its own child processes
        self.process.join(_EXIT_TIMEOUT_S)
        self.process.terminate()
        self.process.join()

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the worker; its result has the type that the method returns."""
        self.connection.send((method, *arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            value, failure = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self.process.join()
            raise SegkitError(
                f"the process that measures {self.name} ended with exit code {self.process.exitcode}; if the system "
                "ran out of memory, use a smaller --batch or --resolution, or fewer precisions"
            ) from error
        if failure is not None:
            raise SegkitError(f"measuring {self.name} failed: {failure}")
        return value
