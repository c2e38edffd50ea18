"""Models by name: the table of built-in ones, and the user's own as `module:factory`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Literal

import torch
from torch import nn

from coun.errors import CounError, nearest, unknown
from coun.models.cnn import cnn, mlp
from coun.models.ensemble import Layout, Shards
from coun.models.resnet import resnet8, resnet18, resnet20
from coun.models.vgg import vgg16
from coun.models.vit import vit, vit_small_data


@dataclass(frozen=True)
class ModelEntry:
    """One built-in model.

    Args:
        build: (classes, shape) to a model, drawn from the global generator.
        summary: one line for lists.
        scale: "paper" if CoUn reports results on it, "small" if it is for trials on a CPU.
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


def build(name: str, *, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build a model: a name of `MODELS`, or `package.module:factory` for one of your own.

    "ensemble:3x2:one_hot:200:NAME" is an ensemble of the network NAME (`Layout`).

    The module is imported with the current folder importable. The factory (a function or a
    class) is called with whichever it names of `classes`, `num_classes` or `n_classes`, and of
    `shape` or `input_shape` (the whole shape) and `in_channels` or `num_channels` (its first
    number); names hidden behind **kwargs are not seen. Weights come from the global generator:
    seed it first.

    Args:
        classes: K, at least 2.
        shape: of one input, (channels, height, width) or (D,).
    Raises: CounError if the name is unknown, the module cannot be imported, has no such
        attribute, or the factory fails or returns no nn.Module.
    """
    if classes < 2:
        raise CounError(f"a classifier needs at least 2 classes; got {classes}")
    if cut := Layout.parse(name):
        layout, network = cut
        make = partial(build, network, classes=classes, shape=shape)
        return Shards(layout, make, example=torch.zeros(2, *shape))
    if ":" in name:
        return _build_own(name, classes, shape)
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name].build(classes, shape)


def _build_own(name: str, classes: int, shape: tuple[int, ...]) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise CounError(f"model '{name}': expected 'package.module:factory'")
    # the factory may import its neighbours only when called
    with _current_folder_importable():
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            raise CounError(f"model '{name}': cannot import it: {_line(error)}") from error
        try:
            factory = attrgetter(attribute)(module)
        except AttributeError as error:
            known = [word for word in vars(module) if not word.startswith("_")]
            raise CounError(
                f"model '{name}': no '{attribute}' in '{module_name}'{nearest(attribute, known)}"
            ) from error
        if not callable(factory) or isinstance(factory, nn.Module):
            raise CounError(
                f"model '{name}': expected a function or class that builds a model; "
                f"got a {type(factory).__name__}"
            )
        try:
            model = factory(**_arguments(factory, classes, shape))
        except CounError:
            raise
        except Exception as error:
            raise CounError(f"model '{name}': building it failed: {_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise CounError(f"model '{name}': expected an nn.Module back; got a {type(model).__name__}")
    return model


def _arguments(factory: Callable[..., Any], classes: int, shape: tuple[int, ...]) -> dict[str, Any]:
    """What *factory* takes by name of the number of classes and the shape."""
    offered: dict[str, Any] = dict.fromkeys(("classes", "num_classes", "n_classes"), classes)
    offered |= dict.fromkeys(("shape", "input_shape"), shape)
    offered |= dict.fromkeys(("in_channels", "num_channels"), shape[0])
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-ins have none
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: offered[p.name] for p in parameters if p.kind in named and p.name in offered}


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Put the current folder first on sys.path, as `python file.py` would, for a while."""
    folder = os.getcwd()
    importlib.invalidate_caches()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
