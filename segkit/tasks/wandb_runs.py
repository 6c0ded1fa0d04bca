"""W&B runs: start, files that may be uploaded, and reachability of the server. Does not import torch."""

import configparser
import hashlib
import http.client
import netrc
import os
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

from segkit.core.files import write_text
from segkit.tasks.settings import RuntimeSettings

MAX_ARTIFACT_BYTES = 64 * 2**20
"""Larger files are not uploaded, only recorded by checksum."""

SHARED_FILES = (
    "record.json",
    "curves*.csv",
    "model.json",
    "model.safetensors",
    "selection.json",
    "fidelity.csv",
    "measurements.json",
    "tables.txt",
    "comparisons.json",
    "verdict.json",
)
"""Names of the files that may be uploaded without `runtime.share_images`: numbers, and the weights of segmentation
networks. Every other file stays here, also one that a later version of segkit adds: pictures, reports with pictures in
them, weights of a GAN, which can memorise its photographs, and lists of file names, which may name patients."""

PROBE_TIMEOUT_S = 4
MAX_WAIT_S = 10
"""How long all processes of a pipeline together wait in vain for the server: to answer, to start a run, and to take the
rest of an upload. After that runs are written offline; what was not sent stays on disk for `segkit wandb sync`."""

WAITED = "SEGKIT_WANDB_WAITED"
"""Environment variable: path of a file with the seconds that the processes of a pipeline have waited in vain."""

SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""Environment variables by which an agent of a sweep names the run of the process that it starts."""

LINEAGE = "lineage.json"
"""File in a `wandb` folder: the artifacts that an offline run was made from."""

UNSENT = "unsent"
"""File in a `wandb` folder: its online run was not sent completely."""


@dataclass(frozen=True)
class RunLabel:
    """Names and tags of a W&B run."""

    run_id: str
    name: str
    job_type: str
    group: str | None = None
    tags: tuple[str, ...] = ()


def start_run(project: str, label: RunLabel, folder: Path, config: Mapping[str, object]) -> tuple[Any, bool]:
    """Start a run in `folder`/wandb; return it and whether it is online.

    Without a login, or if the server does not accept the run, it is written offline. W&B does not record the command
    line, which names folders, nor the git repository around the working folder, which is not segkit's.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    init = partial(
        wandb.init,
        project=project,
        id=label.run_id,
        name=label.name,
        job_type=label.job_type,
        group=label.group,
        tags=list(label.tags),
        dir=str(folder),
        config=without_folders(config),
    )
    _skip_launch()
    settings = wandb.Settings(
        silent=True, console="off", disable_git=True, x_disable_meta=True, x_save_requirements=False
    )
    remaining_s = MAX_WAIT_S - waited_s()
    if logged_in() and remaining_s >= 1:
        limits = {"init_timeout": remaining_s, "finish_timeout": remaining_s, "finish_timeout_raises": True}
        begin = time.monotonic()
        try:
            online = settings.model_copy(update=limits)
            return init(mode="online", resume="allow", settings=online), True
        except wandb.Error as error:
            add_waited(time.monotonic() - begin)
            print(offline_notice(" ".join(str(error).split())), flush=True)
            wandb.teardown()  # otherwise its service keeps the run's name reserved
    return init(mode="offline", settings=settings), False


def _skip_launch() -> None:
    """Keep W&B from importing its package for launch agents at the start of each run, which takes most of that time.

    Nothing is skipped in a later version of W&B that has no such step.
    """
    from wandb.sdk.wandb_run import Run

    if hasattr(Run, "_detect_and_apply_job_inputs"):
        Run._detect_and_apply_job_inputs = lambda self: None  # type: ignore[method-assign]


def finish_run(run: Any, folder: Path) -> None:
    """End a run that `start_run` began in `folder`; mark it as unsent if the server does not take it in time."""
    begin = time.monotonic()
    try:
        run.finish()
    except Exception:
        add_waited(time.monotonic() - begin)
        (folder / "wandb" / UNSENT).touch()
        raise


def waited_s() -> float:
    """Seconds that the processes of this pipeline have waited for the server in vain."""
    try:
        return float(Path(os.environ[WAITED]).read_text())
    except (KeyError, OSError, ValueError):
        return 0.0


def add_waited(seconds: float) -> None:
    """Add to `waited_s`; a process outside a pipeline has no file for it."""
    if WAITED in os.environ:
        write_text(Path(os.environ[WAITED]), f"{waited_s() + seconds:.3f}")


def unsent_runs(runs: Path) -> list[Path]:
    """Folders of W&B runs below a runs folder that were not sent: offline ones, and those cut off; in their order."""
    offline = [path for path in runs.glob("*/wandb/offline-run-*") if not any(path.glob("*.synced"))]
    cut_off = [path for mark in runs.glob(f"*/wandb/{UNSENT}") for path in mark.parent.glob("run-*")]
    return sorted(
        (path for path in {*offline, *cut_off} if any(path.glob("*.wandb"))),
        key=lambda path: path.name.removeprefix("offline-"),
    )


def offline_notice(reason: str) -> str:
    """Message for a run that is written offline although it should be online."""
    return f"W&B: {reason}; runs are written offline, to be sent later with `segkit wandb sync`"


def may_upload(path: str, share_images: bool) -> bool:
    """Whether the file at this path below a stage's folder may become part of an artifact."""
    *folders, name = path.split("/")
    if folders and folders[0] in {"work", "wandb"}:
        return False
    return share_images or any(fnmatchcase(name, pattern) for pattern in SHARED_FILES)


def without_folders(config: Mapping[str, object]) -> dict[str, object]:
    """The configuration as W&B can flatten it, without places on this machine.

    A list of sections becomes a section with the keys "0", "1", ..., so that `teacher.phases.0.epochs` is a key of its
    own. Of `source` the reader's name stays (`drive:/data/DRIVE` becomes `drive`), of `init_from` the file's,
    and of `group_pattern`, which may spell patients' names, the digest.
    """
    return {key: _without_folder(key, value) for key, value in config.items()}


def _without_folder(key: str, value: object) -> object:
    if key == "source" and isinstance(value, str):
        return value.partition(":")[0]
    if key == "init_from" and isinstance(value, str):
        return Path(value).name
    if key == "group_pattern" and isinstance(value, str):
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    if isinstance(value, Mapping):
        return without_folders(value)
    if isinstance(value, list | tuple):
        items = [_without_folder("", item) for item in value]
        sections = bool(items) and all(isinstance(item, dict) for item in items)
        return {str(number): item for number, item in enumerate(items)} if sections else items
    return value


def may_track(runtime: RuntimeSettings) -> bool:
    """Whether W&B runs are enabled; WANDB_MODE=disabled disables them."""
    return runtime.tracker == "wandb" and os.environ.get("WANDB_MODE") != "disabled"


def logged_in() -> bool:
    """Whether W&B runs can go online: a key in the environment or in netrc, and no mode that says otherwise."""
    if os.environ.get("WANDB_MODE", "online") not in {"online", "shared"}:
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = server().split("//")[-1].split("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def server() -> str:
    """The address of W&B's server: WANDB_BASE_URL, else what `wandb login --host` has saved, else the public one."""
    if "WANDB_BASE_URL" in os.environ:
        return os.environ["WANDB_BASE_URL"]
    saved = configparser.ConfigParser()
    folder = os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb"
    try:
        saved.read(Path(folder) / "settings")
    except (configparser.Error, UnicodeDecodeError):
        saved.clear()
    return saved.get("default", "base_url", fallback="https://api.wandb.ai")


@contextmanager
def offline_if_unreachable(log: Callable[[str], None]) -> Iterator[None]:
    """Set WANDB_MODE=offline for the processes started inside if W&B's server does not answer.

    The processes share one file of the seconds that they have waited in vain, so that a pipeline waits `MAX_WAIT_S`.
    """
    with tempfile.TemporaryDirectory() as folder, environment(WAITED, str(Path(folder) / "seconds")):
        begin = time.monotonic()
        reason = connection_error(server()) if logged_in() else None
        if reason is None:
            yield
            return
        add_waited(time.monotonic() - begin)
        log(offline_notice(f"{server()} does not answer ({reason})"))
        with environment("WANDB_MODE", "offline"):
            yield


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable in the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def connection_error(url: str, timeout_s: float = PROBE_TIMEOUT_S) -> str | None:
    """Why no HTTP server can be reached at `url`, through a proxy if the environment names one; None if one answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        error.close()
        return None  # the server answers
    except urllib.error.URLError as error:
        # W&B may accept a certificate that Python rejects
        return None if isinstance(error.reason, ssl.SSLError) else str(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
