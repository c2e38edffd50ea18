"""The Fisher information equals its closed form, and the noise follows its rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

import coun
from coun.methods.fisher import noise_variance
from coun.models import weights_digest
from coun.plans.curvature import fisher_diagonal


def test_the_fisher_information_of_a_linear_softmax_has_a_closed_form(small, make_task):
    # Specification, 3.10: F of weight (k, j) is E[p_k (1 - p_k) x_j^2].
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    result = fisher_diagonal(make_task(small, net), "retain")
    x = small.views.evaluate(small.train.images).flatten(1).double()
    p = net.double()(x).softmax(1).detach()
    spread_of = p * (1 - p)
    torch.testing.assert_close(
        result["1.weight"].double(), spread_of.T @ x.square() / len(x), rtol=1e-4, atol=1e-7
    )
    torch.testing.assert_close(result["1.bias"].double(), spread_of.mean(0), rtol=1e-4, atol=1e-7)


def test_the_fisher_information_with_batchnorm_equals_a_vectorised_computation(
    small, make_task, original
):
    task = make_task(small, original.model)
    task.flops = 1.0
    task.define("few", torch.arange(7))
    original.model.train()  # a plan may find it so
    try:
        result = fisher_diagonal(task, "few")
        assert all(m.training for m in original.model.modules())
    finally:
        original.model.eval()
    parameters = {n: p.detach() for n, p in original.model.named_parameters()}

    def surprise(weights, image, label):
        logits = functional_call(original.model, weights, (image[None],))
        return F.cross_entropy(logits, label[None])

    images = small.views.evaluate(small.train.images[:7])
    chances = original.model(images).softmax(1).detach()
    expected = dict.fromkeys(parameters, 0)
    for label in range(10):
        labels = torch.full((7,), label)
        each = vmap(grad(surprise), in_dims=(None, 0, 0))(parameters, images, labels)
        for name, g in each.items():
            expected[name] += torch.einsum("b,b...->...", chances[:, label], g**2) / 7
    assert set(result) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(result[name], value, rtol=1e-3, atol=1e-8)
    assert task.cost.flops == 7 * (1 + 10 * 2)


def test_drawn_labels_agree_with_all_classes_on_average(small, make_task):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    task = make_task(small, net)
    task.define("few", torch.arange(20))
    exact = fisher_diagonal(task, "few")["1.weight"]
    errors = [
        (
            fisher_diagonal(task, "few", n, torch.Generator().manual_seed(0))["1.weight"] - exact
        ).norm()
        for n in (1, 10_000)
    ]
    assert errors[1] < 0.02 * exact.norm() < errors[0]


def test_the_variance_equals_a_computation_by_hand():
    fisher = torch.tensor([[1.0, 1e-9], [0.1, 0.05]])
    # Row means of 1/F, capped at 1000: (1 + 1000) / 2 and (10 + 20) / 2.
    expected = torch.tensor([[500.5, 500.5], [15.0, 15.0]])
    torch.testing.assert_close(noise_variance(fisher, 0.5, head=False), 0.5 * expected)
    # The head: capped at 100, ten times as much.
    expected = torch.tensor([[50.5, 50.5], [15.0, 15.0]])
    torch.testing.assert_close(noise_variance(fisher, 0.5, head=True), 5 * expected)
    vector = torch.tensor([0.01, 0.0])
    torch.testing.assert_close(noise_variance(vector, 1.0, head=False), torch.tensor([1e3, 1e4]))
    torch.testing.assert_close(noise_variance(vector, 1.0, head=True), torch.tensor([1e3, 1e3]))


def test_alpha_0_is_the_identity_and_noise_is_drawn_by_seed(original, split):
    def digest(**settings):
        run = coun.unlearn(original, split, "fisher", samples=20, **settings)
        return weights_digest(run.model)

    assert digest(alpha=0) == weights_digest(original.model)
    assert digest(seed=1) == digest(seed=1) != digest(seed=2)


def test_the_head_row_of_a_forgotten_class_is_replaced_by_noise(original, small):
    split = coun.Split.by_class(small, 4)
    net = coun.unlearn(original, split, "fisher", alpha=0, samples=20).model
    for name, value in net.named_parameters():
        changed = (value != original.model.get_parameter(name)).nonzero()
        assert set(changed[:, 0].tolist()) == ({4} if name.startswith("head") else set()), name
    assert net.head.weight[4].std().item() == pytest.approx(1e-3**0.5, rel=0.3)


def test_only_the_given_number_of_samples_is_read(original, split):
    costs = [
        coun.unlearn(original, split, "fisher", **settings).record["cost"]["trained_images"]
        for settings in ({"samples": 20}, {"samples": 1000, "draws": 1})
    ]
    assert costs == [20 * 10, len(split.retain)]
