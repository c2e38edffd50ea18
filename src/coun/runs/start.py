"""What a run starts from, in the architecture that its method fills in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from coun.data import Data
from coun.errors import CounError
from coun.methods import Method
from coun.models import build
from coun.models.ensemble import FORGOTTEN, Layout, Shards
from coun.seeds import Seeds


@dataclass
class Start:
    """Where a run begins: a model, how to make it again, and what is on record of it."""

    model: nn.Module
    name: str | None
    build: Callable[[], nn.Module] | None
    original: dict[str, Any] = field(default_factory=dict)
    original_seed: int | None = None
    parent: dict[str, Any] | None = None
    head: str | None = None


def shaped(start: Start, method: Method, data: Data) -> Start:
    """*start* as it is, or in its place what *method* builds of the same networks.

    An ensemble that is cut anew forgets its networks, but not which rows it had to forget.

    Raises: CounError if networks must be made and nothing makes them, or if a method for one
        network is to start from an ensemble.
    """
    layout, old = method.layout(data), start.model
    ensemble = old if isinstance(old, Shards) else None
    if layout == (ensemble.layout if ensemble else None):
        return start
    if layout is None and not method.exact:
        raise CounError(
            f"{method.name} changes one network, but this model is an ensemble of "
            f"{len(ensemble.members) if ensemble else 0}; expected an exact method"
        )
    known = Layout.parse(start.name or "")
    name, make = known[1] if known else start.name, ensemble.make if ensemble else start.build
    if make is None:
        raise CounError(
            f"{method.name} trains fresh networks; pass the function that makes one as build="
        )
    if layout is not None and name:
        name = layout.name(name)
        make = partial(build, name, classes=len(data.classes), shape=data.shape)
    elif layout is not None:
        make = partial(Shards, layout, make, example=blank(data), head=start.head)
    with Seeds(0).as_global("init", "shape"):  # the plan draws the weights that count
        model = make()
    if ensemble and isinstance(model, Shards) and len(model.place) == len(ensemble.place):
        model.place[ensemble.place == FORGOTTEN] = FORGOTTEN
    return replace(start, model=model, name=name, build=make, head=None)


def blank(data: Data) -> Tensor:
    """A batch of two blank images, as the model sees them; no sample is read for it."""
    return data.views.evaluate(torch.zeros((2, *data.shape), dtype=data.dtype))
