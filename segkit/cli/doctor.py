"""`segkit doctor`: checks of this installation."""

import importlib
import shutil
from collections.abc import Iterator
from importlib import util

import click

from segkit.core.versions import installed_version

CHECKED = ("torch", "lightning", "torchmetrics", "albumentations", "monai", "wandb", "numpy", "pillow")


@click.command()
def doctor() -> None:
    """Check versions, devices, precision, tracking and disk; exit with 1 if there is a problem."""
    problems = [*missing_packages(), *torchvision_problems()]
    for name in CHECKED:
        click.echo(f"{name:<16} {installed_version(name) or 'missing'}")
    for problem in problems:
        click.echo(f"problem: {problem}")
    if problems:
        raise SystemExit(1)
    for line in _machine():
        click.echo(line)


def missing_packages() -> Iterator[str]:
    """Packages that every command needs."""
    for name in CHECKED:
        if installed_version(name) is None:
            yield f"{name} is not installed; `pip install {name}`"


def torchvision_problems() -> Iterator[str]:
    """Why torchvision does not fit torch, or None; a wrong build breaks `import torchmetrics`."""
    if util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        problem = f"torchvision {installed_version('torchvision')} does not fit torch {installed_version('torch')}"
        yield f"{problem} ({error}); segkit does not need it: `pip uninstall torchvision`"


def _machine() -> Iterator[str]:
    import os

    import torch

    from segkit.tasks.precision import cpu_has_bf16, resolve_precision
    from segkit.tasks.wandb_runs import logged_in

    bf16 = "with" if cpu_has_bf16() else "without"
    yield f"{'cpu':<16} {os.cpu_count()} cores, {torch.get_num_threads()} threads, {bf16} bf16 instructions"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield f"{'gpu ' + str(index):<16} {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    else:
        yield f"{'gpu':<16} none"
    yield f"{'precision auto':<16} {resolve_precision('auto')}"
    yield f"{'wandb':<16} {'online' if logged_in() else 'offline (no login)'}"
    yield f"{'disk':<16} {shutil.disk_usage('.').free / 2**30:.0f} GiB free here"
