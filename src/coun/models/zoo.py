"""Models by name: built-in ones, those of other libraries and plug-ins, and `module:factory`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from coun.errors import CounError, one_line, unknown
from coun.models.checkpoints import IN_FOLDER
from coun.models.cnn import cnn
from coun.models.copies import make_model
from coun.models.ensemble import Layout, Shards
from coun.models.families import Preprocessing, catalogue, family_of
from coun.models.mlp import mlp
from coun.models.resnet import resnet8, resnet18, resnet20
from coun.models.text import text
from coun.models.vgg import vgg7, vgg7_wide, vgg16
from coun.models.vit import vit, vit_small_data
from coun.plugins import load_plugin, registered
from coun.trust import Trust, import_code, importable

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

    build: Callable[..., nn.Module]
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
    "vgg7": ModelEntry(vgg7, "seven convolutions, 1.2 M; all of CIFAR-10 on two cores", "small"),
    "vgg7-wide": ModelEntry(
        vgg7_wide, "the same with the published widths, 2.0 M; all of CIFAR-10 on a GPU", "small"
    ),
    "resnet8": ModelEntry(resnet8, "three residual blocks at half resolution, 1.2 M", "small"),
    "cnn": ModelEntry(cnn, "three convolutions, 0.11 M; digits in seconds", "small"),
    "mlp": ModelEntry(
        mlp, "two hidden layers of 256, for tables and numbers of any shape", "small"
    ),
    "text": ModelEntry(text, "small transformer for token ids, 67 k and 64 per token id", "small"),
}


def build(
    name: str,
    *,
    classes: int,
    shape: tuple[int, ...],
    vocabulary: int | None = None,
    trust: Trust = False,
    config: dict[str, Any] | None = None,
) -> nn.Module:
    """Build a model by its name, with weights from the global generator: seed that first.

    Five kinds of names are known: those of `MODELS`; those of other libraries, such as
    `timm:resnet18` (see `coun.models.families`); those that another package registers as entry
    points in the group `coun.models`; `package.module:factory` for a model of your own, whose
    module may be in the current folder; and "ensemble:3x2:one_hot:200:NAME", an ensemble of
    the network NAME (see `Layout`).

    A factory, of a plug-in or your own, is a function or a class. It is called with those of
    these arguments that it names: `classes`, `num_classes` or `n_classes`; `shape` or
    `input_shape`, the whole shape; `in_channels` or `num_channels`, its first number; and for
    texts `vocabulary`, `vocab_size` or `num_embeddings`, the number of token ids. Names hidden
    behind **kwargs are not seen.

    Args:
        name: of the model.
        classes: K, at least 2.
        shape: of one input, (channels, height, width), (D,), or (T,) for texts of T tokens.
        vocabulary: for texts, the number of token ids.
        trust: whether a `module:factory` may be imported: True for a name that the user gave.
        config: what `recorded_config` gave for this name, in place of the file it was read from.

    Raises: CounError if the name is unknown or not trusted, the module cannot be imported, has
        no such attribute, or the factory fails or returns no nn.Module.

    >>> build("cnn", classes=10, shape=(1, 8, 8)).head
    Linear(in_features=128, out_features=10, bias=True)
    """
    if classes < 2:
        raise CounError(f"a classifier needs at least 2 classes; got {classes}")
    if cut := Layout.parse(name):
        layout, network = cut
        make = partial(
            build,
            network,
            classes=classes,
            shape=shape,
            vocabulary=vocabulary,
            trust=trust,
            config=config,
        )
        dtype = torch.float32 if vocabulary is None else torch.int64
        return Shards(layout, make, example=torch.zeros(2, *shape, dtype=dtype))
    if member := family_of(name):
        family, argument = member
        with _said_in_one_line(name):
            return family.build(argument, classes, shape, config)
    offered = _offered(classes, shape, vocabulary)
    if ":" in name:
        return _build_own(name, offered, trust)
    check_name(name)
    if name in MODELS:
        factory = MODELS[name].build
        arguments = _arguments(factory, offered)
        if vocabulary is not None and "vocabulary" not in arguments:
            raise CounError(
                f"{name} takes numbers, but the rows of this data are token ids; expected a model "
                "of texts, such as text, or floats if these integers are not token ids"
            )
        return factory(**arguments)
    return _call(name, load_plugin(registered(GROUP)[name]), offered)


def check_name(name: str) -> None:
    """Refuse a *name* without a colon that is not a model. Raises: CounError with the nearest.

    >>> check_name("cnn")
    """
    names = [*MODELS, *registered(GROUP)]
    if ":" not in name and name not in names:
        raise unknown("model", name, [*names, *(f.spelling for f in catalogue().values())])


def code_name(name: str) -> str | None:
    """Return the `module:factory` that building the model *name* imports; None if it imports none.

    >>> code_name("ensemble:3x2:one_hot:200:my_nets:small"), code_name("cnn")
    ('my_nets:small', None)
    """
    if cut := Layout.parse(name):
        return code_name(cut[1])
    return name if ":" in name and family_of(name) is None else None


def is_built_in(name: str | None) -> bool:
    """Return whether the code of the model *name* is coun's own.

    >>> is_built_in("ensemble:3x2:one_hot:200:cnn"), is_built_in("my_nets:small")
    (True, False)
    """
    if name and (cut := Layout.parse(name)):
        return is_built_in(cut[1])
    return name in MODELS


def preprocessing(name: str | None) -> Preprocessing | None:
    """Return how the model *name* expects its images; None where its name does not say it.

    >>> preprocessing("cnn")
    """
    if name and (cut := Layout.parse(name)):
        return preprocessing(cut[1])
    member = family_of(name)
    return member[0].preprocessing(member[1]) if member else None


def recorded_config(name: str | None) -> dict[str, Any] | None:
    """Return what a record must hold so that `build` makes the model *name* without a file.

    >>> recorded_config("resnet18") is None  # its name says everything
    True
    """
    if name and (cut := Layout.parse(name)):
        return recorded_config(cut[1])
    member = family_of(name)
    return member[0].config(member[1]) if member else None


def name_of_folder(folder: Path) -> str | None:
    """Return the name of the trained model that another library saved in *folder*; None if none.

    The file of weights in such a folder counts as the folder, without which it says too little.

    >>> name_of_folder(Path("nowhere"))
    """
    folder = folder.parent if folder.name in IN_FOLDER else folder
    for family in catalogue().values():
        if family.holds(folder):
            return f"{family.prefix}:{folder.absolute()}"
    return None


def load_trained(name: str) -> tuple[nn.Module, tuple[str, ...]]:
    """Load the trained model *name* of another library, and the names of its classes, if known.

    Raises: CounError if the name is of no library that keeps weights, or loading fails.

    >>> load_trained("resnet18")
    Traceback (most recent call last):
    ...
    coun.errors.CounError: model 'resnet18' has no weights of its own; expected hf:FOLDER
    """
    member = family_of(name)
    if member is None or member[0].load is None:
        raise CounError(f"model '{name}' has no weights of its own; expected hf:FOLDER")
    family, argument = member
    assert family.load is not None
    return family.load(argument), family.classes(argument)


def _build_own(name: str, offered: Mapping[str, Any], trust: Trust) -> nn.Module:
    """Build a model of the user's own, `package.module:factory`."""
    factory = import_code(name, "model", trust=trust)
    # The factory may import modules beside its own only when it is called.
    with importable(name):
        return _call(name, factory, offered)


def _call(name: str, factory: Any, offered: Mapping[str, Any]) -> nn.Module:
    """Build the model *name* by its *factory*."""
    if not callable(factory) or isinstance(factory, nn.Module):
        raise CounError(
            f"model '{name}': expected a function or class that builds a model; "
            f"got a {type(factory).__name__}"
        )

    def make() -> nn.Module:
        with _said_in_one_line(name):
            model = factory(**_arguments(factory, offered))
        if not isinstance(model, nn.Module):
            kind = type(model).__name__
            raise CounError(f"model '{name}': expected an nn.Module back; got a {kind}")
        return model

    return make_model(make, offered["shape"])


@contextmanager
def _said_in_one_line(name: str) -> Iterator[None]:
    """Say of which model the building failed, whatever its authors' code raises."""
    try:
        yield
    except CounError:
        raise
    except (Exception, SystemExit) as error:
        raise CounError(f"model '{name}': building it failed: {one_line(error)}") from error


def _offered(classes: int, shape: tuple[int, ...], vocabulary: int | None) -> dict[str, Any]:
    """What factories may ask for, by the names that it goes by."""
    offered: dict[str, Any] = dict.fromkeys(("classes", "num_classes", "n_classes"), classes)
    offered |= dict.fromkeys(("shape", "input_shape"), shape)
    if vocabulary is None:
        return offered | dict.fromkeys(("in_channels", "num_channels"), shape[0])
    return offered | dict.fromkeys(("vocabulary", "vocab_size", "num_embeddings"), vocabulary)


def _arguments(factory: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, among those *offered*, that *factory* names."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some built-in callables have no signature
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: offered[p.name] for p in parameters if p.kind in by_name and p.name in offered}
