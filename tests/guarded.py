"""Examples that prove that nobody reads a row that must not be read."""

from __future__ import annotations

from torch import Tensor

from coun.data.examples import Examples, NamedRows


class Guarded(NamedRows):
    """Examples that raise when a row with a forbidden number is read."""

    def __init__(self, inner: Examples, forbidden: set[int]) -> None:
        self.inner, self.forbidden = inner, forbidden
        self.labels, self.numbers, self.names = inner.labels, inner.numbers, inner.names

    def __len__(self) -> int:
        return len(self.inner)

    def fetch(self, rows: Tensor) -> Tensor:
        touched = self.forbidden & set(self.numbers[rows].tolist())
        assert not touched, f"read the forbidden rows {touched}"
        return self.inner.fetch(rows)

    def take(self, rows: Tensor) -> Guarded:
        return Guarded(self.inner.take(rows), self.forbidden)
