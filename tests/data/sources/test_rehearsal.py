"""Stand-ins for the data sets of the paper have their classes and shapes."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.data.public import SETS


@pytest.mark.parametrize("name", SETS)
def test_classes_and_shape_are_those_of_the_data_set(name: str) -> None:
    data, facts = coun.load(f"rehearsal:{name}"), SETS[name]
    assert (len(data.classes), data.shape) == (facts.classes, facts.shape)
    assert data.train.labels.bincount().tolist() == [4] * facts.classes
    assert len(data.test) == facts.classes
    if facts.names:
        assert data.classes == facts.names
        assert len(set(facts.names)) == facts.classes


def test_the_seed_fixes_the_images_and_the_options_the_sizes() -> None:
    pair = [coun.load("rehearsal:cifar-10,train=30,test=20") for _ in range(2)]
    other = coun.load("rehearsal:cifar-10,train=30,test=20,seed=1")
    assert torch.equal(pair[0].train.images, pair[1].train.images)
    assert not torch.equal(pair[0].train.images, other.train.images)
    assert (len(other.train), len(other.test)) == (30, 20)


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("cifar-11", "did you mean 'cifar-1"),
        ("cifar-10,train=9", "expected 10 or more"),
        ("cifar-10,rows=9", "unknown option of a rehearsal 'rows'"),
        ("cifar-10,train=x", "expected a whole number"),
    ],
)
def test_wrong_spellings_are_refused(spelling: str, words: str) -> None:
    with pytest.raises(coun.CounError, match=words):
        coun.load(f"rehearsal:{spelling}")
