"""l1-sparse: the effect of the penalty on a step, and when it ends."""

from __future__ import annotations

import pytest
import torch
from methods.closed_form import ONE_STEP, close, moved

import coun
from coun.methods import make


def test_a_step_moves_every_weight_by_rate_times_gamma_times_sign(original, split):
    plain = coun.unlearn(original, split, "finetune", **ONE_STEP).model
    run = coun.unlearn(original, split, "l1_sparse", gamma=0.01, **ONE_STEP)
    signs = [p.detach().sign() for p in original.model.parameters()]
    close(moved(run.model, plain), [-0.1 * 0.01 * s for s in signs], atol=3e-7)


@pytest.mark.parametrize(
    ("until", "weights"),
    [
        (None, [0.4, 0.3, 0.2, 0.1, 0.04]),
        (5, [0.4, 0.2, 0, 0, 0]),
        (10, [0.4, 0.3, 0.2, 0.1, 0.04]),
    ],
)
def test_the_weight_falls_linearly_to_zero(until, weights):
    method = make("l1_sparse", {"gamma": 0.4, "until": until, "epochs": 10, "batch_size": 5})
    (stage,) = method.plan(None, None)
    (_, _), (weight, _) = stage.phases[0].objective.parts
    assert [weight(p) for p in (0, 0.25, 0.5, 0.75, 0.9)] == pytest.approx(weights)


@pytest.mark.parametrize(
    ("until", "weights"), [(None, [0.4, 0.4, 0.36, 0.28, 0.04]), (5, [0.4, 0.4, 0.32, 0.16, 0])]
)
def test_by_epoch_the_weight_is_that_of_the_authors_code(until, weights):
    """gamma * (1 - epoch / epochs of the penalty), as their loop computes it, for 10 epochs."""
    settings = {"gamma": 0.4, "until": until, "decay": "epoch", "epochs": 10, "batch_size": 5}
    (stage,) = make("l1_sparse", settings).plan(None, None)
    (_, _), (weight, _) = stage.phases[0].objective.parts
    # 30 steps; the first and the last of epoch 0, the first of epochs 1, 3 and 9.
    assert [weight(step / 30) for step in (0, 2, 3, 9, 27)] == pytest.approx(weights)


def test_the_record_names_the_decay_only_where_it_is_set():
    assert "decay" not in make("l1_sparse").settings()
    assert make("l1_sparse", {"decay": "epoch"}).settings()["decay"] == "epoch"


def test_after_its_end_the_penalty_is_not_evaluated(original, split, monkeypatch):
    seen = []
    term = "coun.methods.l1_sparse.l1_norm"
    monkeypatch.setattr(
        term, lambda step: (seen.append(step.progress), step.outputs("retain").logits.sum())[1] * 0
    )
    coun.unlearn(original, split, "l1_sparse", epochs=4, until=1, batch_size=64)
    assert seen == [0, 1 / 12, 2 / 12]


def test_more_gamma_leaves_smaller_weights(original, split):
    def size(gamma):
        run = coun.unlearn(original, split, "l1_sparse", gamma=gamma, epochs=2, batch_size=32)
        return sum(p.abs().sum().item() for p in run.model.parameters())

    sizes = [size(g) for g in (0, 1e-3, 1e-2)]
    assert sizes == sorted(sizes, reverse=True)
    assert torch.tensor(sizes).diff().max() < -1
