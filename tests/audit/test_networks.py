"""A model of another network than the Retrains differs from them, which is not memory."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from torch import nn

import coun
from coun.audit import audit


def norm():
    return nn.Sequential(
        *(nn.Linear(30, 128, bias=False), nn.LayerNorm(128), nn.GELU()),
        *(nn.Linear(128, 128, bias=False), nn.LayerNorm(128), nn.GELU()),
        nn.Linear(128, 2, bias=False),
    )


def plain():
    return nn.Sequential(nn.Linear(30, 300), nn.ReLU(), nn.Linear(300, 2))


@pytest.fixture(scope="module")
def retrains():
    """Three Retrains of a list of rows, and what trains further ones."""
    table = load_breast_cancer()
    order = np.random.default_rng(100).permutation(len(table.target))
    x, y = table.data[order], table.target[order]
    x = ((x - x[200:].mean(0)) / x[200:].std(0)).astype(np.float32)
    data = coun.from_arrays(x[200:], y[200:], x[:200], y[:200])
    split = coun.Split.by_index(data, range(46))

    def train(network, seed):
        return coun.train(data, network, split=split, seed=seed, epochs=15, batch_size=64)

    return train, [train(norm, seed) for seed in range(3)]


@pytest.mark.parametrize(("network", "seed", "other"), [(plain, 77, True), (norm, 77, False)])
def test_a_true_retrain_of_another_network_is_not_said_to_remember(retrains, network, seed, other):
    train, three = retrains
    found = audit(train(network, seed), three, rest=False)
    single_rows = found.family["top_rows"]
    assert (single_rows.part, single_rows.found) == ("listed", other)
    assert single_rows.directed == (not other)
    assert found.verdict.label == ("different" if other else "inconclusive")
    assert any("another network" in note for note in found.verdict.caveats) == other
