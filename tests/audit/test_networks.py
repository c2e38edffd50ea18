"""A model of another network or recipe than the Retrains differs from them; this is not memory."""

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


@pytest.fixture(scope="module")
def groups():
    """Rows of five classes, a class to forget, what trains a Retrain, and three of these."""
    rng = np.random.default_rng(1)
    y, tests = np.repeat(np.arange(5), 80), np.repeat(np.arange(5), 80)
    centres = 0.6 * rng.normal(size=(5, 16))
    x, test = ((centres[of] + rng.normal(size=(400, 16))).astype(np.float32) for of in (y, tests))
    data = coun.from_arrays(x, y, test, tests)
    split = coun.Split.by_class(data, "1")

    def train(seed, **recipe):
        settings = {"split": split, "epochs": 20, "batch_size": 32, **recipe}
        return coun.train(data, "mlp", seed=seed, **settings)

    return train, [train(seed) for seed in range(3)]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, ("no difference found", "inconclusive")),
        ({"optimizer": "adamw", "lr": 2e-3}, ("different",)),  # it relearns sooner
        ({"epochs": 3}, ("different",)),  # it fits fewer of its own rows
        # Other records leave this setting out.
        ({"federation": {"clients": 4}}, ("different", "no difference found", "inconclusive")),
    ],
)
def test_a_true_retrain_of_another_recipe_is_not_said_to_remember_or_to_lack(groups, recipe, words):
    train, three = groups
    found = audit(train(99, **recipe), three, rest=False)
    assert found.verdict.label in words
    assert any("another recipe" in note for note in found.verdict.caveats) == bool(recipe)


def test_how_soon_weights_of_an_unknown_recipe_relearn_is_not_said_to_be_memory(groups):
    train, three = groups
    retrain = train(99, optimizer="adamw", lr=2e-3)
    weights = coun.Run.from_weights(retrain.model, retrain.data)
    found = audit(weights, three, split=three[0].split, rest=False)
    assert found.family["level_relearning"].found
    assert found.verdict.label == "different"
    assert "The recipe of the audited model (epochs" in " ".join(found.verdict.caveats)
    known = audit(retrain, three, rest=False, relearn=False)
    assert "not on record" not in " ".join(known.verdict.caveats)


def test_the_original_of_the_retrains_recipe_is_still_said_to_remember(groups):
    train, three = groups
    original = train(5, split=None)
    assert audit(original, three, split=three[0].split, rest=False).verdict.label in (
        "under-forgotten",
        "closer than the original",
    )
