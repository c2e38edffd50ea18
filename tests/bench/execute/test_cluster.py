"""A Ray cluster gives the table of one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.rows import reproducible

import coun
from coun.bench import bench


def test_a_local_head_of_two_gives_the_same_table(config_file, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(coun.__file__).parents[1]))
    config = config_file()
    there = bench(config, tmp_path / "ray", workers=2, ray="local", quiet=True)
    here = bench(config, tmp_path / "here", quiet=True)
    assert not there["failures"]
    assert reproducible(there) == reproducible(here)


def test_without_ray_it_says_what_to_do(config_file, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(coun.CounError, match=r"pip install 'coun\[ray\]'"):
        bench(config_file(), tmp_path / "out", ray="local", quiet=True)
