"""The attack through neighbouring classes finds what the forgotten class itself hides."""

from __future__ import annotations

import pytest
import torch

from coun.attacks.neighbours import neighbour_attack


def rows(count: int, shift: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    logits[:, 1] += shift  # how strongly rows of class 0 look like class 1
    return logits, torch.zeros(count, dtype=torch.int64)


def test_rows_that_look_alike_among_the_others_cannot_be_told() -> None:
    value = neighbour_attack(*rows(400, 1.0, 0), *rows(400, 1.0, 1))
    assert value == pytest.approx(50, abs=6)


def test_the_forgotten_class_itself_does_not_count() -> None:
    forget, labels = rows(300, 3.0, 0)
    unseen, others = rows(300, 0.0, 1)
    value = neighbour_attack(forget, labels, unseen, others)
    assert value > 90
    hidden = forget.clone()
    hidden[:, 0] = -50.0  # a method that only suppresses the class changes nothing
    assert neighbour_attack(hidden, labels, unseen, others) == pytest.approx(value)


def test_too_few_rows_have_no_value() -> None:
    assert neighbour_attack(*rows(9, 0.0, 0), *rows(50, 0.0, 1)) is None
