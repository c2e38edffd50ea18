"""LoTUS: its targets, temperature and stop."""

from __future__ import annotations

import math

import pytest
import torch

import coun
from coun.methods.lotus import expected_accuracy, gumbel_softmax


def test_hard_draws_follow_the_probabilities_and_soft_ones_tend_to_them() -> None:
    logits = torch.tensor([0.5, 0.2, 0.3]).log().repeat(20_000, 1)
    hard, cold, warm = (
        gumbel_softmax(logits, torch.Generator().manual_seed(3), tau) for tau in (0.0, 1e-3, 50.0)
    )
    torch.testing.assert_close(hard.mean(0), torch.tensor([0.5, 0.2, 0.3]), atol=0.01, rtol=0)
    assert (hard - cold).abs().mean() < 0.01
    assert float(warm.max()) < 0.5
    # The same noise through the definition.
    noise = -torch.empty(4, 3).exponential_(generator=torch.Generator().manual_seed(1)).log()
    drawn = gumbel_softmax(logits[:4], torch.Generator().manual_seed(1), 2.0)
    torch.testing.assert_close(drawn, ((logits[:4] + noise) / 2).softmax(1))


def test_classes_that_are_forgotten_whole_count_with_an_accuracy_of_0(
    small, original, make_task
) -> None:
    part = coun.Split.random(small, 0.2)
    for split, factor in ((part, 1.0), (coun.Split.by_class(small, 3), 0.0)):
        task = make_task(small, original.model, split, reads=("retain", "forget", "held_out"))
        task.held_out = small.test
        rows = small.views.evaluate(small.test.images)
        with torch.no_grad():
            right = original.model(rows).argmax(1) == small.test.labels
        assert expected_accuracy(task) == pytest.approx(factor * 100 * right.double().mean())


def test_the_temperature_is_the_exponential_of_the_difference(fitted, split, small) -> None:
    run = coun.unlearn(fitted, split, "lotus", epochs=1, batch_size=32, alpha=2.0)
    held = split.calibration_rows(small)
    x, y = small.views.evaluate(small.test.images[held]), small.test.labels[held]
    forget = split.rows(small, "forget")
    with torch.no_grad():
        unseen = (fitted.model(x).argmax(1) == y).double().mean()
        shown = small.views.evaluate(small.train.images[forget])
        known = (fitted.model(shown).argmax(1) == small.train.labels[forget]).double().mean()
    assert run.record.stages[0].endswith(f"tau {math.exp(2 * float(known - unseen)):.3f}")


def test_it_ends_when_forget_rows_are_known_no_better_than_others(fitted, split) -> None:
    at_once = coun.unlearn(fitted, split, "lotus", epochs=4, batch_size=32, stop=100)
    assert at_once.record.cost.steps == 0
    never = coun.unlearn(fitted, split, "lotus", epochs=4, batch_size=32, stop=-100)
    assert len(never.record.stages) == 4


def test_only_a_share_of_the_retain_rows_is_read(fitted, split) -> None:
    run = coun.unlearn(fitted, split, "lotus", epochs=2, batch_size=27, share=0.3, stop=-100)
    # 51 of 170 retain rows and 30 forget rows in 3 steps.
    assert run.record.cost.samples_seen == 2 * (51 + 30)
