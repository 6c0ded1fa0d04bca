"""The work of `segkit predict`: maps of many images in a folder with a record."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from segkit.core.errors import RequestError, SegkitError
from segkit.core.manifest import Row
from segkit.core.versions import git_commit, installed_versions
from segkit.core.wording import counted
from segkit.tasks.ensemble import predict
from segkit.tasks.prediction_files import ImageLoader, MapWriter
from segkit.tasks.prediction_folder import (
    RECORD,
    PredictionFolder,
    Record,
    Remark,
    prediction_record,
    refuse_threshold,
)
from segkit.tasks.prediction_tables import write_overlays, write_vessel_table
from segkit.tasks.settings import InferenceSettings, RuntimeSettings
from segkit.tasks.weights import describe_model, load_predictor, read_card

MAX_NAMED = 8
"""Maximum number of files in an error message."""


def predict_folder(
    weights: Path,
    rows: Sequence[Row],
    out: Path,
    inference: InferenceSettings,
    runtime: RuntimeSettings,
    threshold: float | None = None,
    *,
    overlays: bool = False,
    vessel_table: bool = False,
    first_rank: bool,
    log: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Predict rows into `out`, unless their maps are there; an image that cannot be read is left out.

    Args:
        threshold: of the binary maps; the model's own by default.
        warn: called with a line for each unreadable image or image that may not be a fundus photograph.

    Raises:
        WeightsError: `weights` holds no whole model.
        RequestError: `out` holds predictions that were made otherwise, or a threshold is given for several classes.
        SegkitError: at the end, if an image could not be read.
    """
    model = describe_model(weights)
    classes = read_card(weights).classes
    if threshold is not None:
        refuse_threshold(classes)
        model |= {"threshold": threshold, "threshold_source": "given"}
    elif model["threshold_source"] == "given":  # when the model was trained or exported, not by this command
        model["threshold_source"] = "card"
    if vessel_table and classes.kind != "binary":
        raise RequestError(f"--vessel-table is for models of one class; this one predicts {', '.join(classes.names)}")
    folder = PredictionFolder(out, classes)
    probs_dir, labels_dir = folder.kind_dirs
    writer = MapWriter(probs_dir, classes, labels_dir, model["threshold"])
    remarks: list[Remark] = []

    def report(row: Row, kind: str, text: str) -> None:
        remarks.append((row.name, kind, text))
        warn(f"left out: {text}" if kind == "error" else f"warning: {row.image}: {text}")

    with TemporaryDirectory() as scratch, folder.lock(log, rows) if first_rank else nullcontext():
        if first_rank:
            unrecorded = folder.claim(prediction_record(model, rows, inference, classes), rows, _run())
            loader = ImageLoader(
                [row for row in rows if row.name in unrecorded], report, classes, inference.scale == "auto"
            )
            deque(loader, maxlen=0)  # to report what is odd in them
        num_missing = len(writer.missing(rows))
        trainer = predict(
            partial(load_predictor, weights), rows, writer, inference, runtime, Path(scratch), "predict", report
        )
        remarks = gather(remarks, trainer.world_size)
        if first_rank:
            folder.finish(remarks)
            record = folder.read()
            if overlays:
                write_overlays(folder, rows)
            if vessel_table:
                write_vessel_table(folder, rows)
    if first_rank:
        _print_result(folder, rows, record, num_missing, log)


def gather(remarks: list[Remark], world_size: int) -> list[Remark]:
    """The remarks of all ranks without duplicates."""
    if world_size == 1 or not torch.distributed.is_initialized():
        return remarks
    of_ranks: list[list[Remark]] = [[] for _ in range(world_size)]
    torch.distributed.all_gather_object(of_ranks, remarks)
    return list(dict.fromkeys(remark for of_rank in of_ranks for remark in of_rank))


def _run() -> dict[str, object]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return {"started": started, "device": device, "git_commit": git_commit(), "versions": installed_versions()}


def _print_result(
    folder: PredictionFolder, rows: Sequence[Row], record: Record, num_missing: int, log: Callable[[str], None]
) -> None:
    """Print the folders of the maps; raise SegkitError if one is missing."""
    probs_dir, binary_dir = folder.kind_dirs
    failed = [row for row in rows if "binary" not in record["images"][row.name]]
    kept = len(rows) - num_missing
    before = f" ({kept} of them from an earlier run)" if kept else ""
    cut = f"threshold {record['threshold']:.3f}, " if folder.classes.kind == "binary" else ""
    if len(failed) < len(rows):
        log(
            f"{counted(len(rows) - len(failed), 'image')}{before}: probabilities in {probs_dir}, "
            f"{', '.join(folder.classes.names)} ({cut}{record['threshold_source']}) in {binary_dir}"
        )
    if failed:
        names = ", ".join(str(row.image) for row in failed[:MAX_NAMED])
        more = f" and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
        raise SegkitError(
            f"{len(failed)} of {counted(len(rows), 'image')} could not be predicted: {names}{more}; the reasons are "
            f"above and in {folder.folder / RECORD}. Replace or remove these files and run the same command again"
        )
