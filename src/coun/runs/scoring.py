"""Scores of rows for forget requests that look at models, such as the most memorised rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coun.data import Split
from coun.data.requests import ModelPredictions, Request
from coun.engine import predict
from coun.errors import CounError
from coun.models.ensemble import Layout
from coun.runs.options import Options
from coun.runs.run import Run
from coun.runs.training import train

FIRST_SEED = 1_000_000  # of the models on halves, far from the seeds of users


def request_scores(run: Run, request: Request, *, options: Options | None = None) -> np.ndarray:
    """Score the training rows for *request*, with *run*'s model or with models trained for it.

    Args:
        run: the model to be unlearned; models on halves are trained by its recipe.
        options: how those models are computed.

    Returns: scores for `Split.of(..., scores=...)`, (N,) float64.

    Raises: CounError where models must be trained and the training of *run* is not on record.

    >>> import coun
    >>> from coun.data.requests import parse
    >>> data = coun.load("digits", limit=50)
    >>> request = parse({"kind": "memorised", "fraction": 0.1, "models": 2})
    >>> scores = request_scores(coun.train(data, "mlp", epochs=1), request)
    >>> len(coun.Split.of(data, request, scores=scores).forget)
    5
    """
    data = run.data
    rows = torch.ones(len(data.train), dtype=torch.bool)
    if run.split is not None:
        rows = torch.isin(data.train.numbers, run.split.retain)
    predictions = [_predict(run, rows)] if request.needs_original else []
    for number in range(request.half_models):
        seed = FIRST_SEED + number
        split = Split.random(data, 0.5, seed=seed, earlier=run.split)
        model, settings = training_of(run)
        half = train(data, model, split=split, seed=seed, options=options, **settings)
        predictions.append(_predict(half, torch.isin(data.train.numbers, split.retain)))
    return request.score(predictions, data)


def _predict(run: Run, trained_on: Tensor) -> ModelPredictions:
    outputs = predict(run.classifier, run.data, run.data.train, anywhere=True)
    return ModelPredictions(outputs.logits, outputs.features, trained_on)


def training_of(run: Run) -> tuple[str | Callable[[], nn.Module], dict[str, Any]]:
    """Return the network and the training settings of *run*'s Original, to train it again.

    Raises: CounError if its training is not on record.
    """
    name, settings = run.record.model.name, dict(run.record.original)
    model = (Layout.parse(name) or (None, name))[1] if name else run.build
    if model is None or not settings:
        raise CounError(
            "models must be trained as the given model was, and how it was trained is not on "
            "record; start from a run folder that coun train wrote"
        )
    return model, settings
