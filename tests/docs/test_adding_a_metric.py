"""The metric of docs/adding-a-metric.md works from a package outside this one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

PAGE = "adding-a-metric.md"
CONFIG = """
title = "A metric of another package"
seeds = [0]
metrics = ["retain_accuracy", "unlearn_accuracy", "forget_top3"]

[[workload]]
name = "digits"
model = "mlp"
data = { source = "digits", limit = 200, test_limit = 100 }
train = { epochs = 1 }

[[scenario]]
kind = "random"

[[method]]
name = "not"
"""


def test_the_example_agrees_with_scikit_learn(example: Callable[[str], ModuleType]) -> None:
    """The function of the page computes the top-3 accuracy that scikit-learn computes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 10, generator=generator)
    labels = torch.randint(10, (50,), generator=generator)
    expected = 100 * top_k_accuracy_score(labels, logits, k=3, labels=range(10))
    metric = example(PAGE).FORGET_TOP3
    assert metric.function(logits, labels) == pytest.approx(expected)


def test_evaluate_shows_the_metric(
    install: Callable[[str], Path], command: Callable[..., str]
) -> None:
    """`coun evaluate` computes the metric, writes it and shows it beside Retrain's value."""
    folder = install(PAGE)
    original, retrain, unlearned = (folder / name for name in ("original", "retrain", "unlearned"))
    training = ("train", "--data", "digits", "--limit", 200, "--model", "mlp", "--set", "epochs=1")
    request = ("--forget-fraction", 0.1, "--forget-seed", 0)
    printed = command(
        (*training, "--out", original),
        (*training, *request, "--out", retrain),
        ("unlearn", original, "--method", "not", *request, "--out", unlearned),
        ("evaluate", unlearned, "--against", retrain),
    )
    metrics = json.loads((unlearned / "metrics.json").read_text())
    assert 0 <= metrics["forget_top3"] <= 100
    assert 0 <= metrics["retrain"]["forget_top3"] <= 100
    assert "Top-3 accuracy on the forget rows (top-3)" in printed


def test_a_benchmark_has_a_column_for_the_metric(
    install: Callable[[str], Path], command: Callable[..., str]
) -> None:
    """A config that names the metric gives its label a column in the report."""
    folder = install(PAGE)
    (folder / "config.toml").write_text(CONFIG)
    command(("bench", folder / "config.toml", "--out", folder / "out", "--workers", 1))
    header = (folder / "out" / "report.md").read_text().split("| --- |")[0]
    assert "| RA | UA | top-3 | gap |" in header
