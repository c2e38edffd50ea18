"""Use a run without its training data: load its model and its views."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from coun.data.preprocessing import imported_views
from coun.data.views import Transform
from coun.errors import CounError
from coun.models import build as build_model
from coun.models import load_weights, make_model, to_be_filled
from coun.models.zoo import code_name
from coun.runs.folder import RECORD, WEIGHTS, expanded, read_record
from coun.runs.preprocessing import check_trust, made_again
from coun.runs.record import RunRecord
from coun.runs.run import check_weights
from coun.trust import Trust, require_trust


def load_model(
    folder: str | Path, *, build: Callable[[], nn.Module] | None = None, trust: Trust = False
) -> nn.Module:
    """Load the model of a finished run, without its data, to use it.

    Args:
        folder: the run folder.
        build: makes the module, for a run of a module that was passed in Python.
        trust: as for `Run.open`.

    Returns: the module in eval mode. It takes what `load_views(folder).evaluate` returns.

    Raises: CounError if the folder holds no finished run, names code that is not trusted, or
        does not hold the weights that it recorded.

    >>> import coun, os, tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "run")
    >>> _ = coun.train(coun.load("digits", limit=20), "mlp", epochs=1, out=folder)
    >>> images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    >>> load_model(folder)(load_views(folder).evaluate(images)).shape
    torch.Size([2, 10])
    """
    folder = expanded(folder)
    record = read_record(folder)
    code = code_name(record.model.name or "")
    if build is None and code is not None:
        require_trust(code, f"{folder / RECORD}: model", trust)
    shape = input_shape(record, recorded_views(folder, record, trust))
    if build is not None:
        make: Callable[[], nn.Module] = partial(make_model, build, shape)
    elif record.model.name is None:
        raise CounError(
            f"{folder} holds a module passed in Python; pass build=..., the function that makes it"
        )
    else:
        make = partial(
            build_model,
            record.model.name,
            classes=len(record.data.classes),
            shape=shape,
            vocabulary=record.data.vocabulary,
            trust=trust,
            config=record.model.config,
        )
    model = to_be_filled(make)
    load_weights(model, folder / WEIGHTS)
    check_weights(folder, record, model)
    return model.eval()


def load_views(folder: str | Path, *, trust: Trust = False) -> Transform:
    """Return the views of a finished run; their `evaluate` prepares images for its model.

    Args:
        folder: the run folder.
        trust: as for `Run.open`.

    Returns: the views. `evaluate` takes images (N, C, H, W), uint8 as in the data of the run, and
        returns what the model takes, float32.

    Raises: CounError if the views were made in Python, and are not in the record.

    >>> import coun, os, tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "run")
    >>> _ = coun.train(coun.load("digits", limit=20), "mlp", epochs=1, out=folder)
    >>> load_views(folder).evaluate(torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).dtype
    torch.float32
    """
    folder = expanded(folder)
    record = read_record(folder)
    views = recorded_views(folder, record, trust)
    if views is None:
        raise CounError(
            f"{folder} was made with the views {record.data.views[:120]}, which its record does "
            "not hold; use the transform of the training"
        )
    return views


def recorded_views(folder: Path, record: RunRecord, trust: Trust) -> Transform | None:
    """The views of a record; None where they were made in Python."""
    check_trust(folder, record.data, trust)
    recorded = record.data.preprocessing
    if recorded is not None and recorded.code:
        return imported_views(recorded.code, trust=trust)
    return made_again(record.data)


def input_shape(record: RunRecord, views: Transform | None) -> tuple[int, ...]:
    """The shape of one input of the model."""
    shape = tuple(record.data.shape)
    texts = record.data.vocabulary is not None
    if texts or views is None:
        return shape
    return tuple(views.evaluate(torch.zeros(2, *shape)).shape[1:])
