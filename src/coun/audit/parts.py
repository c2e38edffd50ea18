"""What a forget request consists of, whatever words named its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from coun.data import Data, Split
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
    """

    exchangeable: Ints
    listed: Ints
    classes: tuple[int, ...]
    kind: str

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
        return replace(
            parts,
            exchangeable=slots[parts.exchangeable],
            listed=slots[parts.listed],
            kind=split.content_kind,
        )

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
        """The same rows if none of them may be compared with test rows."""
        rows = np.sort(np.concatenate([self.exchangeable, self.listed]))
        return RequestParts(rows[:0], rows, self.classes, self.kind)
