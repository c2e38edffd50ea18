"""Which classes the forgotten rows are given, beside those that Retrain gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coun.audit.scores import Subject
from coun.data.subsets import at_most
from coun.errors import CounError
from coun.metrics import (
    centroid_distances,
    centroids,
    class_similarities,
    js_divergence,
    neighbour_histograms,
    prediction_rows,
    row_difference,
    semantic_correlation,
)
from coun.metrics.arrays import Floats
from coun.seeds import Seeds

QUERIES = 1_000  # forget rows whose neighbours are looked for, at most
NEIGHBOURS = (1, 10, 200)


def semantics(
    subjects: Mapping[str, Subject], retrains: Sequence[Subject], classes: Sequence[str]
) -> dict[str, Any]:
    """Describe, for each model and forgotten class, what its rows are taken for. JSON-able.

    Returns: by model `classes`, and in it by class (lists in the order of *classes*):
        `predictions`, percent of its forget rows per predicted class; `difference`, the mean
        distance to the Retrains' rows, points; `centroid_distances`, to retain centroids, divided
        by the largest. `neighbours`: classes of the nearest retain rows at k = 1, 10, 200 of at
        most 1,000 forget rows, with the Jensen-Shannon divergence to the first Retrain's.
        `correlation`: of the first Retrain, Spearman's between a class's similarity to others and
        its predictions, the premise of the paper; only where its rows are given other classes.
    """
    exact = [prediction_rows(s.logits("forget"), s.labels("forget")) for s in retrains]
    middle = np.mean(exact, axis=0) if exact else None
    near = {name: _neighbours(s, len(classes)) for name, s in subjects.items()}
    first = _neighbours(retrains[0], len(classes)) if retrains else None
    result: dict[str, Any] = {}
    for name, subject in subjects.items():
        labels = subject.labels("forget")
        rows = prediction_rows(subject.logits("forget"), labels)
        centres = centroids(subject.features("retain"), subject.labels("retain"), len(classes))
        present = ~np.isnan(centres).any(1)
        table = {}
        for c in np.unique(labels.numpy()):
            far = np.full(len(classes), np.nan)
            rows_of_class = subject.features("forget")[labels == c]
            far[present] = centroid_distances(rows_of_class, centres[present])
            table[classes[c]] = {
                "predictions": rows[c].tolist(),
                "difference": None if middle is None else row_difference(rows[c], middle[c]),
                "centroid_distances": far.tolist(),
            }
        result[name] = {
            "classes": table,
            "neighbours": {str(k): h.tolist() for k, h in near[name].items()},
            "neighbours_js": first
            and {str(k): js_divergence(h[None], first[k][None]) for k, h in near[name].items()},
        }
    if retrains:
        result["correlation"] = _correlations(retrains[0], exact[0], classes)
    return result


def _neighbours(subject: Subject, classes: int) -> dict[int, Floats]:
    labels = subject.labels("forget")
    rows = at_most(QUERIES, labels)
    ks = tuple(k for k in NEIGHBOURS if k <= len(subject.labels("retain")))
    return neighbour_histograms(
        subject.features("forget")[rows],
        subject.features("retain"),
        subject.labels("retain"),
        classes,
        ks,
    )


def _correlations(retrain: Subject, rows: Floats, classes: Sequence[str]) -> dict[str, Any]:
    """Use the class's forget rows for similarities: Retrain has no retained row of the class."""
    labels = retrain.labels("forget")
    centres = centroids(retrain.features("retain"), retrain.labels("retain"), len(classes))
    results = {}
    for c in np.unique(labels.numpy()):
        middles = centres.copy()
        middles[c] = retrain.features("forget")[labels == c].double().mean(0).numpy()
        near = class_similarities(np.nan_to_num(middles), int(c))
        near[np.isnan(middles).any(1)] = np.nan
        try:
            result = semantic_correlation(
                near, rows[c], int(c), generator=Seeds(0).numpy("semantics", int(c))
            )
        except CounError:  # fewer than three other classes
            continue
        results[classes[c]] = {
            "rho": result.rho,
            "p": result.p,
            "permutations": result.permutations,
        }
    return results
