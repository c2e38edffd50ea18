"""Slices of the loss: a parabola where the loss is one; the model is not changed."""

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


def test_every_filter_of_a_direction_has_the_length_of_the_models(original):
    model = original.model
    computed = filter_directions(model, torch.Generator().manual_seed(0))
    assert computed.keys() == dict(model.named_parameters()).keys()
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            assert not computed[name].any()
            continue
        lengths = [x.flatten(1).norm(dim=1).tolist() for x in (computed[name], weight.detach())]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
    again = filter_directions(model, torch.Generator().manual_seed(0))
    assert all(torch.equal(again[name], computed[name]) for name in computed)


def test_a_squared_loss_of_a_linear_net_is_a_parabola(small, split):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    classifier = Classifier(net, example=torch.zeros(2, 1, 8, 8))
    computed = landscape(classifier, small, split, points=9, radius=3, loss=squared)
    for losses in computed.losses.values():
        second = np.diff(losses, 2)
        assert second == pytest.approx([second.mean()] * 7, rel=1e-3)
        assert second.mean() > 0


def test_the_middle_is_the_model_itself(line, original, small, split):
    computed = predictions(original.classifier, small, split)
    for role in ("retain", "forget"):
        loss = F.cross_entropy(computed.outputs[role].logits.double(), computed.labels[role])
        assert line.losses[role][2] == pytest.approx(float(loss), abs=1e-12)
    assert line.steps.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_a_slice_depends_on_the_seed_and_leaves_the_model_unchanged(line, original, small, split):
    digest = weights_digest(original.model)
    modes = [m.training for m in original.model.modules()]
    again = landscape(original.classifier, small, split, points=5)
    assert all(np.array_equal(again.losses[role], line.losses[role]) for role in line.losses)
    other = landscape(original.classifier, small, split, points=5, seed=1)
    assert other.losses["forget"][0] != line.losses["forget"][0]
    assert weights_digest(original.model) == digest  # which covers BatchNorm's statistics
    assert [m.training for m in original.model.modules()] == modes
    assert all(p.requires_grad for p in original.model.parameters())


def test_a_limit_takes_fewer_rows(original, small, split):
    sizes = []

    def count(logits, labels):
        sizes.append(len(labels))
        return squared(logits, labels)

    landscape(original.classifier, small, split, points=3, limit=20, loss=count)
    assert sizes == [20] * 6


def test_bad_requests_are_refused(original, small, split):
    for settings, words in (
        ({"points": 4}, "expected an odd number, 3 or more"),
        ({"direction": {}}, "other names than the parameters"),
    ):
        with pytest.raises(CounError, match=words):
            landscape(original.classifier, small, split, **settings)
