"""Relearning half of the forgotten rows: what comes back, and what cannot be trained."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import coun
from coun.audit import Subject, models
from coun.audit.rank_tests import Groups
from coun.audit.relearning import relearn_half, rescaling
from coun.audit.scores import RelearnedHalf
from coun.errors import CounError
from coun.runs import predictions


def test_both_halves_are_relearned_and_the_model_is_not_changed(plain, memoriser, retrains):
    """A model that saw the rows answers more of them rightly all along."""
    split = coun.Split.by_class(plain, 3)
    before = [w.clone() for w in memoriser.model.parameters()]
    remembered = relearn_half(memoriser, split).right
    assert remembered.shape == (len(split.forget),)
    assert set(remembered.round() % 20) == {0}
    never = relearn_half(coun.train(plain, "cnn", split=split, seed=3, epochs=8), split).right
    assert remembered.mean() > never.mean() + 20
    assert all(torch.equal(a, b) for a, b in zip(before, memoriser.model.parameters(), strict=True))


def test_logits_beyond_training_are_named(split, original):
    with torch.no_grad():
        for weight in original.classifier.head.parameters():
            weight.mul_(1e30)
    with pytest.raises(CounError, match=r"logits up to .*e\+\d\d, .*divide the weights"):
        relearn_half(original, split)


def scaled(run, factor):
    """*run* with its logits multiplied by *factor*."""
    model = copy.deepcopy(run.model)
    scaled = replace(run, model=model)
    with torch.no_grad():
        for weight in scaled.classifier.head.parameters():
            weight.mul_(factor)
    return scaled


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_the_temperature_of_a_model_does_not_change_what_it_relearns(plain, factor):
    """With a power of two, the brought-back weights have the same bits, and so has all else."""
    split = coun.Split.by_class(plain, 3)
    retrain = coun.train(plain, "mlp", split=split, epochs=8)
    other = scaled(retrain, factor)
    subjects = [Subject("x", predictions(r.classifier, plain, split), r) for r in (retrain, other)]
    assert rescaling(subjects, subjects[:1]) == [1, 1 / factor]
    assert rescaling(subjects, []) == [1, 1]
    plainly, brought_back = (
        relearn_half(retrain, split),
        relearn_half(other, split, rescale=1 / factor),
    )
    assert (plainly.right == brought_back.right).all()
    assert (plainly.log_odds.test == brought_back.log_odds.test).all()
    assert (relearn_half(other, split).right != plainly.right).any()


@pytest.mark.parametrize(
    ("scale", "of_rescaled", "of_own", "counts"),
    [(4.0, 60.0, 10.0, 10.0), (4.0, 10.0, 60.0, 10.0), (0.25, 60.0, 10.0, 60.0)],
)
def test_of_smaller_logits_the_copy_counts_that_brings_back_less(
    monkeypatch, plain, scale, of_rescaled, of_own, counts
):
    """Larger logits always relearn as the Retrains' do, so that nothing can be hidden by them.

    A network after strong weight decay that answers none of 11 deleted rows with its wrong label
    was called under-forgotten, because it relearned them sooner with larger logits.
    """

    def half(run, split, *, seed, rescale=1.0):
        right = np.full(3, of_own if rescale == 1 else of_rescaled)
        return RelearnedHalf(np.arange(3), Groups(right, right), right)

    monkeypatch.setattr(models, "relearn_half", half)
    split = coun.Split.by_class(plain, 3)
    assert models._relearned(plain, split, 0, scale).right.mean() == counts


def test_a_head_that_shares_its_weights_is_not_rescaled(plain):
    """Another layer would change with it."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.middle, self.head = (
                nn.Linear(64, 10),
                nn.Linear(10, 10),
                nn.Linear(10, 10),
            )
            self.middle.weight = self.head.weight

        def forward(self, x):
            return self.head(self.middle(self.first(x.flatten(1)).relu()).relu())

    split = coun.Split.by_class(plain, 3)
    run = coun.train(plain, Tied, split=split, epochs=2)
    plainly, rescaled = (relearn_half(run, split, rescale=s) for s in (1.0, 4.0))
    assert (plainly.log_odds.test == rescaled.log_odds.test).all()
