import hashlib
import json
import os
import stat

import pytest

from segkit.core.files import as_csv, atomic_path, read_csv, read_json, sha256_file, sha256_json, write_json, write_text


def test_a_file_appears_whole_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "folder" / "a.json"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert [item.name for item in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("mishap", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path, mishap):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise mishap

    with pytest.raises(mishap):
        write()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_block_may_replace_its_temporary_file_by_another(tmp_path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        (tmp_path / "b").write_text("other")
        (tmp_path / "b").replace(temporary)
    assert (tmp_path / "a.txt").read_text() == "other"


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_json_keeps_order_and_signs(tmp_path):
    value = {"z": [1, 2.5, None], "a": "Größe", "m": {"b": True}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.index('"z"') < text.index('"a"')
    assert "Größe" in text
    assert json.loads(text) == value == read_json(tmp_path / "a.json")


def test_what_cannot_be_json_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_files_digest_is_that_of_its_bytes(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_values_digest_does_not_depend_on_the_order_of_keys():
    assert sha256_json({"a": 1, "b": [1, 2]}) == sha256_json({"b": [1, 2], "a": 1})
    assert sha256_json({"a": 1, "b": [1, 2]}) != sha256_json({"a": 1, "b": [2, 1]})
    assert sha256_json({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_a_cell_that_was_not_measured_stays_empty():
    rows = [{"a": 1.0}, {"a": 2 / 3, "b": 1e-12}, {"a": None, "b": "x"}]
    assert as_csv(rows, float_format=".3g") == "a,b\n1,\n0.667,1e-12\n,x\n"
    assert as_csv([{"a": 1.0, "c": 2}, {"b": "x"}], ("b", "a")) == "b,a\n,1.0\nx,\n"


def test_a_csv_file_holds_every_digit(tmp_path):
    (tmp_path / "numbers.csv").write_text(as_csv([{"a": 2 / 3, "b": None}]))
    (row,) = read_csv(tmp_path / "numbers.csv")
    assert (float(row["a"]), row["b"]) == (2 / 3, "")
