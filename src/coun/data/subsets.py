"""Stratified, seeded subsets of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.errors import CounError, require_type


def limited(data: Data, limit: int | None, test_limit: int | None = None) -> Data:
    """Cut *data* to stratified, seeded subsets; a part without a limit stays whole.

    Classes keep their shares (largest remainders first); rows keep their source order.

    Args: limit, test_limit: numbers of training and test rows to keep.
    """
    train, test = kept_rows((data.train.labels, data.test.labels), (limit, test_limit))
    if limit is not None:
        data = replace(data, train=data.train.take(train), limit=limit)
    return data if test_limit is None else replace(data, test=data.test.take(test))


def kept_rows(labels: Iterable[Tensor], limits: Iterable[int | None]) -> list[Tensor]:
    """The rows of the training and the test part that `--limit` and `--test-limit` keep."""
    return [
        torch.arange(len(part)) if limit is None else stratified(part, limit, 0, what=what)
        for part, limit, what in zip(labels, limits, ("--limit", "--test-limit"), strict=True)
    ]


def at_most(most: int, labels: Tensor, seed: int = 0) -> Tensor:
    """Positions of *most* of the rows with *labels* (N,), balanced over classes; or of all."""
    return stratified(labels, min(most, len(labels)), seed)


def stratified(labels: Tensor, count: int, seed: int, *, what: str = "subset") -> Tensor:
    """Positions of a class-balanced random subset of *labels* (N,), sorted, (count,) int64."""
    require_type(count, (int, np.integer), what, "a number of rows")
    if not 1 <= count <= len(labels):
        raise CounError(f"{what} is {count}; expected 1..{len(labels)}, the number of rows")
    rng = np.random.default_rng(seed)
    y = labels.cpu().numpy()
    sizes = np.bincount(y)
    quota = count * sizes / len(y)
    share = np.floor(quota).astype(int)
    for c in np.argsort(share - quota, kind="stable")[: count - share.sum()]:
        share[c] += 1
    rows = [rng.permutation(np.flatnonzero(y == c))[:n] for c, n in enumerate(share)]
    return torch.from_numpy(np.sort(np.concatenate(rows)))
