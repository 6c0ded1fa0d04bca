"""The figures of `segkit bench gan`, and their text."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseTime:
    """Time of one phase in one configuration: medians and quartiles over the rounds."""

    kind: str
    """Name of the configuration, as in "bf16"."""
    phase: str
    s_per_kimg: float
    """Seconds per thousand images."""
    low: float
    high: float
    ratio: float
    """The reference's time over this one, both from one round."""
    ratio_low: float
    ratio_high: float
    gflop_per_image: float
    """Of the arithmetic that the networks need; 0 where it is not counted."""
    gflops: float
    """GFLOP per second."""


@dataclass(frozen=True)
class Benchmark:
    """What `segkit bench gan --json` writes; mappings are by the names of the configurations."""

    resolution: int
    batch: int
    channel_base: int
    channel_max: int
    augment_p: float
    num_low_precision_resolutions: int
    reference_memory: str
    rounds: int
    intervals: dict[str, int]
    """Iterations from one run of a phase to the next."""
    rows: list[PhaseTime]
    memory_mb: dict[str, float | None]
    """Peak memory; None where the system does not report it."""
    convolution_gflops: dict[str, float]
    """GFLOP per second of one large convolution."""
    profile: dict[str, dict[str, float]]
    """Seconds of an average iteration by operation."""
    machine: str

    def lines(self) -> Iterator[str]:
        """The figures as text."""
        networks = f"{self.resolution}x{self.resolution}, batch {self.batch}"
        channels = f"channels {self.channel_base} / r up to {self.channel_max}"
        yield f"{networks}, {channels}, augmentation p {self.augment_p:g}; {self.machine}"
        yield f"{'':<24} {'s/kimg':>9} {'(quartiles)':<22} {'x reference':>11} {'(quartiles)':<16} {'GFLOP/s':>9}"
        for row in self.rows:
            times = f"({row.low:.2f} to {row.high:.2f})"
            ratios = f"({row.ratio_low:.2f} to {row.ratio_high:.2f})"
            share = row.gflops / self.convolution_gflops[row.kind]
            rate = f"{row.gflops:9.0f} {share:4.0%}" if row.gflop_per_image else ""
            line = f"{row.kind:<14} {row.phase:<9} {row.s_per_kimg:9.2f} {times:<22} {row.ratio:11.2f} "
            yield f"{line}{ratios:<16} {rate}".rstrip()
        for kind, megabytes in self.memory_mb.items():
            memory = "" if megabytes is None else f"{megabytes:9.0f} MB peak memory, "
            yield f"{kind:<24} {memory}{self.convolution_gflops[kind]:.0f} GFLOP/s in one large convolution"
        for kind, parts in self.profile.items():
            total = sum(parts.values())  # 0 where the profiler has no permission to read a GPU's counters
            yield f"{kind}: an average iteration takes {total:.2f} s"
            yield from (f"  {seconds / total if total else 0:5.1%}  {part}" for part, seconds in parts.items())
