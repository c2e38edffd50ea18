"""Rows that look almost like given rows, by the features of a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.examples import Examples
from coun.data.lookup import Row, all_rows
from coun.errors import CounError

SIMILARITY = 0.97  # cosine of features from which rows count as near-copies


@dataclass(frozen=True)
class NearCopy:
    """A row that looks almost like a named row.

    Args:
        row: the row that nobody has named.
        like: the named row that it is most similar to.
        similarity: the cosine of their features, at most 1.
    """

    row: Row
    like: Row
    similarity: float


def near_copies(
    data: Data,
    features: Callable[[Examples], Tensor],
    *,
    train: Tensor,
    test: Tensor | None = None,
    leave_out: Tensor | None = None,
    least: float = SIMILARITY,
) -> list[NearCopy]:
    """Find the rows whose features are nearly those of a named row.

    Every other row is compared with the named row that is nearest to it. Whether two pictures
    show the same thing must be decided by a person: a model that was trained well gives similar
    features to many rows of one class.

    Args:
        data: the rows.
        features: computes features of N examples, (N, D).
        train, test: numbers of the named training and test rows, (n,) int64. Rows that are
            deleted from the data are not compared.
        leave_out: numbers of training rows that are not proposed, because they were forgotten
            before, (m,) int64.
        least: cosine of features from which a row is proposed, above 0 and at most 1.

    Returns: the near-copies, the most similar first.

    Raises: CounError for *least* outside its range, or features that are not finite.

    >>> import coun
    >>> data = coun.load("digits", limit=100)
    >>> pixels = lambda rows: rows.fetch(torch.arange(len(rows))).flatten(1).float()
    >>> near_copies(data, pixels, train=data.train.numbers[:1], least=0.999)
    []
    """
    from sklearn.neighbors import NearestNeighbors

    if not 0 < least <= 1 or not math.isfinite(least):
        raise CounError(f"the similarity of near-copies is {least}; expected above 0, at most 1")
    rows = all_rows(data)
    numbers = torch.cat([data.train.numbers, data.test.numbers])
    in_training = torch.arange(len(numbers)) < len(data.train)
    named = in_training & torch.isin(numbers, train)
    if test is not None:
        named |= ~in_training & torch.isin(numbers, test)
    excluded = named.clone()
    if leave_out is not None:
        excluded |= in_training & torch.isin(numbers, leave_out)
    asked, others = np.flatnonzero(named.numpy()), np.flatnonzero(~excluded.numpy())
    if not len(asked) or not len(others):
        return []
    values = torch.cat([features(data.train), features(data.test)]).double().numpy()
    if not np.isfinite(values).all():
        raise CounError("the model gives features that are not finite; rows cannot be compared")
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(values[asked])
    distances, places = search.kneighbors(values[others])
    similarity = np.minimum(1 - distances[:, 0], 1)
    order = np.argsort(-similarity, kind="stable")
    return [
        NearCopy(rows[others[i]], rows[asked[places[i, 0]]], round(float(similarity[i]), 6))
        for i in order[similarity[order] >= least]
    ]
