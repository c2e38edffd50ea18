"""Divergences against worked examples, SciPy and PyTorch."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch.nn import functional as F

from coun import CounError
from coun.metrics import (
    activation_distance,
    agreement,
    js_divergence,
    js_rows,
    kl_divergence,
    probabilities,
    zero_retrain_forgetting,
)

P = torch.tensor([[0.9, 0.1], [0.6, 0.4]], dtype=torch.float64)
UNIFORM = torch.full((2, 2), 0.5, dtype=torch.float64)


@pytest.fixture
def two():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(40, 5, generator=generator, dtype=torch.float64) * 2 for _ in range(2)]


def test_worked_examples():
    each = [js_divergence(P[[i]], UNIFORM[[i]]) for i in range(2)]
    # The two values were printed with errors of 4.6e-9; decimal arithmetic agrees with ours.
    assert each == pytest.approx([0.1017492297, 0.0050593853], abs=5e-9)
    assert each[0] == pytest.approx(
        (0.9 * math.log(9 / 7) - 0.1 * math.log(3) + 0.5 * math.log(25 / 21)) / 2, abs=1e-15
    )
    assert js_divergence(P, UNIFORM) == pytest.approx(sum(each) / 2)
    assert zero_retrain_forgetting(P, UNIFORM) == pytest.approx(0.9465956925, abs=1e-10)
    reference = zero_retrain_forgetting(P, UNIFORM, "reference")
    assert reference == pytest.approx(0.9692373824, abs=1e-10)
    for norm, expected in (("l2", 0.3535533906), ("rms", 0.4123105626), ("l1", 0.5)):
        assert activation_distance(P, UNIFORM, norm) == pytest.approx(expected, abs=1e-10)


def test_js_is_the_square_of_the_distance_of_scipy(two):
    p, q = map(probabilities, two)
    assert js_divergence(p, q) == pytest.approx(np.mean(jensenshannon(p, q, axis=1) ** 2))
    assert js_divergence(p, q) == js_divergence(q, p)


def test_kl_is_that_of_torch_and_not_symmetric(two):
    p, q = map(probabilities, two)
    log_q = F.log_softmax(two[1], 1)
    expected = F.kl_div(log_q, torch.from_numpy(p), reduction="batchmean")
    assert kl_divergence(p, q) == pytest.approx(float(expected))
    assert kl_divergence(q, p) != pytest.approx(kl_divergence(p, q), abs=0.01)


def test_certain_predictions_do_not_give_nan():
    sure = torch.eye(2)
    assert js_divergence(sure, sure.flip(0)) == pytest.approx(math.log(2), abs=1e-15)
    assert js_divergence(sure, sure) == kl_divergence(sure, sure) == 0
    assert kl_divergence(sure, UNIFORM) == pytest.approx(math.log(2))
    assert kl_divergence(UNIFORM, sure) == math.inf
    assert zero_retrain_forgetting(sure, UNIFORM, "reference") == -math.inf


def test_js_is_exact_for_the_smallest_numbers():
    tiny = torch.tensor([[1.0, 5e-324]], dtype=torch.float64)
    assert js_divergence(tiny, torch.tensor([[1.0, 0.0]])) == pytest.approx(0, abs=1e-300)


def test_tensors_of_half_precision_that_need_gradients_are_accepted():
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    computed = probabilities(logits)
    assert computed.dtype == np.float64
    assert computed[0, 1] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-15)


def test_agreement_counts_equal_predictions():
    a, b = [[1, 0], [0, 1], [2, 2], [0, 3]], [[5, 1], [1, 0], [1, 0], [0, 1]]
    assert agreement(a, b) == 75
    assert agreement(a, a) == 100


def test_distances_are_ordered_as_their_norms(two):
    p, q = map(probabilities, two)
    l2, rms, l1 = (activation_distance(p, q, norm) for norm in ("l2", "rms", "l1"))
    assert l2 <= rms
    assert l2 <= l1
    assert activation_distance(p, p) == 0


def test_arguments_that_are_not_distributions_are_refused(two):
    p = probabilities(two[0])
    with pytest.raises(CounError, match="do not sum to 1"):
        js_divergence(two[0], p)
    with pytest.raises(CounError, match="do not sum to 1"):
        kl_divergence(torch.full((2, 3), float("nan")), torch.full((2, 3), 1 / 3))
    with pytest.raises(CounError, match="expected one shape"):
        kl_divergence(p, p[:3])
    with pytest.raises(CounError, match="none of them empty"):
        agreement(p[:0], p[:0])
    with pytest.raises(CounError, match="ZRF definition"):
        zero_retrain_forgetting(p, p, "other")
    with pytest.raises(CounError, match="norm 'l3'"):
        activation_distance(p, p, "l3")


def test_js_rows_are_what_js_divergence_averages():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), 5), rng.dirichlet(np.ones(4), 5)
    rows = js_rows(p, q)
    each = [js_divergence(a[None], b[None]) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(rows, each)
