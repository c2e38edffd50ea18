"""Comparisons of features and weights against closed forms and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from coun import CounError
from coun.metrics import (
    centroid_distances,
    centroid_similarities,
    centroids,
    js_divergence,
    layer_distance,
    linear_cka,
    nearest,
    neighbour_histograms,
    representation,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_cka_of_a_worked_example():
    x = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, 0]])
    y = torch.tensor([[1.0], [0], [2], [3]])
    assert linear_cka(x, y) == pytest.approx(0.7559289460, abs=1e-10)
    assert linear_cka(y, x) == pytest.approx(0.7559289460, abs=1e-10)


@pytest.mark.parametrize("rows", [6, 60])  # by N x N products, and by D x E ones
def test_cka_is_the_normalised_hsic_and_ignores_rotation_scale_and_shift(rng, rows):
    x, y = rng.normal(size=(rows, 12)), rng.normal(size=(rows, 8))
    centre = np.eye(rows) - 1 / rows

    def hsic(a, b):
        return np.trace(a @ a.T @ centre @ b @ b.T @ centre)

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    assert linear_cka(3 * x @ rotation + 5, y) == pytest.approx(expected)
    assert linear_cka(x, x @ rotation) == pytest.approx(1)


def test_cka_of_constant_features_is_nan_and_other_inputs_are_refused(rng):
    x = rng.normal(size=(5, 3))
    assert np.isnan(linear_cka(x, np.ones((5, 2))))
    with pytest.raises(CounError, match="5 and 4 inputs"):
        linear_cka(x, x[:4])


def test_layer_distance_is_that_of_all_weights_in_one_vector():
    a, b = (
        torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)) for _ in range(2)
    )
    b[1].running_mean += 7
    b[1].num_batches_tracked += 3
    computed = layer_distance(a.state_dict(), b.state_dict())
    flat = [torch.nn.utils.parameters_to_vector(m.parameters()).detach().double() for m in (a, b)]
    assert computed.total == pytest.approx(float((flat[0] - flat[1]).norm()))
    assert set(computed.layers) == {name for name, _ in a.named_parameters()}
    assert computed.layers["0.bias"] == pytest.approx(
        float((a[0].bias - b[0].bias).detach().norm())
    )
    shared = layer_distance(a.state_dict(), b.state_dict(), normalised=True)
    assert shared.total == pytest.approx(computed.total / float(flat[0].norm()))
    assert shared.layers["1.bias"] == 0  # 0 from a bias of 0


def test_layer_distance_divides_by_the_norm_of_the_first_model():
    zero, one = {"w": torch.zeros(4)}, {"w": torch.ones(4)}
    assert layer_distance(one, zero, normalised=True).layers == {"w": 1}
    assert layer_distance(zero, one, normalised=True).total == float("inf")
    with pytest.raises(CounError, match="only one of two models has v"):
        layer_distance(one, {"v": torch.ones(4)})
    with pytest.raises(CounError, match="expected one shape"):
        layer_distance(one, {"w": torch.ones(3)})


def test_centroids_distances_and_similarities_are_those_of_a_loop(rng):
    features, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    asked = rng.normal(size=(7, 4))
    middles = centroids(features, labels, 4)
    assert np.isnan(middles[3]).all()
    far, near = [], []
    for c in range(3):
        mean = sum(f for f, y in zip(features, labels, strict=True) if y == c) / sum(labels == c)
        assert middles[c] == pytest.approx(mean)
        far.append(np.mean([np.linalg.norm(x - mean) for x in asked]))
        lengths = [np.linalg.norm(x) * np.linalg.norm(mean) for x in asked]
        near.append(np.mean([x @ mean / n for x, n in zip(asked, lengths, strict=True)]))
    assert centroid_distances(asked, middles, normalised=False)[:3] == pytest.approx(far)
    assert centroid_similarities(asked, middles)[:3] == pytest.approx(near)
    shares = centroid_distances(asked, middles)
    assert shares[:3] == pytest.approx(np.array(far) / max(far))
    assert shares == pytest.approx(centroid_distances(9 * asked, 9 * middles), nan_ok=True)


def test_neighbours_are_those_of_scikit_learn_with_and_without_blocks(rng, monkeypatch):
    queries, keys = rng.normal(size=(23, 6)), rng.normal(size=(50, 6))
    model = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(keys)
    expected = model.kneighbors(queries, return_distance=False)
    assert (nearest(queries, keys, 10) == expected).all()
    assert (nearest(queries, 5 * keys, 1) == expected[:, :1]).all()
    monkeypatch.setattr(representation, "SCORES", 200)  # four queries at once
    assert (nearest(queries, keys, 10) == expected).all()


def test_histograms_count_the_labels_of_the_neighbours(rng):
    keys, labels = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    queries = rng.normal(size=(9, 5))
    computed = neighbour_histograms(queries, keys, labels, 4, (1, 7, 40))
    for k in (1, 7):
        seen = labels[nearest(queries, keys, k)].ravel().tolist()
        assert computed[k].tolist() == [seen.count(c) / len(seen) for c in range(4)]
    assert computed[40] == pytest.approx(np.bincount(labels, minlength=4) / 40)
    assert js_divergence(computed[1][None], computed[1][None]) == 0
    alone = neighbour_histograms(keys[labels == 2], keys, labels, 3, (1,))[1]
    assert alone.tolist() == [0, 0, 1]  # each row is its own nearest
    assert js_divergence(alone[None], np.array([[1.0, 0, 0]])) == pytest.approx(np.log(2))


def test_impossible_numbers_of_neighbours_are_refused(rng):
    keys = rng.normal(size=(4, 3))
    with pytest.raises(CounError, match="k = 5 neighbours among 4"):
        nearest(keys, keys, 5)
    with pytest.raises(CounError, match="features of 2 and 3 dimensions"):
        nearest(keys[:, :2], keys, 1)
