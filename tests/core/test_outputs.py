"""Where a command is to write."""

import os
from pathlib import Path

import pytest

from segkit.core.errors import RequestError
from segkit.core.outputs import FINISHED, check_file, check_folder


@pytest.mark.parametrize("name", ["", "new", "new/deep/er", "link", "link/new"])
def test_folders_that_are_there_or_can_be_made_do_and_none_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    check_folder(tmp_path / name, "--out")
    check_file(tmp_path / name / "a.png", "--out", (".gif", ".png"))
    assert {path.name for path in tmp_path.iterdir()} == {"there", "link"}


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "there.png"])
def test_files_of_the_right_ending_do_whether_they_are_there_or_not(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.png").touch()
    check_file(tmp_path / name, "--grid", (".png",))
    check_file(tmp_path / name, "--json")


def test_a_path_without_a_folder_lies_in_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path("new"))
    check_file(Path("a.png"), "--out")
    Path("file").touch()
    with pytest.raises(RequestError, match=r"^--out file/a\.png "):
        check_file(Path("file/a.png"), "--out")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file", "a file"),
        ("new.PNG", "name of a file"),
        ("nowhere", "a file"),
        ("file/a", "below .*/file"),
        ("file/a/b", "below .*/file"),
    ],
)
def test_what_can_be_no_folder_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")  # a link to nothing cannot become a folder
    with pytest.raises(RequestError, match=reason) as caught:
        check_folder(tmp_path / name, "--out")
    assert str(caught.value).startswith(f"--out {tmp_path / name} ")


@pytest.mark.parametrize("name", [".", "images", "images/new"])
def test_the_folder_of_a_finished_stage_is_refused_and_all_below_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "stage" / "images").mkdir(parents=True)
    check_folder(tmp_path / "stage" / name, "--out")
    (tmp_path / "stage" / FINISHED).touch()
    with pytest.raises(RequestError, match=str(tmp_path / "stage")):
        check_folder(tmp_path / "stage" / name, "--out")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is a folder; .*png, .gif or .webp"),
        ("walk", ".png, .gif or .webp"),
        ("walk.avi", ".png, .gif or .webp"),
        ("folder.png", "is a folder; .*png, .gif or .webp"),
        ("file/a.png", "below .*/file"),
        ("pipe.png", "not a regular file"),
    ],
)
def test_what_can_be_no_file_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(RequestError, match=reason):
        check_file(tmp_path / name, "--out", (".png", ".gif", ".webp"))


def test_the_message_names_the_allowed_endings(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"mix\.jpg .*\.png$"):
        check_file(tmp_path / "mix.jpg", "--out", (".png",))
    with pytest.raises(RequestError, match=r"is a folder; name a file$"):
        check_file(tmp_path, "--json")


def test_a_folder_that_is_not_writable_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", access)  # the superuser may write anywhere
    with pytest.raises(RequestError, match=f": {tmp_path} is not writable"):
        check_folder(tmp_path / "a" / "b")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
