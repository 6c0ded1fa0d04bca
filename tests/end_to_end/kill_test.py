"""Kill a pipeline at random moments, go on with the same command, and compare the end with an undisturbed run.

    python tests/end_to_end/kill_test.py --config configs/demo.yaml --kills 10 --seed 0

`kill -9` goes to the whole process group: runner, stage, ranks and loader workers. What must be equal at the end:
the set of finished stages, their fingerprints, the names of their files, and the bytes of every file but those named
in `MAY_DIFFER`. Exit code 0 if so, 1 otherwise.
"""

import argparse
import operator
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from segkit.core.files import TEMPORARY, read_json
from segkit.core.run_folder import DONE, WORK, read_done

MAY_DIFFER = {"report.html"}
"""Files that tell of the run itself: how long each stage took, when it ended."""


def pipeline_command(config: Path, runs: Path, upto: str | None, overrides: Sequence[str] = ()) -> list[str]:
    """What is run, killed and repeated."""
    command = [
        sys.executable,
        "-m",
        "segkit",
        "pipeline",
        "run",
        "synthetic-aug",
        "-c",
        str(config),
        "--runs",
        str(runs),
    ]
    for override in overrides:
        command += ["--set", override]
    return command if upto is None else [*command, "--upto", upto]


def run_to_end(command: Sequence[str], log: Path) -> float:
    """Run the command, and return the seconds it took."""
    start = time.monotonic()
    with log.open("a") as file:
        code = subprocess.run(command, stdout=file, stderr=file, check=False).returncode
    if code != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {code}; see {log}")
    return time.monotonic() - start


def run_and_kill(command: Sequence[str], log: Path, strike: Callable[[float], bool]) -> bool:
    """Start the command and kill its process group when `strike(seconds)` says so; False if it had ended by itself."""
    start = time.monotonic()
    with log.open("a") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        while process.poll() is None and not strike(time.monotonic() - start):
            time.sleep(0.002)
        if process.poll() is None:
            kill_group(process.pid)
            process.wait()
            return True
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}; see {log}")
    return False


def kill_group(group: int) -> None:
    """End every process of the group at once, and wait until none of them runs any more."""
    os.killpg(group, signal.SIGKILL)
    while any(state not in {"Z", "X"} for state in _states(group)):
        time.sleep(0.01)


def _states(group: int) -> Iterable[str]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group:
                yield state


def last_stage(log: Path) -> str:
    """What the runner said last: the stage that was going on."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("[")]
    return lines[-1].partition(" (")[0] if lines else "nothing yet"


def finished(runs: Path) -> dict[str, dict[str, Any]]:
    """The records of the finished stages, by folder."""
    return {folder.name: done for folder in sorted(runs.iterdir()) if (done := read_done(folder)) is not None}


def differences(undisturbed: Path, killed: Path) -> list[str]:
    """What is not the same in two runs folders, one line each."""
    expected, actual = finished(undisturbed), finished(killed)
    if not expected:
        return [f"{undisturbed} holds no finished stage"]
    lines = [f"{name} is finished in one run only" for name in sorted(expected.keys() ^ actual.keys())]
    for name in expected.keys() & actual.keys():
        one, two = expected[name]["outputs"], actual[name]["outputs"]
        lines += [f"{name}/{file} is in one run only" for file in sorted(one.keys() ^ two.keys())]
        lines += [
            f"{name}/{file} differs"
            for file in sorted(one.keys() & two.keys())
            if Path(file).name not in MAY_DIFFER and one[file]["sha256"] != two[file]["sha256"]
        ]
        if (undisturbed / name / "measurements.json").exists():
            one, two = (read_json(runs / name / "measurements.json") for runs in (undisturbed, killed))
            lines += [] if one == two else [f"{name}: the metrics differ"]
    return lines + [f"{path.relative_to(killed)} is left over" for path in leftovers(killed)]


def leftovers(runs: Path) -> list[Path]:
    """Scratch folders of finished stages and half-written files beside them."""
    folders = [path.parent for path in runs.glob(f"*/{DONE}")]
    work = [folder / WORK for folder in folders if (folder / WORK).exists()]
    return work + [path for folder in folders for path in folder.rglob(f"{TEMPORARY}*")]


def num_compared(runs: Path) -> int:
    """Files whose bytes were compared."""
    return sum(Path(file).name not in MAY_DIFFER for done in finished(runs).values() for file in done["outputs"])


def torment(command: Sequence[str], log: Path, num_kills: int, mean_s: float, seed: int) -> list[str]:
    """Start and kill the command so many times, after 0 to 2 x `mean_s` seconds each; what each kill cut short."""
    rng = random.Random(seed)
    struck = []
    while len(struck) < num_kills:
        after_s = rng.uniform(0, 2 * mean_s)
        if not run_and_kill(command, log, partial(operator.le, after_s)):
            break
        struck.append(f"after {after_s:.1f} s, {last_stage(log)}")
        print(f"kill {len(struck)}: {struck[-1]}", flush=True)
    return struck


def main() -> int:
    """Run undisturbed, run and kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="settings of the pipeline")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--upto", help="the last stage, the report by default")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--dir", type=Path, help="where to run; a new temporary folder by default")
    parser.add_argument("--mean-s", type=float, help="mean seconds to a kill; by default kills spread over the run")
    given = parser.parse_args()
    root = given.dir or Path(tempfile.mkdtemp(prefix="segkit-kill-"))
    root.mkdir(parents=True, exist_ok=True)
    undisturbed, killed = root / "undisturbed", root / "killed"

    def command(runs: Path) -> list[str]:
        return pipeline_command(given.config, runs, given.upto, given.overrides)

    whole_s = run_to_end(command(undisturbed), root / "undisturbed.log")
    print(f"undisturbed: {len(finished(undisturbed))} stages in {whole_s:.0f} s, in {root}", flush=True)
    mean_s = given.mean_s or 0.8 * whole_s / given.kills  # what a kill destroys is made up for
    struck = torment(command(killed), root / "killed.log", given.kills, mean_s, given.seed)
    rest_s = run_to_end(command(killed), root / "killed.log")
    again_s = run_to_end(command(killed), root / "killed.log")
    print(f"{len(struck)} kills; the rest took {rest_s:.0f} s; once more, with nothing to do: {again_s:.2f} s")
    lines = differences(undisturbed, killed)
    print("\n".join(lines) or f"same stages, same {num_compared(killed)} files, same metrics, nothing left over")
    if len(struck) < given.kills:
        lines.append("")
        print(f"the run had ended before kill {len(struck) + 1}; give a smaller --mean-s")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
