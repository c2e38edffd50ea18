"""What a forget request consists of, whatever words named its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from coun.data import Data, Split
from coun.data.content import row_hashes
from coun.metrics.arrays import Ints


@dataclass(frozen=True, eq=False)
class RequestParts:
    """The forgotten rows, divided by what makes a test of them exact.

    Attributes:
        exchangeable: positions, among the forgotten rows, of rows that were drawn at random or
            belong to a class that is forgotten whole. Without training on them, a model treats
            them like test rows of their class.
        listed: positions of all other rows. They may differ from test rows by nature.
        classes: labels of the classes that are forgotten whole.
        kind: "random", "class", "listed" or "mixed".
        copied: how many rows would be exchangeable, but are left out because a retained row has
            the same input: a model that never saw them knows them by the copy.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> parts = RequestParts.of(data, coun.Split.random(data, 0.2))
    >>> parts.kind, len(parts.exchangeable), len(parts.listed)
    ('random', 12, 0)
    """

    exchangeable: Ints
    listed: Ints
    classes: tuple[int, ...]
    kind: str
    copied: int = 0

    @classmethod
    def of(cls, data: Data, split: Split) -> RequestParts:
        """Divide the forgotten rows that the data still has, in the order of `data.train`."""
        forget, retain = (split.rows(data, role) for role in ("forgotten", "retain"))
        labels = data.train.labels.cpu().numpy()
        random = torch.isin(data.train.numbers[forget], split.drawn).numpy()
        numbers = data.train.numbers[forget]
        tested = ~torch.isin(numbers, data.canary_numbers).numpy()  # they have their own test
        of_tested = labels[forget.numpy()][tested]
        parts = cls.from_labels(of_tested, labels[retain.numpy()], random[tested])
        slots = np.flatnonzero(tested)
        parts = replace(
            parts,
            exchangeable=slots[parts.exchangeable],
            listed=slots[parts.listed],
            kind=split.content_kind,
        )
        hashes = row_hashes(data.train)
        retained = {row.tobytes() for row in hashes[retain.numpy()]}
        copied = np.array([row.tobytes() in retained for row in hashes[forget.numpy()]], dtype=bool)
        return without_copies(parts, copied)

    @classmethod
    def from_labels(cls, forget: Ints, retain: Ints, random: np.ndarray) -> RequestParts:
        """Divide rows by their labels.

        Args:
            forget, retain: labels (M,), (N,).
            random: (M,) bool, whether a row was drawn at random.

        >>> labels = np.array([3, 3, 5])
        >>> RequestParts.from_labels(labels, np.array([5, 6]), np.zeros(3, bool)).kind
        'mixed'
        """
        classes = np.setdiff1d(forget[~random], retain)
        whole = np.isin(forget, classes) & ~random
        masks = {"random": random, "class": whole, "listed": ~random & ~whole}
        kinds = [kind for kind, mask in masks.items() if mask.any()]
        return cls(
            np.flatnonzero(random | whole),
            np.flatnonzero(masks["listed"]),
            tuple(int(c) for c in classes),
            kinds[0] if len(kinds) == 1 else "mixed",
        )

    def without_exchange(self) -> RequestParts:
        """Treat all rows as listed ones, where none may be compared with test rows."""
        rows = np.sort(np.concatenate([self.exchangeable, self.listed]))
        return replace(self, exchangeable=rows[:0], listed=rows)


def without_copies(parts: RequestParts, copied: np.ndarray) -> RequestParts:
    """Leave out exchangeable rows with a copy among the retained rows; if all have one, list them.

    Args: copied: (M,) bool, of all forgotten rows.

    >>> parts = RequestParts(np.array([0, 1, 2]), np.array([], int), (), "random")
    >>> without_copies(parts, np.array([True, False, False])).exchangeable
    array([1, 2])
    """
    rows = parts.exchangeable
    if copied[rows].all():
        return parts.without_exchange()
    return replace(parts, exchangeable=rows[~copied[rows]], copied=int(copied[rows].sum()))
