"""Code by name: imported only for who asked for it."""

import sys

import pytest

import coun
from coun.errors import CounError
from coun.trust import import_code, importable, is_code, source_digest

NET = """
from dataclasses import dataclass
from pathlib import Path
from torch import nn

Path(__file__).with_name("ran").touch()

@dataclass
class Width:
    hidden: int = 3

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "trusted_or_not.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if "trusted_or_not" in name]:
        del sys.modules[name]


def test_forms_of_names():
    assert all(map(is_code, ["a.b:c", "a:b.c", "../x y/z.py:C"]))
    assert not any(map(is_code, ["cnn", "a:", ":b", "ensemble:3x2:one_hot:200:cnn", "/tmp/x:y"]))


@pytest.mark.parametrize("name", ["trusted_or_not:net", "./trusted_or_not.py:net"])
def test_code_runs_only_for_who_asked_for_it(module, name):
    for trust in (False, frozenset(), frozenset({"other:net"})):
        with pytest.raises(CounError, match="coun runs none that you did not ask for"):
            import_code(name, "model", trust=trust)
    assert not (module / "ran").exists()
    path = list(sys.path)
    assert import_code(name, "model", trust=frozenset({name}))(4)[1].out_features == 4
    assert (module / "ran").exists()
    assert sys.path == path
    assert import_code(name.replace("net", "Width"), "model", trust=True)(5).hidden == 5


def test_a_file_that_fails_leaves_nothing_behind(module):
    (module / "trusted_or_not_broken.py").write_text("1 / 0")
    with pytest.raises(CounError, match="cannot import it: ZeroDivisionError"):
        import_code("trusted_or_not_broken.py:f", "model", trust=True)
    with pytest.raises(CounError, match="does not exist"):
        import_code("trusted_or_not_gone.py:f", "model", trust=True)
    assert not any("trusted_or_not_" in name for name in sys.modules)


def test_the_code_beside_a_file_can_be_imported(module):
    (module / "sub").mkdir()
    (module / "sub" / "trusted_or_not_too.py").write_text("value = 3")
    with importable("sub/any.py:f"):
        import trusted_or_not_too
    assert trusted_or_not_too.value == 3


def test_the_digest_is_of_the_file(module):
    first = source_digest(import_code("trusted_or_not:net", "model", trust=True))
    assert first == source_digest(import_code("trusted_or_not:Width", "model", trust=True))
    with pytest.raises(CounError, match="no source file"):
        source_digest(3)


def test_a_run_folder_runs_no_code(module):
    data = coun.load("digits", limit=50)
    coun.train(data, "trusted_or_not:net", epochs=1, out="run")
    (module / "ran").unlink()
    del sys.modules["trusted_or_not"]
    for use in (coun.Run.open, coun.evaluate, coun.unlearn, coun.audit.audit):
        with pytest.raises(CounError, match="model 'trusted_or_not:net' is code that a file names"):
            use("run")
    assert not (module / "ran").exists()
    assert coun.Run.open("run", trust=True).record.model.name == "trusted_or_not:net"
    assert coun.evaluate("run", trust=frozenset({"trusted_or_not:net"}))["counts"]
