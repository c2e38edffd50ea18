"""Copies of models with weight_norm, and models with lazy layers."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

import coun
from coun.errors import CounError
from coun.models import (
    copy_model,
    gives_same_weights,
    inner_network,
    make_model,
    weights_digest,
)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_model_with_weight_norm_is_copied_after_a_forward() -> None:
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)), nn.Linear(3, 2))
    x = torch.randn(5, 4)
    expected = model(x)
    copied = copy_model(model)
    with torch.no_grad():
        model[0].weight_g.zero_()
    assert torch.equal(copied(x), expected)
    copied(x).sum().backward()
    assert copied[0].weight_g.grad is not None


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 10))


def test_lazy_layers_get_weights_that_the_seed_determines(small) -> None:
    first, second = (coun.train(small, lazy, epochs=1, seed=3) for _ in range(2))
    assert weights_digest(first.model) == weights_digest(second.model)
    split = coun.Split.by_index(small, [3, 4])
    retrain = coun.train(small, lazy, split=split, epochs=1)
    assert retrain.model[1].in_features == 64


def test_a_lazy_model_that_cannot_run_is_refused_in_one_line() -> None:
    with pytest.raises(CounError, match=r"cannot run a batch of shape \(2, 4\)") as caught:
        make_model(lambda: nn.Sequential(nn.LazyConv2d(3, 3)), (4,))
    assert "\n" not in str(caught.value)
    with pytest.raises(CounError, match="lazy parameter without values"):
        weights_digest(lazy())


def lightning_module(monkeypatch, forward=None, **networks):
    """A module of a class of Lightning, without that package.

    Its forward is that of its network `model`, unless *forward* is given.
    """

    class LightningModule(nn.Module):
        def __init__(self):
            super().__init__()
            self.trainer = (number for number in range(3))  # a generator cannot be copied
            for name, network in networks.items():
                setattr(self, name, network)

        def forward(self, x):
            return forward(self.model, x) if forward else self.model(x)

    monkeypatch.setattr(LightningModule, "__module__", "lightning.pytorch.core.module")
    return LightningModule()


def test_the_network_of_a_lightning_module_is_used(monkeypatch):
    net = nn.Linear(2, 2)
    alone = lightning_module(monkeypatch, model=net, loss=nn.CrossEntropyLoss())
    assert inner_network(alone) is net
    copy_model(inner_network(alone))
    two = lightning_module(monkeypatch, model=net, other=nn.Linear(2, 2))
    assert inner_network(two) is two


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net((x - 0.5) / 0.25),
        lambda net, x: net(x * 2),
        lambda net, x: net(x.flip(1)),
        lambda net, x: nn.functional.linear(x / 2, net.weight, net.bias),
    ],
)
def test_a_lightning_module_that_changes_its_inputs_stays_whole(monkeypatch, forward):
    whole = lightning_module(monkeypatch, forward, model=nn.Linear(2, 2))
    assert inner_network(whole, torch.zeros(2, 2)) is whole


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net(x),
        lambda net, x: net(input=x).softmax(1),
        lambda net, x: net(x.image),  # a batch of another form
    ],
)
def test_a_lightning_module_that_passes_its_inputs_on_is_its_network(monkeypatch, forward):
    net = nn.Linear(2, 2)
    whole = lightning_module(monkeypatch, forward, model=net)
    assert inner_network(whole, torch.zeros(2, 2)) is net


def test_the_answers_of_a_lightning_module_are_those_of_its_forward(monkeypatch, small):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    scaled = lightning_module(monkeypatch, lambda net, x: net(3 * x - 1), model=net)
    del scaled.trainer
    images = small.views.evaluate(small.train.fetch(torch.arange(8)))
    logits = coun.Run.from_weights(scaled, small).classifier(images).logits
    assert torch.equal(logits, scaled(images))


def test_a_function_that_makes_the_lightning_module_makes_its_network(monkeypatch, small, split):
    def make():
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        return lightning_module(monkeypatch, model=net)

    run = coun.unlearn(make(), split, "retrain", data=small, build=make, epochs=1)
    assert isinstance(run.model, nn.Sequential)


def test_a_function_that_makes_another_architecture_is_refused(small, split):
    def make(width):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    with pytest.raises(CounError, match=r"another architecture.*'1.weight' is \[9, 64\], not \[8"):
        coun.unlearn(make(8), split, "retrain", data=small, build=lambda: make(9), epochs=1)


def test_a_compiled_model_stands_for_the_module_inside_it() -> None:
    net = nn.Linear(2, 2)
    assert inner_network(torch.compile(net)) is net
    assert make_model(lambda: torch.compile(net), (2,)) is net


def test_a_factory_that_gives_one_module_again_is_refused(small, split) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(CounError, match="same module at every call; expected a new one"):
        coun.train(small, lambda: net, split=split, epochs=1)
    with pytest.raises(CounError, match="same module at every call"):
        coun.unlearn(net, split, "retrain", data=small, build=lambda: net, epochs=1)
    with pytest.raises(CounError, match="weights of the model to unlearn from; expected fresh"):
        coun.unlearn(net, split, "retrain", data=small, build=lambda: copy_model(net), epochs=1)


def test_a_factory_that_ignores_the_seed_is_named(small, caplog) -> None:
    def seeded() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    before = torch.random.get_rng_state()
    assert gives_same_weights(seeded, seeded())
    torch.random.set_rng_state(before)
    coun.train(small, seeded, epochs=1)
    assert "the same weights whatever the seed" in caplog.text
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (lambda: 1 / 0, r"failed \(ZeroDivisionError: division by zero\); expected one that takes"),
        (lambda classes: nn.Linear(2, classes), r"failed \(TypeError: .*'classes'\)"),
        (lambda: None, "returned an object of type NoneType; expected an nn.Module"),
    ],
)
def test_a_factory_that_makes_no_model_is_refused(factory, words, small) -> None:
    with pytest.raises(CounError, match=words):
        coun.train(small, factory, epochs=1)


def test_a_given_module_is_no_beginning_of_a_retrain(small, split, tmp_path, caplog) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    coun.train(small, net, epochs=1, out=tmp_path / "o")
    assert "so does a Retrain of this run" in caplog.text
    opened = coun.Run.open(tmp_path / "o", data=small, build=net)
    with pytest.raises(CounError, match="pass the function that makes one"):
        coun.unlearn(opened, split, "retrain", epochs=1)
    unlearned = coun.unlearn(opened, split, "finetune", epochs=1, lr=0.01, out=tmp_path / "u")
    again = coun.Run.open(unlearned.folder, data=small, build=net)
    assert coun.evaluate(again)["change"]  # the model before opens with the same module


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Linear(2, 2).to("meta"), "'weight' of Linear is on the device meta"),
        (lazy(), "is a lazy parameter without values; run the model once"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False),
            "all weights of Sequential are frozen.*call requires_grad_",
        ),
    ],
    ids=["meta", "lazy", "frozen"],
)
def test_models_that_cannot_be_trained_are_refused_in_one_line(model, words, small, split) -> None:
    with pytest.raises(CounError, match=words) as caught:
        coun.unlearn(model, split, "finetune", data=small, epochs=1)
    assert "\n" not in str(caught.value)


def test_a_model_that_holds_what_cannot_be_copied_is_refused() -> None:
    model = nn.Linear(4, 3)
    model.lock = threading.Lock()
    with pytest.raises(CounError, match="Linear cannot be copied .*lock.*outside of it"):
        copy_model(model)
