"""TRW: its target against a loop, the tilt, and the contrastive module."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import coun
from coun.methods.trw import tilted


def test_the_target_is_a_loop_over_the_classes_that_are_left() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64)
    labels, left = torch.tensor([0, 1, 4, 2]), torch.tensor([True, False, True, True, True])
    head = torch.randn(5, 3, dtype=torch.float64)
    similarity = F.normalize(head, dim=1) @ F.normalize(head, dim=1).T
    target = tilted(logits, labels, similarity, left, 3.0)
    for row, label in enumerate(labels.tolist()):
        weights = {}
        for k in range(5):
            if k != label and left[k]:
                cosine = float(head[label] @ head[k] / (head[label].norm() * head[k].norm()))
                weights[k] = float(logits[row].softmax(0)[k]) * math.exp(3.0 * cosine)
        for k in range(5):
            expected = weights.get(k, 0.0) / sum(weights.values())
            assert float(target[row, k]) == pytest.approx(expected)


def test_the_tilt_is_the_nearest_distribution_with_its_mean_similarity() -> None:
    # Any other distribution with the same mean of s has a larger KL divergence to p.
    p, s = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([0.9, 0.1, 0.4]).double()
    q = tilted(
        torch.cat([torch.zeros(1), p.log()])[None].double(),
        torch.tensor([0]),
        torch.cat([torch.ones(1), s])[None].double().expand(4, 4),
        torch.ones(4).bool(),
        2.0,
    )[0, 1:]
    # The direction that keeps the sum and the mean similarity.
    d = torch.linalg.cross(torch.ones(3).double(), s)
    for size in (0.01, -0.01):
        other = q + size * d
        assert (other * (other / p).log()).sum() > (q * (q / p).log()).sum()


def test_it_takes_the_contrastive_module(fitted, small) -> None:
    split = coun.Split.by_class(small, 3)
    run = coun.unlearn(fitted, split, "trw", epochs=1, contrast={"weight": 0.1})
    assert run.record.method.name == "trw+info_nce"
