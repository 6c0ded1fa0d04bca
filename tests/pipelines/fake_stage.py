"""A stage that only writes what it is told to, for tests of what is around it."""

from pathlib import Path
from typing import ClassVar

from pipelines.execution.worker import Context
from segkit.core.config import Settings
from segkit.core.files import write_text


class FakeSettings(Settings):
    """What to write."""

    text: str = "hello"


class Spy:
    """What the stage saw when it ran, and how it is to end."""

    seen: ClassVar[list[dict[str, object]]] = []
    fail_with: ClassVar[BaseException | None] = None


def run(context: Context[FakeSettings]) -> None:
    """Write `result.txt` and `deep/result.txt`, having kept a note in the scratch space first."""
    found = sorted(path.relative_to(context.out).as_posix() for path in context.out.rglob("*") if path.is_file())
    Spy.seen.append({"found": found, "first_rank": context.first_rank, "inputs": dict(context.inputs)})
    write_text(context.work / "half-way", "")
    write_text(context.out / "deep" / "result.txt", context.settings.text)
    if Spy.fail_with is not None:
        raise Spy.fail_with
    write_text(context.out / "result.txt", context.settings.text * 2)


def result(out: Path) -> tuple[str, str]:
    """What the stage has written."""
    return (out / "deep" / "result.txt").read_text(), (out / "result.txt").read_text()
