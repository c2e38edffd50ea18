"""Outputs that several functions of one command share, so that no model is run twice."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from coun.data import Data
from coun.data.lazy import subset
from coun.engine import predict
from coun.models import Classifier, Outputs, weights_digest


class SharedOutputs:
    """Outputs of models, each computed once for a set of rows.

    `evaluate`, `audit` and `predictions` run a model over the same rows. One object of this
    class that is given to all of them lets the later ones read what the first one computed. A
    model is recognised by its code and its weights, so a model that was trained on meanwhile is
    run again. Outputs stay in memory as long as the object.

    Args:
        with_features: whether features are kept. They take most of the memory, and an audit
            needs them.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run, shared = coun.train(data, "mlp", epochs=1), SharedOutputs()
    >>> values = coun.evaluate(run, shared=shared)
    >>> coun.evaluate(run, shared=shared) == values  # the model is not run again
    True
    """

    def __init__(self, *, with_features: bool = True) -> None:
        self.with_features = with_features
        # Rows and views are part of the key by identity, and kept so that it stays theirs.
        self._outputs: dict[tuple[Any, ...], tuple[Outputs, tuple[Any, ...]]] = {}

    def predict(
        self,
        classifier: Classifier,
        data: Data,
        part: Literal["train", "test"],
        rows: Tensor | None = None,
        *,
        progress: bool = False,
        title: str = "",
    ) -> Outputs:
        """Return what `coun.engine.predict` gives for *rows* of a part; not to be changed.

        Args:
            classifier: a wrapped model.
            data: the data whose views turn images into inputs.
            part: the part that the rows are of.
            rows: their positions, (N,) int64; None for all rows of the part.
            progress, title: as for `coun.engine.predict`.
        """
        examples = data.train if part == "train" else data.test
        places = torch.arange(len(examples)) if rows is None else rows
        network = classifier.inner
        model = (type(network), repr(network), classifier.head_name, weights_digest(network))
        key = (*model, id(examples), id(data.views), places.cpu().numpy().tobytes())
        if key not in self._outputs:
            outputs = predict(
                classifier,
                data,
                examples if rows is None else subset(examples, rows),
                progress=progress,
                title=title,
                with_features=self.with_features,
                anywhere=True,
            )
            self._outputs[key] = outputs, (examples, data.views)
        return self._outputs[key][0]

    def drop(self, classifier: Classifier) -> None:
        """Free the memory of a model whose outputs are not needed again."""
        digest = weights_digest(classifier.inner)
        self._outputs = {key: outputs for key, outputs in self._outputs.items() if key[3] != digest}
