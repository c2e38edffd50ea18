"""Slices of the loss: a parabola where the loss is one, and a model that stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coun.analysis import filter_directions, landscape
from coun.errors import CounError
from coun.models import Classifier, weights_digest
from coun.runs import predictions


def squared(logits, labels):
    return (logits.double() - F.one_hot(labels, 10)).square().mean()


@pytest.fixture(scope="module")
def line(trained_cnn, small, split):
    return landscape(trained_cnn.classifier, small, split, points=5)


def test_filters_keep_their_lengths(original):
    model = original.model
    found = filter_directions(model, torch.Generator().manual_seed(0))
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert not found[name].any()
            continue
        for mine, theirs in zip(found[name], weight.detach(), strict=True):
            assert float(mine.norm()) == pytest.approx(float(theirs.norm()), rel=1e-5)
    again = filter_directions(model, torch.Generator().manual_seed(0))
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_a_squared_loss_of_a_linear_net_is_a_parabola(small, split):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    classifier = Classifier(net, example=torch.zeros(2, 1, 8, 8))
    found = landscape(classifier, small, split, points=9, radius=3, loss=squared)
    for losses in found.losses.values():
        second = np.diff(losses, 2)
        assert second == pytest.approx([second.mean()] * 7, rel=1e-3)
        assert second.mean() > 0


def test_the_middle_is_the_model_itself(line, original, small, split):
    found = predictions(original.classifier, small, split)
    for role in ("retain", "forget"):
        loss = F.cross_entropy(found.outputs[role].logits.double(), found.labels[role])
        assert line.losses[role][2] == pytest.approx(float(loss), abs=1e-12)
    assert line.steps.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert line.forwards == 5 * 200


def test_it_depends_on_the_seed_alone_and_leaves_the_model(line, original, small, split):
    digest = weights_digest(original.model)
    modes = [m.training for m in original.model.modules()]
    again = landscape(original.classifier, small, split, points=5)
    assert all(np.array_equal(again.losses[role], line.losses[role]) for role in line.losses)
    other = landscape(original.classifier, small, split, points=5, seed=1)
    assert other.losses["forget"][0] != line.losses["forget"][0]
    assert weights_digest(original.model) == digest  # BatchNorm's statistics among it
    assert [m.training for m in original.model.modules()] == modes
    assert all(p.requires_grad for p in original.model.parameters())


def test_a_plane_holds_its_lines(original, small, split):
    ways = [filter_directions(original.model, torch.Generator().manual_seed(i)) for i in range(2)]
    plane = landscape(original.classifier, small, split, dimensions=2, points=3, directions=ways)
    for axis, way in enumerate(ways):
        line = landscape(original.classifier, small, split, points=3, directions=[way])
        for role, losses in plane.losses.items():
            assert np.array_equal(losses.take(1, axis=1 - axis), line.losses[role])


def test_a_limit_takes_fewer_rows(original, small, split):
    found = landscape(original.classifier, small, split, points=3, limit=20)
    assert found.forwards == 3 * 40


def test_bad_requests_are_refused(original, small, split):
    for settings, words in (
        ({"dimensions": 3}, "expected 1 or 2"),
        ({"points": 4}, "expected 3, 5, 7"),
        ({"directions": [{}]}, "parameter names"),
    ):
        with pytest.raises(CounError, match=words):
            landscape(original.classifier, small, split, **settings)
