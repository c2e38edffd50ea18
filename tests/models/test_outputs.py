"""Which layer of a network is its head, and which networks are refused."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from models.user_nets import AllConvolutional, UserNet, X
from torch import nn
from torch.nn import functional as F

from coun.errors import CounError
from coun.models.outputs import Classifier, Outputs
from coun.models.zoo import MODELS, build


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
    with pytest.raises(CounError, match="orders the classes otherwise than its layer 'fc2'"):
        Classifier(net, "fc2", example=torch.zeros(2, 3, 8, 8))


def test_one_of_two_heads_that_nearly_agree_is_refused():
    class Distilled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.head_dist = nn.Linear(8, 10), nn.Linear(8, 10)
            other = self.head.weight + 0.08 * torch.randn(10, 8)
            self.head_dist.weight, self.head_dist.bias = nn.Parameter(other), self.head.bias

        def forward(self, x):
            return (self.head(x) + self.head_dist(x)) / 2

    torch.manual_seed(0)
    net = Distilled()
    x = torch.randn(2000, 8)
    same = net(x).argmax(1) == net.head(x).argmax(1)
    assert same.float().mean() > 0.8
    for name in ("head", "head_dist"):
        with pytest.raises(CounError, match="orders the classes otherwise"):
            Classifier(net, name, example=x[same][:2])


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


class Pair(UserNet):
    def forward(self, x, second):
        return super().forward(x + second)


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
        (Sequence(), None, r"takes \(2, 8, 8\) for 2 rows, expected \(2, 8\)"),
        (Twice(), None, "ran 2 times in one forward"),
        (two_heads(), None, r"several linear layers \(fc2, fc3\)"),
        (UserNet(lambda logits, body: body.sum()), None, "not that of a linear layer"),
        (nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), None, r"cannot run a batch of shape \(2, 3"),
        (Pair(), None, r"missing .* 'second'; a model gets one input: .* one tensor"),
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
