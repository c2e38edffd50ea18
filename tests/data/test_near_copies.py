"""Near-copies against a comparison of all pairs, and what must not be proposed."""

import numpy as np
import pytest
import torch
from numpy.linalg import norm

from coun.data import from_arrays
from coun.data.near_copies import near_copies
from coun.errors import CounError


def pixels(examples):
    return examples.fetch(torch.arange(len(examples))).flatten(1).float()


@pytest.fixture(scope="module")
def data():
    """60 training and 20 test rows; ten of each are row 0 to 9 with a little noise."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (40, 8, 8, 1), np.uint8)
    noisy = np.clip(images[:20] + draw.normal(0, 6, (20, 8, 8, 1)), 0, 255).astype(np.uint8)
    train = np.concatenate([images, noisy[:10], draw.integers(0, 255, (10, 8, 8, 1), np.uint8)])
    test = np.concatenate([noisy[10:], draw.integers(0, 255, (10, 8, 8, 1), np.uint8)])
    return from_arrays(train, np.arange(60) % 2, test, np.arange(20) % 2)


def test_like_a_comparison_of_all_pairs(data):
    rows = torch.tensor([0, 3, 11, 12])
    copies = near_copies(data, pixels, train=rows, least=0.97)
    values = torch.cat([pixels(data.train), pixels(data.test)]).numpy()
    expected = {}
    for place, value in enumerate(values):
        if place in rows:
            continue
        cosines = [value @ values[r] / norm(value) / norm(values[r]) for r in rows]
        if max(cosines) >= 0.97:
            expected["train" if place < 60 else "test", place % 60] = max(cosines)
    assert {(c.row.part, c.row.place) for c in copies} == set(expected)
    assert {(c.row.part, c.row.place) for c in copies} >= {("train", 40), ("train", 43)}
    for copy in copies:
        assert copy.similarity == pytest.approx(expected[copy.row.part, copy.row.place], abs=1e-5)
    assert [c.similarity for c in copies] == sorted([c.similarity for c in copies], reverse=True)


def test_named_and_forgotten_rows_are_not_proposed(data):
    rows = torch.tensor([0, 40])
    assert near_copies(data, pixels, train=rows) == []
    assert [c.row.place for c in near_copies(data, pixels, train=rows[:1])] == [40]
    assert near_copies(data, pixels, train=rows[:1], leave_out=torch.tensor([40])) == []


def test_a_named_test_row(data):
    number = data.test.numbers[:1]
    none = torch.zeros(0, dtype=torch.int64)
    [copy] = near_copies(data, pixels, train=none, test=number)
    assert (copy.row.part, copy.row.place, copy.like.part) == ("train", 10, "test")


def test_rows_that_are_deleted_are_not_compared(data):
    assert near_copies(data, pixels, train=torch.tensor([999])) == []


@pytest.mark.parametrize("least", [0, -1, 1.01, float("nan")])
def test_a_similarity_out_of_range(data, least):
    with pytest.raises(CounError, match="similarity of near-copies"):
        near_copies(data, pixels, train=torch.tensor([0]), least=least)


def test_features_that_are_not_finite(data):
    with pytest.raises(CounError, match="not finite"):
        near_copies(data, lambda x: pixels(x) / 0, train=torch.tensor([0]))
