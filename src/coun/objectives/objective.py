"""The algebra of objectives: terms can be added, subtracted and scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from coun.objectives.context import BatchContext

Term = Callable[[BatchContext], Tensor]
Weight = float | Callable[[float], float]


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms, each a function from a `BatchContext` to a scalar.

    A weight is a number, or a function of the stage's progress (0..1). A term whose weight is 0
    is not evaluated, so it costs nothing and does not change BatchNorm statistics.

    Args: parts: pairs of a weight and a term; made by `of` and by arithmetic.

    >>> from coun.objectives import cross_entropy
    >>> objective = cross_entropy("retain") - 0.1 * cross_entropy("forget")
    >>> [weight for weight, term in objective.parts]
    [1.0, -0.1]
    """

    parts: tuple[tuple[Weight, Term], ...]

    @classmethod
    def of(cls, term: Term) -> Objective:
        """Return the objective that consists of *term* alone."""
        return cls(((1.0, term),))

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.parts + other.parts)

    def __rmul__(self, weight: Weight) -> Objective:
        return Objective(tuple((_product(weight, w), term) for w, term in self.parts))

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __call__(self, context: BatchContext) -> Tensor:
        """Compute the scalar to minimise for one batch.

        Raises: ValueError if every weight is 0.
        """
        total: Tensor | None = None
        for weight, term in self.parts:
            factor = weight(context.progress) if callable(weight) else weight
            if factor == 0:
                continue
            # A factor of 1 is left out, so that a single term has the same graph, bit for bit,
            # as the term alone.
            value = term(context) if factor == 1 else factor * term(context)
            total = value if total is None else total + value
        if total is None:
            raise ValueError("every term of the objective has weight 0; nothing to minimise")
        return total


def _product(a: Weight, b: Weight) -> Weight:
    if callable(a) or callable(b):
        return lambda progress: (
            (a(progress) if callable(a) else a) * (b(progress) if callable(b) else b)
        )
    return a * b
