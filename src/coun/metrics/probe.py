"""A linear probe: how much a simple classifier can still learn from frozen features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints, Values, class_numbers, floats
from coun.metrics.ensembles import margins
from coun.metrics.registry import Metric

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


PROBED = 3_000  # retain rows that the metric fits the probe to


@dataclass(frozen=True)
class Probe:
    """What a linear probe makes of the features of a model.

    Attributes:
        forget_accuracy, test_accuracy: percent.
        converged: false if the fit reached its largest number of iterations.

    >>> rows = np.array([[0.0], [0.1], [1.0], [1.1]]), np.array([0, 0, 1, 1])
    >>> linear_probe(rows, rows, rows).forget_accuracy
    100.0
    """

    forget_accuracy: float
    test_accuracy: float
    converged: bool


def linear_probe(
    train: tuple[Values, Values],
    forget: tuple[Values, Values],
    test: tuple[Values, Values],
    *,
    iterations: int = 1_000,
) -> Probe:
    """Fit multinomial logistic regression to features, and measure its accuracies.

    To find out what the features of a model still hold of the forget rows, *train* is the whole
    training set with its true labels, forget rows included; the result is compared with that
    of Retrain.

    Args:
        train, forget, test: pairs of penultimate features (N, D), in eval mode, and labels (N,).
            Features are standardised by *train*.
        iterations: the largest number of iterations of the fit (scikit-learn's, lbfgs, C = 1,
            without random numbers).

    Raises: CounError if *train* has only one class.

    Source: the protocol is ours.

    >>> rows = ([[0.0], [1.0]], [0, 1])
    >>> linear_probe(rows, rows, rows).forget_accuracy
    100.0
    """
    model = _fit(*_rows("train", train), iterations)
    return Probe(
        100.0 * float(model.score(*_rows("forget", forget))),
        100.0 * float(model.score(*_rows("test", test))),
        bool(model[-1].n_iter_.max() < iterations),
    )


def probe_margins(train: tuple[Values, Values], queries: tuple[Values, Values]) -> Floats:
    """Compute the log-odds that a linear probe gives to the true class of each query, (M,).

    Args:
        train: features and labels, as for `linear_probe`, to which the probe is fitted.
        queries: features (M, D) and labels (M,) of the rows to be scored.

    Returns: log-odds in nats.

    Raises: CounError if *queries* has a class that is missing in *train*.

    >>> x, y = np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> (probe_margins((x, y), (np.array([[3.0], [3.0]]), np.array([1, 0]))) > 0).tolist()
    [True, False]
    """
    rows, labels = _rows("train", train)
    features, truth = _rows("query", queries)
    model = _fit(rows, labels, 50)  # log-odds can be compared before the fit has converged
    classes = model[-1].classes_
    missing = np.setdiff1d(truth, classes)
    if len(missing):
        raise CounError(f"class {missing[0]} is not among the probe's training labels")
    scores = model.decision_function(features)
    if scores.ndim == 1:  # for two classes scikit-learn returns a single log-odds
        scores = np.stack([np.zeros_like(scores), scores], 1)
    return margins(scores, np.searchsorted(classes, truth))


def _rows(name: str, rows: tuple[Values, Values]) -> tuple[Floats, Ints]:
    features = floats(rows[0], f"{name} features", 2)
    return features, class_numbers(rows[1], len(features), np.iinfo(np.int64).max)


def _fit(features: Floats, labels: Ints, iterations: int) -> Pipeline:
    from sklearn.exceptions import ConvergenceWarning  # scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(labels)) < 2:
        raise CounError("the probe's training labels are all one class; expected two or more")
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` reports it
        model.fit(features, labels)
    return model


def _forget_accuracy(
    _: bool, retain: Values, retain_labels: Values, forget: Values, forget_labels: Values
) -> float:
    """The probe's forget accuracy, fitted to the forget rows and at most 3,000 retain rows."""
    rows, labels = np.asarray(retain), np.asarray(retain_labels)
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:PROBED])
    part = np.asarray(forget), np.asarray(forget_labels)
    both = np.concatenate([rows[chosen], part[0]]), np.concatenate([labels[chosen], part[1]])
    return linear_probe(both, part, part, iterations=50).forget_accuracy


PROBE = Metric(
    "probe_accuracy", "probe", "%", _forget_accuracy,
    ("on_request", "retain.features", "retain.labels", "forget.features", "forget.labels"),
    title="Forget accuracy of a linear probe on the features", column=None, digits=1,
)  # fmt: skip
