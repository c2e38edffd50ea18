"""What is done with images before a model sees them: as its name says, or as a run recorded."""

from __future__ import annotations

import ast
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from coun.data import Data, Views
from coun.data.preprocessing import imported_views, with_class_order
from coun.data.row_views import TableViews, TokenViews
from coun.data.views import OF_GREY, Transform
from coun.errors import CounError
from coun.models import preprocessing
from coun.runs.record import DataRecord, ViewsRecord
from coun.trust import Trust, require_trust

# Views that are made again from a record.
OWN: dict[str, Any] = {"Views": Views, "TableViews": TableViews, "TokenViews": TokenViews}

_log = logging.getLogger(__name__)


def for_model(data: Data, name: str | None) -> Data:
    """Return *data* with the mean, deviation, channels and size that the model *name* expects.

    Numbers that the user gave stay. Images are scaled only for a model that runs at one size.
    """
    expected, views = preprocessing(name), data.views
    if expected is None or not isinstance(views, Views) or len(data.shape) != 3:
        return data
    changes: dict[str, Any] = {}
    if views.is_default and expected.mean and expected.std:
        if len(expected.mean) > 1:
            data = with_channels(data, len(expected.mean))
        changes = {"mean": expected.mean, "std": expected.std, "origin": expected.origin}
    if expected.fixed and views.size is None and data.shape[1:] != expected.size:
        changes["size"] = expected.size
    changed: Any = data.views
    return replace(data, views=replace(changed, **changes)) if changes else data


def for_network(data: Data, network: nn.Module) -> Data:
    """Return *data* in colour or in grey, as the first convolution of *network* takes it."""
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.in_channels not in (1, 3):
        return data
    return with_channels(data, first.in_channels)


def with_channels(data: Data, channels: int, *, quiet: bool = False) -> Data:
    """Return *data* whose images reach the model with *channels*.

    A warning says what changed, unless *quiet*. Data that does not consist of grey or colour
    images, or has views of its own, stays as it is.

    Raises: CounError if the user gave three means for a model that takes grey images.
    """
    views = data.views
    if len(data.shape) != 3 or data.shape[0] not in (1, 3) or not isinstance(views, Views):
        return data
    if (views.channels or data.shape[0]) == channels or channels not in (1, 3):
        return data
    changes: dict[str, Any] = {"channels": None if data.shape[0] == channels else channels}
    if not quiet:
        _log.warning(
            "the model takes images in colour; these are grey, and are repeated on three channels"
            if channels == 3
            else "the model takes grey images; these are in colour, and are turned to grey"
        )
    if channels == 1:
        if views.is_default:
            changes |= {"mean": (0.5,), "std": (0.5,), "origin": OF_GREY}
        elif len(views.mean) > 1 or len(views.std) > 1:
            raise CounError(
                "the model takes grey images, so that --mean and --std are one number each; these "
                f"are {len(views.mean)} and {len(views.std)}"
            )
    return replace(data, views=replace(views, **changes))


def in_order_of_model(data: Data, names: tuple[str, ...], where: str) -> Data:
    """Return *data* with its classes in the order in which the model at *where* names them."""
    if not names or names == data.classes:
        return data
    if sorted(names) == sorted(data.classes):
        _log.warning("%s: classes are taken in the order of the model, not of the data", where)
        return with_class_order(data, names)
    if len(names) == len(data.classes):
        differing = next(
            pair for pair in zip(names, data.classes, strict=True) if len(set(pair)) > 1
        )
        _log.warning(
            "%s: the model calls a class '%s', the data '%s'; the order must be the same",
            where,
            *differing,
        )
    return data


def describe_views(data: Data) -> ViewsRecord | None:
    """Record the views of *data* as numbers; None for views made in Python."""
    views = data.views
    if data.views_code:
        return ViewsRecord(code=data.views_code)
    if not isinstance(views, Views):
        return None
    return ViewsRecord(
        letters=views.letters,
        padding=views.padding,
        mean=list(views.mean),
        std=list(views.std),
        per_batch=views.per_batch,
        size=list(views.size) if views.size else None,
        channels=views.channels,
        origin=views.origin,
    )


def printed(views: object) -> str:
    """Return how a transform prints, or its class where that would show an address."""
    text = repr(views)
    return f"{type(views).__module__}.{type(views).__qualname__}" if " at 0x" in text else text


def made_again(record: DataRecord) -> Transform | None:
    """Make coun's own views of a *record* again; None for a transform of another kind."""
    recorded = record.preprocessing
    if recorded is None:
        return _parsed(record.views)
    if recorded.code:
        return None
    return Views(
        recorded.letters,
        recorded.padding,
        tuple(recorded.mean),
        tuple(recorded.std),
        recorded.per_batch,
        (recorded.size[0], recorded.size[1]) if recorded.size else None,
        recorded.channels,
        recorded.origin,
    )


def check_trust(folder: Path, record: DataRecord, trust: Trust) -> None:
    """Refuse a record that names code as its views, before any of its data is read."""
    if record.preprocessing and record.preprocessing.code:
        require_trust(record.preprocessing.code, f"{folder}: views", trust)


def as_recorded(
    folder: Path, record: DataRecord, data: Data, *, is_loaded: bool, trust: Trust
) -> Data:
    """Return *data* with the views that the run in *folder* recorded.

    Args: is_loaded: whether the caller passed *data*, perhaps with views of its own.

    Raises: CounError if the views were made in Python and *data* does not have them.
    """
    views = made_again(record)
    custom = is_loaded and not isinstance(data.views, Views)
    if views is not None and not custom:
        return data if data.views == views else replace(data, views=views, views_code="")
    if printed(data.views) == record.views:
        return data
    code = record.preprocessing.code if record.preprocessing else ""
    if code and not custom:
        return replace(data, views=imported_views(code, trust=trust), views_code=code)
    raise CounError(
        f"{folder} was made with the views {record.views[:120]}, this data has "
        f"{printed(data.views)[:120]}; pass data= with the views of the run"
    )


def _parsed(text: str) -> Transform | None:
    """Read views from how they print: those of tables and texts, and of records of version 0.1."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        kind = OWN[ast.unparse(call.func)]
        views: Transform = kind(**{str(k.arg): ast.literal_eval(k.value) for k in call.keywords})
        return views
    except (KeyError, SyntaxError, ValueError, TypeError, RecursionError, CounError):
        return None
