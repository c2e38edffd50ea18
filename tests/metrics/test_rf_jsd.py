"""RF-JSD against a loop over classes, and where `coun.evaluate` has it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

import coun
from coun.metrics.rf_jsd import rf_jsd


def test_it_is_a_loop_over_the_classes_that_both_have() -> None:
    generator = torch.Generator().manual_seed(0)
    forget, test = (torch.randn(n, 4, generator=generator).double() for n in (30, 50))
    a, b = torch.arange(30) % 3, torch.arange(50) % 2 + 1  # classes 1 and 2 are common
    expected = [
        # scipy gives the square root
        jensenshannon(forget.softmax(1)[a == c].mean(0), test.softmax(1)[b == c].mean(0)) ** 2
        for c in (1, 2)
    ]
    assert rf_jsd(forget, a, test, b) == pytest.approx(sum(expected) / 2)
    assert rf_jsd(forget, a, forget, a) == pytest.approx(0, abs=1e-12)
    p, q = (torch.stack([z.softmax(1)[y == c].mean(0) for c in (1, 2)]) / 2
            for z, y in ((forget, a), (test, b)))  # fmt: skip
    middle = (p + q) / 2
    of_code = sum(F.kl_div(x.log(), middle, reduction="batchmean") for x in (p, q)) / 2
    assert rf_jsd(forget, a, test, b, "reference") == pytest.approx(of_code.item())
    with pytest.raises(coun.CounError, match="RF-JSD definition 'other'"):
        rf_jsd(forget, a, test, b, "other")
    with pytest.raises(coun.CounError, match="no class has both"):
        rf_jsd(forget, a, test, 3 * torch.ones(50, dtype=torch.int64))


def test_it_compares_with_the_model_before_unlearning(original, split, small) -> None:
    run = coun.unlearn(original, split, "neggrad", epochs=1, batch_size=10, lr=1e-9)
    forget, test = split.rows(small, "forget"), small.test
    with torch.no_grad():
        seen = run.model(small.views.evaluate(small.train.images[forget]))
        unseen = original.model(small.views.evaluate(test.images))
    expected = rf_jsd(seen, small.train.labels[forget], unseen, test.labels)
    assert coun.evaluate(run)["rf_jsd"] == pytest.approx(expected, rel=1e-5)
    assert 0 < expected < math.log(2)
    assert "rf_jsd" not in coun.evaluate(original)


def test_it_is_left_out_where_a_class_is_forgotten_whole(original, small) -> None:
    split = coun.Split.by_class(small, 3)
    run = coun.unlearn(original, split, "neggrad", epochs=1, batch_size=10)
    assert "rf_jsd" not in coun.evaluate(run)
