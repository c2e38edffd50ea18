import errno
import json
import os
import stat
import subprocess
import sys
import tempfile

import pytest

from coun.errors import CounError
from coun.files import (
    atomically,
    locked,
    read_json,
    refuse_foreign,
    to_json,
    unsealed,
    write_json,
    write_sealed,
    write_text,
)


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_completely(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert os.listdir(path.parent) == ["a.txt"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomically(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("module", "name"), [(os, "replace"), (os, "fsync"), (tempfile, "mkstemp")]
)
def test_a_full_disk_is_reported_in_one_line_and_leaves_no_file(
    tmp_path, monkeypatch, module, name
):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with monkeypatch.context() as patch, pytest.raises(CounError) as caught:
        patch.setattr(module, name, full)
        write_text(path, "new")
    expected = f"cannot write {path}: No space left on device; free some space"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_in_place_of_a_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CounError, match="cannot write .*file/a.txt: "):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_files_have_the_users_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_json_has_null_where_a_number_is_not_finite(tmp_path):
    value = {"a": float("nan"), "b": [float("inf"), 1.5, (2, -float("inf"))], "ü": None}
    write_json(tmp_path / "a.json", value)
    expected = {"a": None, "b": [None, 1.5, [2, None]], "ü": None}
    assert read_json(tmp_path / "a.json") == expected
    assert json.loads(to_json(value)) == expected


def test_floats_survive_json_to_the_bit(tmp_path):
    values = [0.1, 1 / 3, 1e-300, 2.0**60]
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values


@pytest.mark.parametrize(
    "content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"nonsense", b"[NaN]", b'"\\ud800"', b"[" * 10**5]
)
def test_damaged_json_is_reported_in_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CounError, match="cannot be read as JSON") as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_json_is_reported_in_one_line(tmp_path):
    with pytest.raises(CounError, match="does not exist; expected a run folder"):
        read_json(tmp_path / "a.json")
    with pytest.raises(CounError, match="is not a file; expected JSON"):
        read_json(tmp_path)


def test_a_sealed_document_shows_every_change(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"b": 1, "a": [0.1, None]})
    assert unsealed(read_json(path), path, "") == ({"b": 1, "a": [0.1, None]}, True)
    for changed in ({"b": 2, "a": [0.1, None]}, {"b": 1}, {"b": 1, "a": [0.1, None], "c": 0}):
        document = {**changed, "sha256": read_json(path)["sha256"]}
        with pytest.raises(CounError, match=r"a\.json was changed.*; mend it"):
            unsealed(document, path, "mend it")
    for without in ([1], {"b": 1}, None):
        assert unsealed(without, path, "") == (without, False)


def test_a_lock_is_held_by_one_and_released_by_death(tmp_path):
    code = "import os; from pathlib import Path; from coun.files import locked;"
    code += f"lock = locked(Path({str(tmp_path)!r})); lock.__enter__(); os._exit(9)"
    with locked(tmp_path), pytest.raises(CounError, match="another process is writing"):
        locked(tmp_path).__enter__()
    assert not list(tmp_path.iterdir())
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_text_that_is_not_unicode_is_one_line(tmp_path):
    with pytest.raises(CounError, match="not valid Unicode"):
        write_json(tmp_path / "a.json", {"name": "caf\udce9"})
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path):
    refuse_foreign(tmp_path / "new", "a.json")
    refuse_foreign(tmp_path, "a.json")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CounError, match="is not empty and holds no a.json"):
        refuse_foreign(tmp_path, "a.json", "b.json")
    with pytest.raises(CounError, match="is a file; expected a folder"):
        refuse_foreign(tmp_path / "notes.txt", "a.json")
    (tmp_path / "b.json").touch()
    refuse_foreign(tmp_path, "a.json", "b.json")
