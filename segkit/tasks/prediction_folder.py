"""A folder of predictions, `probs/` and `binary/`, and the record of model and images, `predictions.json`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from segkit.core.classes import VESSEL, Classes
from segkit.core.errors import RequestError
from segkit.core.files import read_json, sha256_file, write_json
from segkit.core.manifest import Row
from segkit.core.run_folder import RecordedFolder
from segkit.data.labels import probs_path
from segkit.tasks.settings import InferenceSettings

RECORD = "predictions.json"
KINDS = ("probs", "binary")

Remark = tuple[str, str, str]
"""Name of an image, "error" or "warning", text."""

Record = dict[str, Any]
"""Keys of `predictions.json`: those of `segkit.tasks.weights.describe_model` but `images`; `tta`, `tile`, `scale`;
`runs`, one entry for each command that predicted something; and `images`, an entry for each image by name."""


def prediction_record(
    model: Mapping[str, Any], rows: Iterable[Row], inference: InferenceSettings, classes: Classes = VESSEL
) -> Record:
    """The record of a model's predictions for `rows`; it does not depend on date or machine.

    `model` is as `segkit.tasks.weights.describe_model` gives it, with the threshold that is applied.
    """
    splits = model["images"]
    about_model = {key: value for key, value in model.items() if key != "images"}
    images = {row.name: _image_entry(row, splits, classes) for row in rows}
    return {**about_model, **inference.model_dump(mode="json"), "images": images}


def _image_entry(row: Row, splits: Mapping[str, str] | None, classes: Classes) -> dict[str, object]:
    """The entry of an image before it is predicted.

    `model_split` is "train" or "val" for an image the model was trained on or chosen with, None for any other; it is
    absent if the model does not record its images.
    """
    entry: dict[str, object] = {"file": row.image.path.name}
    try:
        digest = sha256_file(row.image.path)
        entry |= {"bytes": row.image.path.stat().st_size, "sha256": digest}
        absent = "estimated" if classes.field_of_view else "whole image"
        entry["fov"] = absent if row.region is None else "given"
        if row.region is not None:
            entry["fov_sha256"] = sha256_file(row.region.path)
    except OSError:  # reading the image will raise the error
        return entry
    return entry if splits is None else entry | {"model_split": splits.get(digest)}


def refuse_threshold(classes: Classes) -> None:
    """Raise RequestError if predictions of the classes do not use a threshold."""
    if classes.kind == "multiclass":
        names = ", ".join(classes.names)
        raise RequestError(f"--threshold is for one class; of {names} the most probable one is predicted: leave it out")


class PredictionFolder:
    """Output folder of `segkit predict`: maps of one model, threshold, augmentation and tile size."""

    def __init__(self, folder: Path, classes: Classes = VESSEL) -> None:
        self.folder, self.classes = folder, classes
        self._recorded = RecordedFolder(folder, RECORD, "probs/**/*.*", "predictions", "made")

    @property
    def kind_dirs(self) -> tuple[Path, Path]:
        """The folders of the probabilities (16 bit) and of the predicted label maps."""
        probs, binary = KINDS
        return self.folder / probs, self.folder / binary

    def maps(self, name: str) -> dict[str, Path]:
        """The files of an image, "probs" and "binary"."""
        probs_dir, labels_dir = self.kind_dirs
        probs, binary = KINDS
        return {probs: probs_path(probs_dir, name, self.classes), binary: labels_dir / f"{name}.png"}

    def lock(self, on_wait: Callable[[str], None], rows: Iterable[Row]) -> AbstractContextManager[None]:
        """Hold the write lock of the folder; as `RecordedFolder.lock`."""
        return self._recorded.lock(
            on_wait, {(Path(kind) / row.name).parent.as_posix() for row in rows for kind in KINDS}
        )

    def claim(self, record: Record, rows: Sequence[Row], run: Mapping[str, object]) -> list[str]:
        """Make the folder one for these predictions: new, or as a command with the same model and settings left it.

        Maps of an image whose file or field of view has changed are removed, so that it is predicted again.

        Args:
            run: versions, device and the like of this command. `images` is added to it: the names it is to predict. An
                image was predicted by the last run that lists it.

        Returns:
            Names of the images whose maps a killed command wrote, before it could record their warnings.

        Raises:
            RequestError: it holds predictions that were made otherwise, or of another image under the same name.
        """
        decisive = {key: record[key] for key in ("weights_sha256", "threshold", "tta", "tile", "scale")}
        self._recorded.claim(decisive, {"weights": Path(record["weights"])})
        before = self.read()
        known: dict[str, dict[str, object]] = before.get("images", {})
        entries, missing, unrecorded = {}, [], []
        for row in rows:
            old = known.get(row.name, {})
            new = {**record["images"][row.name], "path": str(row.image.path.absolute())}
            maps = self.maps(row.name).values()
            predicted = [path for path in maps if path.exists()]
            if not _same_input(old, new):
                if predicted and old.get("path", new["path"]) != new["path"]:
                    raise RequestError(
                        f"{self.folder} holds the prediction of {old['path']}, which has the name of {row.image}; "
                        "choose another folder"
                    )
                for path in predicted:
                    path.unlink()
            if not all(path.exists() for path in maps):
                missing.append(row.name)
            elif "binary" in old:
                new |= {key: old[key] for key in (*KINDS, "warnings") if key in old}
            else:
                unrecorded.append(row.name)
            entries[row.name] = new
        runs = before.get("runs", []) + ([{**run, "images": missing}] if missing else [])
        self._write({**before, **record, "runs": runs, "images": {**known, **entries}})
        return unrecorded

    def read(self) -> Record:
        """The record."""
        record: Record = read_json(self.folder / RECORD)
        return record

    def finish(self, remarks: Iterable[Remark]) -> None:
        """Add the remarks of this command and the existing maps to the record."""
        record = self.read()
        for name, kind, text in remarks:
            entry = record["images"][name]
            if kind == "error":
                entry["error"] = text
            else:
                entry["warnings"] = [*entry.get("warnings", ()), text]
        for name, entry in record["images"].items():
            maps = {kind: path for kind, path in self.maps(name).items() if path.exists()}
            entry |= {kind: path.relative_to(self.folder).as_posix() for kind, path in maps.items()}
        self._write(record)

    def _write(self, record: Record) -> None:
        write_json(self.folder / RECORD, record)


def _same_input(old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    return "sha256" in new and all(old.get(key) == new.get(key) for key in ("sha256", "fov", "fov_sha256"))


def find_record(maps: Path) -> tuple[Record, Path] | None:
    """The record in or above a folder of maps, and its path; None if there is none.

    Raises:
        RequestError: it is damaged.
    """
    path = next((folder / RECORD for folder in (maps, maps.absolute().parent) if (folder / RECORD).is_file()), None)
    if path is None:
        return None
    try:
        record: Record = read_json(path)
        float(record["threshold"]), str(record["threshold_source"]), dict(record["images"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{path} is damaged ({error!r}); predict again, or move it away and give --threshold"
        ) from error
    return record, path
