"""Progress of what takes long."""

from collections.abc import Callable, Iterator

import pytest

from segkit.core import progress

Slow = Callable[[str], Iterator[str]]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Items of which each takes a second."""
    seconds = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds)

    def items(letters: str) -> Iterator[str]:
        nonlocal seconds
        for letter in letters:
            seconds += 1
            yield letter

    return items


def test_lines_come_after_two_seconds_and_then_every_ten(slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked(slow("abcdefghijklmnop"), 16, "walk", "frame")) == list("abcdefghijklmnop")
    assert capsys.readouterr().out.splitlines() == [
        "walk: frame 2/16, 1.00 frames/s, 14 s left",
        "walk: frame 12/16, 1.00 frames/s, 4 s left",
    ]


def test_what_is_done_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked(range(1000), 1000, "walk", "frame")) == list(range(1000))
    assert capsys.readouterr().out == ""


def test_a_terminal_shows_a_row_and_gets_its_cursor_back(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.tracked(slow("abcde"), 5, "walk", "frame")) == list("abcde")
    shown = capsys.readouterr().out
    assert "walk frame 4/5, 1.00 frames/s, 1 s left" in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    assert shown.rindex("\x1b[?25h") > shown.rindex("walk")


def test_a_runner_gets_the_same_numbers_as_a_log(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(progress.RELAY, "1")
    list(progress.tracked(slow("abcd"), 4, "walk", "frame"))
    sent = [progress.relayed(line) for line in capsys.readouterr().out.rstrip("\n").split("\n")]
    expected = [progress.Progress("walk", "frame", done, 4, rate) for done, rate in ((1, None), (2, 1.0), (3, 1.0))]
    assert sent == [*expected, None]
    assert [shown.seconds_left for shown in expected] == [None, 2.0, 1.0]


def test_an_error_in_the_work_ends_the_report() -> None:
    def work() -> None:
        for _ in progress.tracked(range(5), 5, "walk", "frame"):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        work()
