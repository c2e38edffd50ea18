"""What a family of models declares about itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from coun.errors import CounError, one_line
from coun.files import expanded


@dataclass(frozen=True)
class Preprocessing:
    """How a model expects its images.

    Args:
        size: (height, width) in pixels; None for any.
        mean, std: of each channel, for pixels in 0..1; None where they are not known.
        fixed: the model runs at this size only.
        origin: where these numbers are from, for messages and records.

    >>> Preprocessing(size=(224, 224), mean=(0.5,) * 3, std=(0.5,) * 3).size
    (224, 224)
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fixed: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Family:
    """One library of models, whose models are written `PREFIX:NAME`.

    Args:
        prefix: the word before the colon.
        argument: what follows it, in capitals.
        summary: one line for help and messages.
        build: makes a model with fresh weights from the argument, the number of classes, the
            shape of one input, and what `config` gave when the model was recorded, or None.
            Whatever it raises, `coun.models.build` says in one line.
        preprocessing: how the model of an argument expects its images.
        config: what a record must hold so that `build` needs no file; None for nothing.
        load: makes the model of an argument with its trained weights; None where a family has
            no weights of its own.
        holds: whether a folder holds a trained model of the family.
        classes: names of the classes of a trained model, in the order of its outputs; empty
            where they are not known.

    >>> def small(name, classes, shape, config):
    ...     return nn.Linear(shape[0], classes)
    >>> Family("tiny", "NAME", "small networks", small, lambda name: Preprocessing()).spelling
    'tiny:NAME'
    """

    prefix: str
    argument: str
    summary: str
    build: Callable[[str, int, tuple[int, ...], dict[str, Any] | None], nn.Module]
    preprocessing: Callable[[str], Preprocessing]
    config: Callable[[str], dict[str, Any] | None] = lambda _: None
    load: Callable[[str], nn.Module] | None = None
    holds: Callable[[Path], bool] = lambda _: False
    classes: Callable[[str], tuple[str, ...]] = lambda _: ()

    @property
    def spelling(self) -> str:
        """How a model of the family is written: `timm:NAME`."""
        return f"{self.prefix}:{self.argument}"


def require(package: str, prefix: str) -> Any:
    """Import *package*, which models of *prefix* need.

    Raises: CounError with the command that installs it, if it is not there or broken.

    >>> require("json", "json").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise CounError(f"{prefix}: {package} cannot be imported: {one_line(error)}") from error
        raise CounError(
            f"models '{prefix}:' need the package {package}, which is not installed: "
            f"pip install {package}"
        ) from error
    except Exception as error:  # a build for another torch raises RuntimeError or OSError
        raise CounError(
            f"{prefix}: {package} cannot be imported ({one_line(error)}); install the version that "
            "fits this torch"
        ) from error


def numbers(values: Any) -> tuple[float, ...] | None:
    """Return a list of numbers from a JSON file as a tuple; None for anything else."""
    values = values if isinstance(values, list | tuple) else [values]
    return tuple(map(float, values)) if all(isinstance(v, int | float) for v in values) else None


def path_of(folder: str) -> Path:
    """Return *folder* with a leading "~" replaced by the home folder."""
    return expanded(folder)
