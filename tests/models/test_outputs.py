import copy
import gc
import weakref
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coun.errors import CounError
from coun.models.outputs import Classifier, Outputs
from coun.models.zoo import MODELS, build

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


class UserNet(nn.Module):
    def __init__(self, end=lambda logits, body: logits):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 4)
        self.end = end

    def body(self, x):
        return F.relu(self.fc1(self.drop(F.relu(self.bn(self.conv(x))).mean((2, 3)))))

    def forward(self, x):
        body = self.body(x)
        return self.end(self.fc2(body), body)


def test_a_users_net_is_wrapped_without_editing():
    net = UserNet().eval()
    classifier = Classifier(net, example=X)
    assert classifier.head_name == "fc2"
    assert classifier.head is net.fc2
    assert classifier.inner is net
    out = classifier(X)
    assert isinstance(out, Outputs)
    assert torch.equal(out.features, net.body(X))
    assert torch.equal(out.logits, net(X))
    assert set(classifier.inner.state_dict()) == set(UserNet().state_dict())


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"text"}))
def test_house_models(name):
    net = build(name, classes=4, shape=(3, 8, 8)).eval()
    logits, features = Classifier(net, example=X)(X)
    # not overwritten by an in-place ReLU: the head gives the same logits from them again
    assert torch.equal(net.head(features), logits)
    assert torch.equal(net(X), logits)


@pytest.mark.parametrize(
    "end",
    [
        lambda logits, body: SimpleNamespace(logits=logits, hidden_states=None),
        lambda logits, body: OrderedDict(loss=body.sum(), logits=logits),
        lambda logits, body: {"embedding": body, "prediction": logits},
        lambda logits, body: (body.sum(), logits),
        lambda logits, body: [logits, body],
    ],
    ids=["object", "dict", "dict with other keys", "tuple", "list"],
)
def test_other_outputs_than_tensors(end):
    assert Classifier(UserNet(end), example=X).head_name == "fc2"


def test_a_softmax_behind_the_head_needs_its_name():
    net = UserNet(lambda logits, body: F.log_softmax(logits, -1)).eval()
    with pytest.raises(CounError, match=r"'fc1' \(6 to 5\), 'fc2' \(5 to 4\).*head='fc2'.*--head"):
        Classifier(net, example=X)
    out = Classifier(net, "fc2", example=X)(X)
    assert torch.equal(out.logits, net.fc2(net.body(X)))
    assert not torch.allclose(out.logits, net(X))


@pytest.mark.parametrize(
    "end",
    [
        lambda logits, body: logits.softmax(1),
        lambda logits, body: 5 * logits,
        lambda logits, body: {"probability": logits.sigmoid()},
    ],
)
def test_what_follows_a_named_head_may_keep_the_order_of_the_classes(end):
    net = UserNet(end).eval()
    assert torch.equal(Classifier(net, "fc2", example=X)(X).logits, net.fc2(net.body(X)))


@pytest.mark.parametrize(
    "end",
    [
        lambda logits, body: -logits,
        lambda logits, body: logits.flip(1),
        lambda logits, body: logits + 9 * body[:, :4],
    ],
)
def test_a_named_head_that_chooses_other_classes_is_refused(end):
    torch.manual_seed(0)
    net = UserNet(end)
    with pytest.raises(CounError, match="chooses other classes than its layer 'fc2'"):
        Classifier(net, "fc2", example=torch.zeros(2, 3, 8, 8))


def test_a_head_that_cannot_be_the_output_is_not_advised():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Unflatten(1, (5, 1)))
    net.append(nn.AvgPool1d(1)).append(nn.Flatten()).append(nn.ZeroPad1d((0, 2)))
    with pytest.raises(CounError, match="let the model end in an nn.Linear with one output per"):
        Classifier(net, example=X)
    one = nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Flatten(0))
    with pytest.raises(CounError, match="one output for two classes needs two"):
        Classifier(one, example=X)


def test_a_bare_linear_layer_is_its_own_head():
    net = nn.Linear(3, 4)
    x = torch.randn(2, 3)
    classifier = Classifier(net, example=x)
    assert classifier.head is net
    assert torch.equal(classifier(x).features, x)


class Sequence(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(x[:, 0])


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(self.fc(x[:, 0, 0]))


def two_heads():
    net = UserNet()
    net.fc3 = nn.Linear(5, 7)
    net.end = lambda logits, body: (logits, net.fc3(body))
    return net


@pytest.mark.parametrize(
    ("net", "head", "words"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), None, "has no nn.Linear"),
        (UserNet(), "fc3", r"no module 'fc3' \(did you mean 'fc2'\?\); linear layers: fc1, fc2"),
        (UserNet(), "conv", r"'conv' of UserNet is Conv2d, not nn.Linear"),
        (Sequence(), None, r"takes \(2, 8, 8\) for 2 samples, expected \(2, 8\)"),
        (Twice(), None, "ran 2 times in one forward"),
        (two_heads(), None, r"several linear layers \(fc2, fc3\)"),
        (UserNet(lambda logits, body: body.sum()), None, "not that of a linear layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), None, r"cannot run a batch of shape \(2, 3"),
        (UserNet().half(), None, r"weights of float16: pass it as model\.float\(\)"),
        (torch.jit.script(nn.Linear(8, 2)), None, "TorchScript.*pass the nn.Module"),
        (
            nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), UserNet()),
            None,
            "'0' of Sequential is a BatchNorm without running statistics",
        ),
    ],
)
def test_refusals(net, head, words):
    with pytest.raises(CounError, match=words) as caught:
        Classifier(net, head, example=X)
    assert "\n" not in str(caught.value)


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


def test_autocast_and_channels_last():
    net = UserNet().eval()
    plain = Classifier(net, example=X)(X)
    classifier = Classifier(net.to(memory_format=torch.channels_last), example=X)
    out = classifier(X.to(memory_format=torch.channels_last))
    assert torch.allclose(out.features, plain.features, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = classifier(X)
    assert half.logits.dtype == torch.bfloat16
    assert torch.allclose(half.logits.float(), plain.logits, atol=0.05)


def test_compiles_to_one_graph():
    net = UserNet().eval()
    classifier = Classifier(net, example=X)
    compiled = torch.compile(classifier, backend="eager", fullgraph=True)
    for seed in range(3):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        got, expected = compiled(x), classifier(x)
        assert torch.equal(got.logits, expected.logits)
        assert torch.equal(got.features, expected.features)
    with pytest.raises(CounError, match="compile the classifier"):
        Classifier(torch.compile(net, backend="eager"), example=X)


class AllConvolutional(nn.Module):
    """Ends as AllCNN does, or, with a ReLU, as SqueezeNet does; it has no linear layer."""

    def __init__(self, relu, inplace=False, end=lambda logits: logits):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU())
        self.last = nn.Conv2d(5, 4, 1)
        self.relu = nn.ReLU(inplace) if relu else nn.Identity()
        self.end = end

    def forward(self, x):
        x = self.relu(self.last(self.body(x)))
        return self.end(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize(("relu", "inplace"), [(False, False), (True, False), (True, True)])
def test_a_convolution_of_one_pixel_is_a_head(relu, inplace):
    torch.manual_seed(0)
    net = AllConvolutional(relu, inplace).eval()
    classifier = Classifier(net, example=X)
    assert classifier.head_name == "last"
    assert (classifier.in_features, classifier.out_features) == (5, 4)
    logits, features = classifier(X)
    torch.testing.assert_close(logits, net(X))
    torch.testing.assert_close(features, net.body(X).mean((2, 3)))
    logits.square().sum().backward()
    assert classifier.head.weight.grad.abs().sum() > 0


def test_a_softmax_behind_a_convolution_needs_its_name():
    net = AllConvolutional(False, end=lambda logits: logits.log_softmax(1)).eval()
    with pytest.raises(CounError, match="ran none of its linear layers"):
        Classifier(net, example=X)
    logits, _ = Classifier(net, "last", example=X)(X)
    torch.testing.assert_close(logits.log_softmax(1), net(X))


class Flat(nn.Module):
    """Its BatchNorm gets one value per channel from a batch of one row."""

    def __init__(self):
        super().__init__()
        self.conv, self.early = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.late, self.fc = nn.BatchNorm1d(6), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(self.late(self.early(self.conv(x)).mean((2, 3))))


def test_a_lone_value_is_normalised_by_the_running_statistics():
    net = Flat()
    classifier = Classifier(net, example=X).train()
    classifier(X)  # gives the layers statistics
    before = copy.deepcopy(net.late.state_dict())
    expected = net.early(net.conv(X[:1])).mean((2, 3))  # the earlier layer has many values
    net.late.eval()
    expected = net.fc(net.late(expected))
    net.late.train()
    torch.testing.assert_close(classifier(X[:1]).logits, expected)
    assert net.late.training
    assert all(torch.equal(value, before[name]) for name, value in net.late.state_dict().items())
    assert not net.late._forward_pre_hooks


def test_a_network_that_fails_on_a_batch_is_named():
    class Fixed(UserNet):
        def forward(self, x):
            return super().forward(x.view(2, 3, 8, 8))

    classifier = Classifier(Fixed(), example=X)
    with pytest.raises(CounError, match=r"Fixed cannot run a batch of shape \(4, 3, 8, 8\)"):
        classifier(torch.cat([X, X]))


def test_a_mode_that_returns_nothing_is_no_problem():
    class Freezes(UserNet):
        def train(self, mode=True):
            super().train(mode)  # as recipes that freeze BatchNorm often write it

    assert Classifier(Freezes(), example=X).head_name == "fc2"


class Adapted(nn.Module):
    """A linear layer with a low-rank adapter, laid out as peft lays it out."""

    def __init__(self, layer):
        super().__init__()
        self.base_layer = layer
        self.lora_A = nn.Linear(layer.in_features, 2, bias=False)
        self.lora_B = nn.Linear(2, layer.out_features, bias=False)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


@pytest.mark.parametrize("head", [None, "fc2.base_layer", "fc2.lora_B"])
def test_a_last_layer_with_an_adapter_is_to_be_merged(head):
    net = UserNet()
    net.fc1 = Adapted(net.fc1)
    assert Classifier(net, example=X).head_name == "fc2"  # other layers may have one
    net.fc2 = Adapted(net.fc2)
    with pytest.raises(CounError, match=r"'fc2' of UserNet has an adapter \(Adapted\).*merge"):
        Classifier(net, head, example=X)


def test_a_batch_that_does_not_fit_into_memory_is_named():
    class Large(UserNet):
        def forward(self, x):
            if len(x) > 2:
                raise torch.OutOfMemoryError("Tried to allocate 9 TiB")
            return super().forward(x)

    classifier = Classifier(Large(), example=X)
    with pytest.raises(
        CounError, match=r"\(4, 3, 8, 8\), with Large, does not fit into the memory of cpu"
    ):
        classifier(torch.cat([X, X]))


@pytest.mark.parametrize("channels", [1, 6])
def test_group_norm_behind_a_frozen_layer_has_a_gradient(channels):
    torch.manual_seed(0)
    norm = nn.GroupNorm(1, channels)
    net = nn.Sequential(norm, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3))
    x = torch.randn(2, channels, 8, 8)
    F.cross_entropy(net(x), torch.tensor([0, 2])).backward()
    expected, norm.weight.grad = norm.weight.grad, None
    classifier = Classifier(net.to(memory_format=torch.channels_last), example=x)
    images = x.contiguous(memory_format=torch.channels_last)  # torch itself ends the process here
    F.cross_entropy(classifier(images).logits, torch.tensor([0, 2])).backward()
    torch.testing.assert_close(norm.weight.grad, expected)
    assert not norm._forward_pre_hooks
