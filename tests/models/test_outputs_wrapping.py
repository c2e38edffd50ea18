"""A classifier leaves the network that it wraps as it is, and stands beside others of it."""

import copy
import gc
import weakref

import pytest
import torch
from models.user_nets import UserNet, X
from torch import nn

from coun.errors import CounError
from coun.models.outputs import Classifier


def test_wrapping_leaves_no_trace():
    net = UserNet().train()
    net.bn.eval()
    modes = [m.training for m in net.modules()]
    state = copy.deepcopy(net.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Classifier(net, example=X)
    assert torch.equal(torch.rand(3), expected)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    gc.collect()
    # the classifier is gone, and its hook with it
    assert not any(m._forward_hooks for m in net.modules())


def test_a_failed_example_leaves_no_trace():
    net = UserNet().train()
    with pytest.raises(CounError):
        Classifier(net, example=torch.zeros(2, 5))
    assert net.training
    assert not net.fc2._forward_hooks


def test_gradients_flow_through_both():
    net = UserNet().eval()
    classifier = Classifier(net, example=X)
    first, second = classifier(X), classifier(X.flip(-1))
    (first.logits.sum() + (first.features * second.features).sum()).backward()
    got = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    a, b = net.body(X), net.body(X.flip(-1))
    (net.fc2(a).sum() + (a * b).sum()).backward()
    assert all(torch.allclose(g, p.grad) for g, p in zip(got, net.parameters(), strict=True))


def test_the_graph_dies_with_the_outputs():
    bodies = []

    def end(logits, body):
        bodies.append(weakref.ref(body))
        return logits

    classifier = Classifier(UserNet(end), example=X)
    out = classifier(X)
    assert bodies[-1]() is not None
    del out
    assert bodies[-1]() is None


def test_a_copy_is_its_own():
    classifier = Classifier(UserNet().eval(), example=X)
    twin = copy.deepcopy(classifier)
    nn.init.constant_(twin.inner.fc1.bias, 9.0)
    assert twin.head is not classifier.head
    ours, reference = classifier(X), twin(X)
    assert torch.equal(reference.features, twin.inner.body(X))
    assert torch.equal(reference.logits, twin.inner(X))
    assert torch.equal(ours.features, classifier.inner.body(X))
    del classifier, ours
    gc.collect()
    assert torch.equal(twin(X).features, reference.features)


def test_a_copied_model_can_be_wrapped_again():
    classifier = Classifier(UserNet().eval(), example=X)
    again = Classifier(copy.deepcopy(classifier.inner), example=X)
    assert torch.equal(again(X).features, classifier(X).features)


def test_two_classifiers_of_one_model():
    net = UserNet().eval()
    first, second = Classifier(net, example=X), Classifier(net, "fc1", example=X)
    assert first(X).features.shape == (2, 5)
    assert second(X).features.shape == (2, 6)
    assert first(X).features.shape == (2, 5)


def test_an_error_in_forward_leaves_it_usable():
    classifier = Classifier(UserNet().eval(), example=X)
    with pytest.raises(CounError, match="cannot run a batch"):
        classifier(torch.zeros(2, 5, 8, 8))
    assert torch.equal(classifier(X).features, classifier.inner.body(X))


def test_a_mode_that_returns_nothing_is_no_problem():
    class Freezes(UserNet):
        def train(self, mode=True):
            super().train(mode)  # as recipes that freeze BatchNorm often write it

    assert Classifier(Freezes(), example=X).head_name == "fc2"
