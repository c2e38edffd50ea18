"""A Ray cluster gives the results of one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench.rows import reproducible

import coun
from coun.bench import bench


def test_workers_on_a_ray_cluster_give_the_results_of_one(
    config_file, tmp_path, monkeypatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(coun.__file__).parents[1]))
    config = config_file()
    on_ray = bench(config, tmp_path / "ray", workers=2, ray="local", quiet=True)
    alone = bench(config, tmp_path / "alone", quiet=True)
    assert not on_ray["failures"]
    assert reproducible(on_ray) == reproducible(alone)


def test_an_error_says_how_to_install_ray(config_file, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(coun.CounError, match=r"pip install 'coun\[ray\]'"):
        bench(config_file(), tmp_path / "out", ray="local", quiet=True)
