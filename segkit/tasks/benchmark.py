"""Speed of training and inference of a network. Precisions are timed in turn, so all are exposed to the same load."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from segkit.core.errors import RequestError
from segkit.models import build_model, channels_last
from segkit.models.heads import as_outputs
from segkit.models.loss_settings import NAMED_LOSSES
from segkit.models.losses import build_loss
from segkit.models.settings import ModelSettings

Step = Callable[[], None]


def time_network(
    settings: ModelSettings, size: int, batch: int, precisions: Sequence[str], repeats: int
) -> dict[str, Any]:
    """Median and quartiles of images per second of a network, for each mode and precision.

    Every kind does one warm-up step; then one step of each kind is timed in turn, `repeats` times. `ratio` is the
    median over rounds of the first precision's time over this one's, each pair measured side by side.

    Raises:
        RequestError: `size` is no multiple of the network's stride.
    """
    if size % settings.stride:
        near = -(-size // settings.stride) * settings.stride
        raise RequestError(f"size {size} is not a multiple of {settings.name}'s stride {settings.stride}; try {near}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    modes: dict[str, Callable[[str], Step]] = {
        "train": lambda precision: _training(settings, size, batch, precision, device),
        "predict": lambda precision: _inference(settings, size, batch, precision, device),
    }
    rows = []
    for mode, prepare in modes.items():
        steps = {precision: prepare(precision) for precision in precisions}
        seconds = _in_turn(steps, repeats, device)
        for precision in precisions:
            rates = sorted(batch / step_seconds for step_seconds in seconds[precision])
            ratios = [a / b for a, b in zip(seconds[precisions[0]], seconds[precision], strict=True)]
            low, median, high = statistics.quantiles(rates, n=4)
            rows.append(
                {
                    "mode": mode,
                    "precision": precision,
                    "images_per_second": median,
                    "low": low,
                    "high": high,
                    "ratio": statistics.median(ratios),
                    "ratio_low": min(ratios),
                    "ratio_high": max(ratios),
                }
            )
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "model": settings.name,
        "size": size,
        "batch": batch,
        "repeats": repeats,
        "rows": rows,
        "machine": f"{where}, torch {torch.__version__}, {platform.platform()}",
    }


def _in_turn(steps: dict[str, Step], repeats: int, device: torch.device) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {kind: [] for kind in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for kind, step in steps.items():
            _wait(device)
            start = time.perf_counter()
            step()
            _wait(device)
            seconds[kind].append(time.perf_counter() - start)
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _network(settings: ModelSettings, precision: str, device: torch.device) -> torch.nn.Module:
    """The network in channels-last layout; in fp32, which the others are compared with, in torch's default layout."""
    network = build_model(settings).to(device)
    return network if precision == "32-true" else channels_last(network)


def _autocast(precision: str, device: torch.device) -> torch.autocast:
    dtype = torch.float16 if precision == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "32-true")


def _training(settings: ModelSettings, size: int, batch: int, precision: str, device: torch.device) -> Step:
    network = _network(settings, precision, device).train()
    optimizer = torch.optim.Adam(network.parameters())
    image = torch.rand(batch, 3, size, size, device=device)
    target = (torch.rand(batch, 1, size, size, device=device) < 0.1).float()
    compute_loss = build_loss(NAMED_LOSSES["bce-dice"])
    layout = torch.contiguous_format if precision == "32-true" else torch.channels_last

    def step() -> None:
        with _autocast(precision, device):
            logits = as_outputs(network(image.contiguous(memory_format=layout))).logits
        loss = compute_loss(logits, target, torch.ones_like(target)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _inference(settings: ModelSettings, size: int, batch: int, precision: str, device: torch.device) -> Step:
    network = _network(settings, precision, device).eval()
    image = torch.rand(batch, 3, size, size, device=device)
    layout = torch.contiguous_format if precision == "32-true" else torch.channels_last

    def step() -> None:
        with torch.inference_mode(), _autocast(precision, device):
            network(image.contiguous(memory_format=layout))

    return step
