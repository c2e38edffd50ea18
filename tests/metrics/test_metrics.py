"""Accuracies by hand, and the average gap of the rows printed in the paper."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from coun import CounError
from coun.metrics import accuracy, average_gap, unlearn_accuracy


def test_accuracy_counts_rows_and_ties_go_to_the_lowest_class() -> None:
    logits = torch.tensor([[1.0, 1.0], [0.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 1])) == 75
    assert accuracy(logits[:1], torch.tensor([1])) == 0
    assert unlearn_accuracy(logits, torch.tensor([0, 1, 1, 1])) == 25


def test_average_gap_of_the_rows_in_the_paper(shared: Path) -> None:
    names = ("retain_acc", "unlearn_acc", "test_acc", "mia")
    ours = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")
    with open(shared / "spec" / "paper-results.csv") as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if (r["table"], r["dataset"], r["model"]) == ("2", "CIFAR-100", "ResNet-18")
        ]
    values = {r["method"]: {o: float(r[n]) for o, n in zip(ours, names, strict=True)} for r in rows}
    assert len(rows) == 7
    wrong = {
        row["method"]
        for row in rows
        if abs(average_gap(values[row["method"]], values["Retrain"]) - float(row["avg_gap"]))
        > 0.011
    }
    assert wrong == {"SalUn"}  # its printed 2.95 does not follow from its own row: 3.20


def test_average_gap_needs_every_metric() -> None:
    with pytest.raises(CounError, match="Retrain has no retain_accuracy"):
        average_gap(dict.fromkeys(("retain_accuracy",), 1.0), {})
