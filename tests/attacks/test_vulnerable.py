"""RULI looks where an average over rows does not."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.attacks.vulnerable import RULI, vulnerable_rows
from coun.metrics import Measurements

ROWS, MODELS = 40, 8
LABELS = torch.zeros(ROWS, dtype=torch.int64)


def models(shift: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """Logits of two classes; *shift* (N,) is the mean of the true class's logit."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.stack([shift + 0.1 * torch.randn(ROWS, generator=generator), torch.zeros(ROWS)], 1)
        for _ in range(MODELS)
    ]


def groups(unlearned_shift: torch.Tensor) -> tuple[list[torch.Tensor], ...]:
    known = torch.zeros(ROWS)
    known[:4] = 5.0  # training changes only these rows
    return models(unlearned_shift, 0), models(torch.zeros(ROWS), 1), models(known, 2)


def test_the_rows_that_originals_know_are_attacked_one_by_one() -> None:
    left = torch.zeros(ROWS)
    left[0] = 5.0  # one row is still known
    attacked = vulnerable_rows(*groups(left), LABELS)
    assert set(attacked.slots) == {0, 1, 2, 3}
    by_row = dict(zip(attacked.slots, attacked.accuracy, strict=True))
    assert by_row[0] == 100
    assert max(by_row[k] for k in (1, 2, 3)) < 90
    assert min(attacked.vulnerability) > 10
    inputs = dict(
        zip(
            ("runs.forget.logits", "original.runs.forget.logits"),
            (groups(left)[0], groups(left)[2]),
            strict=True,
        )
    )
    retrain = Measurements({"runs.forget.logits": groups(left)[1]})
    measured = Measurements({**inputs, "forget.labels": LABELS}, retrain=retrain)
    assert measured[RULI.name] == pytest.approx(sum(by_row.values()) / 4)


def test_too_few_models_are_refused() -> None:
    few = [group[:2] for group in groups(torch.zeros(ROWS))]
    with pytest.raises(coun.CounError, match="expected at least 3, 3 and 2"):
        vulnerable_rows(*few, LABELS)
