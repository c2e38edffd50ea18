"""The SVC attack on a worked example; merged rows against a plain fit of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from coun import CounError
from coun.attacks import best_threshold, svc_efficacy, svc_members


def plain(members, others, targets):
    """The predictions of scikit-learn on all rows, without merging equal ones."""
    m, o, t = (x.double().reshape(len(x), -1).numpy() for x in (members, others, targets))
    model = SVC(C=3, gamma=1 / m.shape[1]).fit(np.concatenate([m, o]), [1] * len(m) + [0] * len(o))
    return model.predict(t) == 1


def test_a_worked_example() -> None:
    spans = ((0.9, 1, 51), (0, 0.98, 51), (0, 1, 101))
    arrays = [torch.linspace(*x, dtype=torch.float64) for x in spans]
    assert svc_efficacy(*arrays) == pytest.approx(80.19801980198)
    # The first target that is taken for a member is 0.81.
    assert svc_members(*arrays).tolist() == [False] * 81 + [True] * 20


@pytest.mark.parametrize("kind", ["smooth", "saturated", "correctness", "several"])
def test_merged_samples_give_the_predictions_of_a_plain_fit(kind) -> None:
    rng = np.random.default_rng(0)
    if kind == "smooth":
        groups = [rng.beta(a, 1, 200) for a in (6, 3, 4)]
    elif kind == "saturated":  # 70% at exactly 1, and repeated values among the others
        groups = [
            np.where(rng.random(400) < 0.7, 1.0, rng.beta(a, 1, 400).round(2)) for a in (6, 2, 4)
        ]
    elif kind == "correctness":
        groups = [(rng.random(300) < p).astype(float) for p in (0.99, 0.8, 0.9)]
    else:
        groups = [rng.normal(x, 1, (120, 3)).round(1) for x in (0, 1, 0.5)]
        groups = [np.concatenate([g, g[:50]]) for g in groups]
    tensors = [torch.from_numpy(g) for g in groups]
    expected = plain(*tensors)
    for large in (10**9, 0):  # libsvm, and the interior point method
        assert (svc_members(*tensors, large=large).numpy() == expected).all()
    assert svc_efficacy(*tensors) == 100 * np.mean(~expected)


def test_a_kernel_of_high_rank_stays_with_libsvm() -> None:
    rng = np.random.default_rng(0)
    tensors = [torch.from_numpy(rng.normal(x, 2, (300, 40))) for x in (0, 0.5, 0.2)]
    computed = svc_members(*tensors, large=0).numpy()
    assert (computed == plain(*tensors)).all()


def test_a_threshold_agrees_where_groups_are_apart() -> None:
    low, high = torch.linspace(0, 0.4, 50), torch.linspace(0.6, 1, 50)
    targets = torch.tensor([0.1, 0.3, 0.7, 0.9, 0.95])
    below = (targets.double() < best_threshold(high, low)).double().mean()
    assert svc_efficacy(high, low, targets) == 100 * float(below) == 40


def test_equal_scores_give_the_same_answer_for_all():
    same = torch.full((20,), 0.5)
    assert svc_efficacy(same, same, same) in (0.0, 100.0)


def test_bad_features_are_refused() -> None:
    x = torch.ones(4)
    with pytest.raises(CounError, match="no member rows"):
        svc_efficacy(x[:0], x, x)
    with pytest.raises(CounError, match="target row's feature is not finite"):
        svc_efficacy(x, x, x * float("nan"))
