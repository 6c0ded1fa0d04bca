"""Progress of what takes long."""

import itertools

import pytest

from segkit.cli import progress


@pytest.fixture
def second_long_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second after the last."""
    clock = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))


@pytest.mark.usefixtures("second_long_steps")
def test_lines_come_after_two_seconds_and_then_every_ten(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked(iter("abcdefghijklmnop"), 16, "walk", "frame")) == list("abcdefghijklmnop")
    assert capsys.readouterr().out.splitlines() == [
        "walk: frame 2/16, 1.00 frames/s, 14 s left",
        "walk: frame 12/16, 1.00 frames/s, 4 s left",
    ]


def test_what_is_done_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked(range(1000), 1000, "walk", "frame")) == list(range(1000))
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("second_long_steps")
def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    assert list(progress.tracked(range(5), 5, "walk", "frame")) == [0, 1, 2, 3, 4]
    shown = capsys.readouterr().out
    assert "walk" in shown
    assert "5/5" in shown
    assert "frames/s" in shown


def test_an_error_in_the_work_ends_the_report() -> None:
    def work() -> None:
        for _ in progress.tracked(range(5), 5, "walk", "frame"):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        work()
