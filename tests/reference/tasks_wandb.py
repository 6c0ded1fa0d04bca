"""Reads what W&B writes offline: a log of records in the form of LevelDB's, each record a message of W&B's protocol.

The file begins with ":W&B", a magic number and a version. Then come blocks of 32 KiB, the first counted from the very
beginning, and in them pieces: crc32 of kind and data (4 bytes), length (2), kind (1: 1 whole, 2 first, 3 middle, 4 last
piece of a record), data. Fewer than seven bytes at the end of a block are padding.
"""

import json
import struct
import time
import zlib
from pathlib import Path

BLOCK = 32 * 1024
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(data: bytes) -> list[bytes]:
    """The records of a log, put together from their pieces; an incomplete last one is left out."""
    ident, magic, _version = struct.unpack("<4sHB", data[:7])
    assert (ident, magic) == (b":W&B", 0xBEE1)
    found, parts, place = [], [], 7
    while len(data) - place >= 7:
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + 7])
        if kind == 0:  # an unwritten rest
            break
        piece = data[place + 7 : place + 7 + length]
        if len(piece) < length:
            break
        assert zlib.crc32(bytes([kind]) + piece) == checksum
        parts = [piece] if kind in (WHOLE, FIRST) else [*parts, piece]
        if kind in (WHOLE, LAST):
            found.append(b"".join(parts))
        place += 7 + length
    return found


def records(path: Path) -> list:
    """The messages of one offline run."""
    from wandb.proto.wandb_internal_pb2 import Record

    return [Record.FromString(payload) for payload in payloads(path.read_bytes())]


def _nested(items, values=None) -> dict:
    """Items with a key or a nested key, and JSON values, as a dictionary."""
    values = {} if values is None else values
    for item in items:
        keys = list(item.nested_key) or [item.key]
        place = values
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = json.loads(item.value_json)
    return values


def read_run(folder: Path) -> dict:
    """What the one offline run under `folder` says: who it is, its config, history, summary, files and artifacts.

    W&B's service writes the last block of the file shortly after `finish` has returned, so a run without an end is read
    again for up to five seconds.
    """
    deadline = time.monotonic() + 5
    run = _read_run(folder)
    while not run["ended"] and time.monotonic() < deadline:
        time.sleep(0.1)
        run = _read_run(folder)
    return run


def _read_run(folder: Path) -> dict:
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    run = {"config": {}, "history": [], "summary": {}, "artifacts": [], "clocks": {}, "best": {}, "ended": False}
    run["files"] = path.parent / "files"
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            said = record.run
            run |= {"id": said.run_id, "name": said.display_name, "group": said.run_group, "job_type": said.job_type}
            run |= {"project": said.project, "tags": list(said.tags)}
            _nested(said.config.update, run["config"])
        elif kind == "config":
            _nested(record.config.update, run["config"])
        elif kind == "history":
            run["history"].append(_nested(record.history.item))
        elif kind == "summary":
            _nested(record.summary.update, run["summary"])
        elif kind == "artifact":
            run["artifacts"].append(record.artifact)
        elif kind == "request" and record.request.HasField("log_artifact"):
            run["artifacts"].append(record.request.log_artifact.artifact)
        elif kind == "metric":
            name, chosen = record.metric.glob_name or record.metric.name, record.metric.summary
            run["clocks"][name] = record.metric.step_metric
            run["best"][name] = "max" if chosen.max else "min" if chosen.min else None
        elif kind == "exit":
            run["ended"] = True
    return run
