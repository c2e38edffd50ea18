"""A bench whose experiments are computed by all processes of torchrun together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from coun.bench import bench

# Without BatchNorm and random views, and with even batches, the joint batches are the same.
CONFIG = """
title = "two ranks"
seeds = [0]
floor = []

[[workload]]
name = "digits"
model = "mlp"
data = { source = "digits", limit = 200, test_limit = 100, views = "N" }
train = { epochs = 2, batch_size = 20 }

[[scenario]]
kind = "random"

[[method]]
name = "coun"
settings = { epochs = 1, batch_size = 20 }
"""


def torchrun(config: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "coun"]
    command = [sys.executable, *launch, "bench", str(config), "--out", str(out), "--json", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def models(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of every model in the store, by title."""
    specs = [path for path in out.glob("store/*/experiment.json") if (path.parent / "run").exists()]
    return {
        json.loads(path.read_text())["title"]: load_file(path.parent / "run" / "model.safetensors")
        for path in specs
    }


def test_two_processes_make_the_models_and_the_results_of_one(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    done = torchrun(config, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    two, one = json.loads(done.stdout), bench(config, tmp_path / "one", quiet=True)
    joint, alone = models(tmp_path / "two"), models(tmp_path / "one")
    assert set(joint) == set(alone)
    assert len(alone) == 3
    for title, weights in alone.items():
        for name, value in weights.items():
            torch.testing.assert_close(joint[title][name], value, rtol=1e-3, atol=1e-5)
    for joint_record, single_record in zip(two["rows"], one["rows"], strict=True):
        assert joint_record["row"] == single_record["row"]
        assert (
            joint_record["model"] != single_record["model"]
        )  # the number of processes enters the hash
        assert (
            abs(joint_record["unlearn_accuracy"] - single_record["unlearn_accuracy"]) <= 5.1
        )  # one of 20 rows
    assert (tmp_path / "two" / "report.html").exists()

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("two/store/*/done.json")}
    again = torchrun(config, tmp_path / "two")
    assert json.loads(again.stdout) == two
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_workers_are_refused_under_torchrun(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    done = torchrun(config, tmp_path / "out", "--workers", "2")
    assert done.returncode != 0
    assert "remove --workers and --ray" in done.stderr
    assert not list(tmp_path.glob("out/store/*"))
