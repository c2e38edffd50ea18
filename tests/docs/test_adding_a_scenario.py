"""The requests of docs/adding-a-scenario.md work from a package outside this one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from scipy.stats import entropy

import coun
from coun.data.requests import ModelPredictions

PAGE = "adding-a-scenario.md"
CONFIG = """
title = "Requests of another package"
seeds = [0]

[[workload]]
name = "digits"
model = "mlp"
data = { source = "digits", limit = 200, test_limit = 100 }
train = { epochs = 1 }

[[scenario]]
kind = "brightest"
fraction = 0.05

[[scenario]]
kind = "uncertain"

[[method]]
name = "not"
"""


def test_the_brightest_images_are_forgotten(example: Callable[[str], ModuleType]) -> None:
    """No retained image is brighter than a forgotten one."""
    data = coun.load("digits", limit=200)
    split = coun.Split.of(data, example(PAGE).Brightest(fraction=0.05))
    brightness = {
        role: data.train.fetch(split.rows(data, role)).float().mean((1, 2, 3))
        for role in ("forget", "retain")
    }
    assert len(split.forget) == 10
    assert brightness["forget"].min() >= brightness["retain"].max()


def test_the_most_uncertain_rows_are_forgotten(example: Callable[[str], ModuleType]) -> None:
    """The scores are the entropies that SciPy computes, and the highest are chosen."""
    data = coun.load("digits", limit=200)
    logits = torch.randn(200, 10, generator=torch.Generator().manual_seed(0))
    original = ModelPredictions(logits, torch.zeros(200, 4), torch.ones(200, dtype=torch.bool))
    request = example(PAGE).Uncertain(fraction=0.05)
    scores = request.score([original], data)
    expected = torch.from_numpy(entropy(logits.double().softmax(1).numpy(), axis=1))
    torch.testing.assert_close(torch.from_numpy(scores), expected)
    split = coun.Split.of(data, request, scores=scores)
    assert sorted(split.rows(data, "forget").tolist()) == sorted(expected.topk(10).indices.tolist())


def test_the_bench_runs_both_scenarios(
    install: Callable[[str], Path], command: Callable[..., str]
) -> None:
    """A config names the requests by their kinds; the scores come from the bench's Original."""
    folder = install(PAGE)
    (folder / "config.toml").write_text(CONFIG)
    out = folder / "out"
    command(("bench", folder / "config.toml", "--out", out, "--workers", 1))
    rows = json.loads((out / "results.json").read_text())["rows"]
    scenarios = {row["scenario"] for row in rows if row["method"] == "not"}
    assert scenarios == {"brightest 5%", "uncertain high 10%"}
