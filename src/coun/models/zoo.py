"""Models by name: built-in ones, those of plug-ins, and the user's own as `module:factory`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from coun.errors import CounError, unknown
from coun.models.cnn import cnn, mlp
from coun.models.copies import make_model
from coun.models.ensemble import Layout, Shards
from coun.models.resnet import resnet8, resnet18, resnet20
from coun.models.vgg import vgg16
from coun.models.vit import vit, vit_small_data
from coun.plugins import load_plugin, registered
from coun.trust import Trust, import_code, importable, one_line

GROUP = "coun.models"  # the entry points of other packages


@dataclass(frozen=True)
class ModelEntry:
    """One model that can be built by name.

    Args:
        build: makes a model from the number of classes and the shape of one input, with
            weights from the global generator.
        summary: one line for lists.
        scale: "paper" if CoUn reports results on it, "small" if it is for trials on a CPU.

    >>> MODELS["mlp"].build(3, (30,))[-1].out_features
    3
    """

    build: Callable[[int, tuple[int, ...]], nn.Module]
    summary: str
    scale: Literal["paper", "small"]


MODELS: dict[str, ModelEntry] = {
    "resnet18": ModelEntry(resnet18, "ResNet-18, CIFAR stem, 11.2 M parameters", "paper"),
    "vgg16": ModelEntry(vgg16, "VGG-16 with BatchNorm, 1024-d features, 15.3 M", "paper"),
    "vit": ModelEntry(vit, "plain vision transformer of the paper's sizes, 15.9 M", "paper"),
    "vit-spt-lsa": ModelEntry(
        vit_small_data, "the same for small data: shifted patches, locality attention", "paper"
    ),
    "resnet20": ModelEntry(resnet20, "the classic CIFAR ResNet-20, 0.27 M", "small"),
    "resnet8": ModelEntry(resnet8, "three residual blocks at half resolution, 1.2 M", "small"),
    "cnn": ModelEntry(cnn, "three convolutions, 0.11 M; digits in seconds", "small"),
    "mlp": ModelEntry(mlp, "two hidden layers of 256, for inputs of any shape", "small"),
}


def build(name: str, *, classes: int, shape: tuple[int, ...], trust: Trust = False) -> nn.Module:
    """Build a model by its name, with weights from the global generator: seed that first.

    Four kinds of names are known: those of `MODELS`; those that another package registers as
    entry points in the group `coun.models`; `package.module:factory` for a model of your own,
    whose module may be in the current folder; and "ensemble:3x2:one_hot:200:NAME", an ensemble
    of the network NAME (see `Layout`).

    A factory, of a plug-in or your own, is a function or a class. It is called with those of
    these arguments that it names: `classes`, `num_classes` or `n_classes`; `shape` or
    `input_shape`, the whole shape; `in_channels` or `num_channels`, its first number. Names
    hidden behind **kwargs are not seen.

    Args:
        name: of the model.
        classes: K, at least 2.
        shape: of one input, (channels, height, width) or (D,).
        trust: whether a `module:factory` may be imported: True for a name that the user gave.

    Raises: CounError if the name is unknown or not trusted, the module cannot be imported, has
        no such attribute, or the factory fails or returns no nn.Module.

    >>> build("cnn", classes=10, shape=(1, 8, 8)).head
    Linear(in_features=128, out_features=10, bias=True)
    """
    if classes < 2:
        raise CounError(f"a classifier needs at least 2 classes; got {classes}")
    if cut := Layout.parse(name):
        layout, network = cut
        make = partial(build, network, classes=classes, shape=shape, trust=trust)
        return Shards(layout, make, example=torch.zeros(2, *shape))
    if ":" in name:
        return _build_own(name, classes, shape, trust)
    if name in MODELS:
        return MODELS[name].build(classes, shape)
    plugins = registered(GROUP)
    if name not in plugins:
        raise unknown("model", name, [*MODELS, *plugins])
    return _call(name, load_plugin(plugins[name]), classes, shape)


def code_name(name: str) -> str | None:
    """Return the `module:factory` that building the model *name* imports; None if it imports none.

    >>> code_name("ensemble:3x2:one_hot:200:my_nets:small"), code_name("cnn")
    ('my_nets:small', None)
    """
    if cut := Layout.parse(name):
        return code_name(cut[1])
    return name if ":" in name else None


def _build_own(name: str, classes: int, shape: tuple[int, ...], trust: Trust) -> nn.Module:
    """Build a model of the user's own, `package.module:factory`."""
    factory = import_code(name, "model", trust=trust)
    # The factory may import modules beside its own only when it is called.
    with importable(name):
        return _call(name, factory, classes, shape)


def _call(name: str, factory: Any, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build the model *name* by its *factory*."""
    if not callable(factory) or isinstance(factory, nn.Module):
        raise CounError(
            f"model '{name}': expected a function or class that builds a model; "
            f"got a {type(factory).__name__}"
        )
    try:
        model = make_model(partial(factory, **_arguments(factory, classes, shape)), shape)
    except CounError:
        raise
    except Exception as error:
        raise CounError(f"model '{name}': building it failed: {one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise CounError(f"model '{name}': expected an nn.Module back; got a {type(model).__name__}")
    return model


def _arguments(factory: Callable[..., Any], classes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """The arguments, among the number of classes and the shape, that *factory* names."""
    offered: dict[str, Any] = dict.fromkeys(("classes", "num_classes", "n_classes"), classes)
    offered |= dict.fromkeys(("shape", "input_shape"), shape)
    offered |= dict.fromkeys(("in_channels", "num_channels"), shape[0])
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: offered[p.name] for p in parameters if p.kind in by_name and p.name in offered}
