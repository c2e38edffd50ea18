"""A linear probe: what a simple classifier still reads out of frozen features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints, Values, class_numbers, floats
from coun.metrics.ensembles import margins

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Probe:
    """Accuracy of a linear probe, percent; `converged` is false where the fit hit its limit."""

    forget_accuracy: float
    test_accuracy: float
    converged: bool

    def excess(self, retrain: Probe) -> float:
        """Points of forget accuracy above Retrain's probe: information that should be gone."""
        return self.forget_accuracy - retrain.forget_accuracy


def linear_probe(
    train: tuple[Values, Values],
    forget: tuple[Values, Values],
    test: tuple[Values, Values],
    *,
    iterations: int = 1_000,
) -> Probe:
    """Fit multinomial logistic regression on *train*, score it on *forget* and *test*.

    Args: each a pair of penultimate features (N, D), eval mode, and labels (N,). To ask what
        a model's features still hold of the forget set, *train* is the whole training set
        with its true labels, forget rows included, and Retrain's probe is the measure.

    Features are standardised by *train*; the regression is scikit-learn's, lbfgs, C = 1, and
    draws no random numbers.

    Source: the protocol is ours. Raises: CounError if *train* has one class only.
    """
    model = _fit(*_rows("train", train), iterations)
    return Probe(
        100.0 * float(model.score(*_rows("forget", forget))),
        100.0 * float(model.score(*_rows("test", test))),
        bool(model[-1].n_iter_.max() < iterations),
    )


def probe_margins(
    train: tuple[Values, Values], asked: tuple[Values, Values], *, iterations: int = 50
) -> Floats:
    """The probe's log-odds of the true class of each of the *asked* rows (M,), in nats.

    Args: pairs of features and labels, as for `linear_probe`; fitted on *train*. Its limit
        of iterations is lower, as log-odds need no optimum to be compared.

    Raises: CounError if *asked* has a class that *train* lacks.
    """
    rows, labels = _rows("train", train)
    queries, wanted = _rows("asked", asked)
    model = _fit(rows, labels, iterations)
    known = model[-1].classes_
    strange = np.setdiff1d(wanted, known)
    if len(strange):
        raise CounError(f"class {strange[0]} is not among the probe's training labels")
    scores = model.decision_function(queries)
    if scores.ndim == 1:  # of two classes scikit-learn gives one log-odds
        scores = np.stack([np.zeros_like(scores), scores], 1)
    return margins(scores, np.searchsorted(known, wanted))


def _rows(name: str, given: tuple[Values, Values]) -> tuple[Floats, Ints]:
    features = floats(given[0], f"{name} features", 2)
    return features, class_numbers(given[1], len(features), np.iinfo(np.int64).max)


def _fit(features: Floats, labels: Ints, iterations: int) -> Pipeline:
    from sklearn.exceptions import ConvergenceWarning  # scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) < 2:
        raise CounError("the probe's training labels are all one class; expected two or more")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        model.fit(features, labels)
    return model
