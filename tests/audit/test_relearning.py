"""Relearning half of the forgotten rows: what comes back, and what cannot be trained."""

import pytest
import torch

import coun
from coun.audit.relearning import relearn_half
from coun.errors import CounError


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
