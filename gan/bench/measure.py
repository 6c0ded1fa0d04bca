"""How fast a GAN trains here: every phase of an iteration in several precisions, beside the straightforward path.

Each kind has a process of its own, so that its memory can be told and none profits from another. On CPUs the processes
take turns, phase by phase, so that a machine with other work treats all alike; on a GPU, whose memory would not hold
all of them, they come one after another.
"""

import multiprocessing
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal, NamedTuple

import torch

from gan.bench.worker import CONVOLUTION, Convolution, Kind, intervals, serve
from gan.networks.compiling import check_compiler
from gan.settings import GanSettings
from segkit.core.errors import SegkitError

REFERENCE = "reference"
ITERATION = "iteration"
"""All phases together, the lazy ones by how seldom they take place."""

Memory = Literal["default", "kept"]
_PATIENCE_S = 5.0
Watch = Callable[[Iterable[int]], Iterable[int]]


def measure(
    settings: GanSettings,
    precisions: Sequence[str],
    num_rounds: int,
    *,
    num_low_precision_resolutions: int = 4,
    reference_memory: Memory = "default",
    with_compiled: bool = False,
    with_profile: bool = False,
    watch: Watch = lambda rounds: rounds,
) -> dict[str, Any]:
    """Time the phases of a training.

    Args:
        settings: of the networks and their training; its precision does not matter.
        precisions: "fp32", "bf16", "fp16".
        num_rounds: how often each phase is timed, after a first time that is not.
        num_low_precision_resolutions: how many of the highest resolutions are in bf16 or fp16.
        reference_memory: "default" runs the reference as PyTorch does by itself; "kept" lets it keep freed memory as
            the others do on CPUs (`gan.training.memory`), which shows how much of the ratio that is.
        with_compiled: measure each precision also with `torch_compile`, as "bf16 compiled" and the like.
        with_profile: also say what the time is spent on, where it is not compiled.
        watch: is given the rounds and passes them on, to show progress.

    Returns:
        What `segkit bench gan --json` writes: medians and quartiles over the rounds, in seconds per thousand images;
        `ratio` is the reference's time over this kind's, each pair from one round.

    Raises:
        RequestError: there is no compiler.
        SegkitError: a process could not go on, for want of memory for instance.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if with_compiled:
        check_compiler(device)
    kinds = _kinds(settings, precisions, num_low_precision_resolutions, reference_memory, with_compiled)
    phases = [*intervals(settings), CONVOLUTION]
    together = [kinds] if device.type == "cpu" else [{name: kind} for name, kind in kinds.items()]
    profiled = precisions if with_profile else ()
    found = {
        name: of_it for each in together for name, of_it in _time(each, phases, num_rounds, profiled, watch).items()
    }
    seconds = {name: of_it.seconds for name, of_it in found.items()}
    convolution = Convolution.on(device)
    return {
        "resolution": settings.resolution,
        "batch": settings.batch_size,
        "channel_base": settings.channel_base,
        "channel_max": settings.channel_max,
        "augment_p": settings.augment_p if settings.augment != "none" else 0.0,
        "num_low_precision_resolutions": num_low_precision_resolutions,
        "reference_memory": reference_memory,
        "rounds": num_rounds,
        "intervals": intervals(settings),
        "rows": _rows(seconds, found[precisions[0]].flop, settings),
        "memory_mb": {name: of_it.memory_mb for name, of_it in found.items()},
        "convolution_gflops": {
            name: convolution.flop / statistics.median(times[CONVOLUTION]) / 1e9 for name, times in seconds.items()
        },
        "profile": {name: found[name].profile for name in profiled},
        "machine": _machine(device),
    }


class _Found(NamedTuple):
    """What was measured of one kind."""

    seconds: dict[str, list[float]]
    """Of each phase in each round."""
    flop: dict[str, float]
    memory_mb: float | None
    profile: dict[str, float]


def _time(
    kinds: dict[str, Kind], phases: Sequence[str], num_rounds: int, profiled: Sequence[str], watch: Watch
) -> dict[str, _Found]:
    """Measure kinds whose processes live, and take turns, at the same time."""
    seconds: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in phases} for name in kinds}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(_Process(name, kind)) for name, kind in kinds.items()}
        flop = {name: process.ask("warm_up", 0) for name, process in processes.items()}
        for iteration in watch(range(1, num_rounds + 1)):
            for phase in phases:
                for name, process in processes.items():
                    seconds[name][phase].append(process.ask("seconds", phase, iteration))
        return {
            name: _Found(
                seconds[name],
                flop[name],
                process.ask("memory_mb"),
                process.ask("profile", 0) if name in profiled else {},
            )
            for name, process in processes.items()
        }


def _kinds(
    settings: GanSettings,
    precisions: Sequence[str],
    num_low_precision_resolutions: int,
    reference_memory: Memory,
    with_compiled: bool,
) -> dict[str, Kind]:
    on_cpu, threads = not torch.cuda.is_available(), torch.get_num_threads()
    in_single = settings.model_copy(update={"num_low_precision_resolutions": 0})
    kinds = {REFERENCE: Kind(in_single, True, on_cpu and reference_memory == "kept", threads)}
    for precision in precisions:
        low = {"num_low_precision_resolutions": num_low_precision_resolutions, "low_precision": precision}
        chosen = in_single if precision == "fp32" else settings.model_copy(update=low)
        kinds[precision] = Kind(chosen, False, on_cpu, threads)
        if with_compiled:
            compiled = chosen.model_copy(update={"torch_compile": True})
            kinds[f"{precision} compiled"] = Kind(compiled, False, on_cpu, threads)
    return kinds


def _rows(
    seconds: dict[str, dict[str, list[float]]], flop: dict[str, float], settings: GanSettings
) -> list[dict[str, Any]]:
    every, images = intervals(settings), settings.batch_size
    flop = flop | {ITERATION: sum(flop[phase] / interval for phase, interval in every.items())}
    for times in seconds.values():
        rounds = zip(*(times[phase] for phase in every), strict=True)
        times[ITERATION] = [sum(map(float.__truediv__, each, map(float, every.values()))) for each in rounds]
    rows = []
    for name, times in seconds.items():
        for phase in [*every, ITERATION]:
            low, median, high = statistics.quantiles((1000 * each / images for each in times[phase]), n=4)
            pairs = zip(seconds[REFERENCE][phase], times[phase], strict=True)
            ratio_low, ratio, ratio_high = statistics.quantiles((a / b for a, b in pairs), n=4)
            rows.append(
                {
                    "kind": name,
                    "phase": phase,
                    "s_per_kimg": median,
                    "low": low,
                    "high": high,
                    "ratio": ratio,
                    "ratio_low": ratio_low,
                    "ratio_high": ratio_high,
                    "gflop_per_image": flop[phase] / images / 1e9,
                    "gflops": flop[phase] / images / median / 1e6,
                }
            )
    return rows


def _machine(device: torch.device) -> str:
    where = f"CPU, {torch.get_num_threads()} thread(s)" if device.type == "cpu" else torch.cuda.get_device_name()
    return f"{where}, torch {torch.__version__}, {platform.platform()}"


class _Process:
    """A `Worker` in a process of its own."""

    def __init__(self, name: str, kind: Kind) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, kind), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> "_Process":
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()  # an idle worker then ends by itself, and what it has started with it
        self.process.join(_PATIENCE_S)
        self.process.terminate()
        self.process.join()

    def ask(self, method: str, *arguments: object) -> Any:
        """Call a method of the worker there."""
        self.connection.send((method, *arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            value, failure = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            self.process.join()
            raise SegkitError(
                f"the process that measures {self.name} ended with exit code {self.process.exitcode}; if the system "
                "ran out of memory, take a smaller --batch or --resolution, or fewer kinds at once"
            ) from error
        if failure is not None:
            raise SegkitError(f"measuring {self.name} failed: {failure}")
        return value
