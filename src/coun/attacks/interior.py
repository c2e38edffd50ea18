"""A support vector machine whose kernel matrix has low rank, solved by an interior point method.

libsvm takes a time that grows as the square of the number of samples: half a minute for
20,000 confidences. A smooth kernel on one feature has numerical rank 20 or so, and a Newton
step then costs n * rank^2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]


def rbf_factor(x: Floats, gamma: float, *, most: int, accuracy: float = 1e-7) -> Floats | None:
    """L (n, r) with L L^T = exp(-gamma |x_i - x_j|^2), each entry to *accuracy*; r <= *most*.

    None if *most* columns do not suffice. Source: Cholesky decomposition with pivots, whose
    residual is positive, so that its diagonal bounds every entry (Fine and Scheinberg 2001).
    """
    factor = np.empty((len(x), most))
    left = np.ones(len(x))
    for r in range(most):
        pivot = int(left.argmax())
        if left[pivot] <= accuracy:
            return factor[:, :r]
        column = np.exp(-gamma * ((x - x[pivot]) ** 2).sum(1))
        column -= factor[:, :r] @ factor[pivot, :r]
        factor[:, r] = column / np.sqrt(left[pivot])
        left = np.maximum(left - factor[:, r] ** 2, 0.0)
    return None


class Point(NamedTuple):
    """Where the method stands; all but b stay above 0, alpha + room is the bound."""

    alpha: Floats
    room: Floats
    low: Floats  # multiplier of alpha >= 0
    high: Floats  # of room >= 0
    b: Floats  # (), the multiplier of sum y alpha = 0

    def moved(self, change: Point, size: float) -> Point:
        return Point(*(x + size * d for x, d in zip(self, change, strict=True)))

    def gap(self) -> float:
        return float(self.low @ self.alpha + self.high @ self.room)

    def longest(self, change: Point) -> float:
        """The largest step up to 1 that takes nothing below 0."""
        rates = [float((-d / x).max()) for x, d in zip(self[:4], change[:4], strict=True)]
        return 1 / max(1.0, *rates)


class Newton:
    """The optimality conditions at one point, linear about it."""

    def __init__(self, v: Floats, y: Floats, at: Point) -> None:
        self.v, self.y, self.at = v, y, at
        self.w = v.T @ at.alpha
        self.dual = 1 - v @ self.w - y * at.b + at.low - at.high
        self.primal = -float(y @ at.alpha)

    def residual(self, bound: Floats) -> float:
        """How far from the optimum: 0 there."""
        total = float(bound.sum())
        worst = float(np.abs(self.dual).max())
        return max(worst, abs(self.primal) / total, self.at.gap() / total)

    def factorise(self) -> None:
        self.d = self.at.low / self.at.alpha + self.at.high / self.at.room
        inner = np.eye(self.v.shape[1]) + (self.v / self.d[:, None]).T @ self.v
        self.inner = cho_factor(inner)
        self.along = self.solve(self.y)

    def solve(self, g: Floats) -> Floats:
        """(v v^T + d)^-1 g, by Woodbury's identity."""
        part = self.v @ cho_solve(self.inner, self.v.T @ (g / self.d))
        return np.asarray((g - part) / self.d)

    def step(self, on_low: Floats, on_high: Floats) -> Point:
        """The change that alters the products low * alpha and high * room by so much."""
        at = self.at
        plain = self.solve(self.dual + on_low / at.alpha - on_high / at.room)
        db = (self.y @ plain - self.primal) / (self.y @ self.along)
        da = plain - db * self.along
        low, high = (on_low - at.low * da) / at.alpha, (on_high + at.high * da) / at.room
        return Point(da, -da, low, high, db)


def svm_plane(
    factor: Floats, y: Floats, bound: Floats, *, tolerance: float = 1e-9, steps: int = 100
) -> tuple[Floats, float] | None:
    """w (r,) and b that minimise |w|^2 / 2 + sum of bound_i * max(0, 1 - y_i (L_i w + b)).

    Args:
        factor: L, (n, r); y: -1 or 1, (n,); bound: C times each sample's weight, (n,).
        tolerance: of the optimality conditions; libsvm's default is 1e-3.

    Returns: None where *steps*, or float64, do not suffice.

    Source: the dual with 0 <= alpha <= bound and y alpha = 0, by Mehrotra's
        predictor-corrector steps (Ferris and Munson 2002).
    """
    ones = np.ones(len(y))
    at = Point(bound / 2, bound / 2, ones, ones, np.zeros(()))
    v = y[:, None] * factor
    # One thread: these matrices are small, and bits do not depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        for _ in range(steps):
            here = Newton(v, y, at)
            if here.residual(bound) < tolerance:
                return here.w, float(at.b)
            try:
                here.factorise()
            except (LinAlgError, ValueError):  # rounding ate what was left to gain
                return None
            products = at.low * at.alpha, at.high * at.room
            aim = here.step(-products[0], -products[1])
            left = at.moved(aim, at.longest(aim)).gap() / at.gap()
            mean = left**3 * at.gap() / (2 * len(y))
            corrected = here.step(
                mean - products[0] - aim.low * aim.alpha, mean - products[1] - aim.high * aim.room
            )
            at = at.moved(corrected, 0.995 * at.longest(corrected))
    return None
