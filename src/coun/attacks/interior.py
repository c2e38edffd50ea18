"""A support vector machine with a kernel matrix of low rank, solved by an interior point method.

The time of libsvm grows with the square of the number of rows: 20,000 confidences take half a
minute. But a smooth kernel on one feature gives a matrix K of numerical rank 20 or so, K = L L^T
with L of shape (n, 20). The method below solves the same problem in about 20 Newton steps, each
of which costs n * rank^2 operations, because it never forms K itself.

The problem, in its dual form, is

    minimise   1/2 alpha^T (y y^T * K) alpha - sum alpha
    subject to 0 <= alpha_i <= bound_i  and  y^T alpha = 0.

An interior point method replaces the inequalities by multipliers that stay positive and drives
all products (multiplier * distance to its limit) to zero together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]


def rbf_factor(x: Floats, gamma: float, *, most: int, accuracy: float = 1e-7) -> Floats | None:
    """Factorise the RBF kernel matrix of *x* (n, F) as L L^T, with few columns.

    Args:
        x: the features of each row.
        gamma: of the kernel exp(-gamma |x_i - x_j|^2).
        most: the largest number of columns.
        accuracy: the largest error of an entry of L L^T.

    Returns: L (n, r) with r <= *most*, or None if *most* columns do not suffice.

    Source: Cholesky decomposition with pivots (Fine and Scheinberg 2001). What is left after r
        columns is positive semidefinite, so its largest diagonal entry bounds all entries.
    """
    factor = np.empty((len(x), most))
    residual = np.ones(len(x))  # the diagonal of K - L L^T; that of an RBF kernel is 1
    for r in range(most):
        pivot = int(residual.argmax())
        if residual[pivot] <= accuracy:
            return factor[:, :r]
        column = np.exp(-gamma * ((x - x[pivot]) ** 2).sum(1))
        column -= factor[:, :r] @ factor[pivot, :r]
        factor[:, r] = column / np.sqrt(residual[pivot])
        residual = np.maximum(residual - factor[:, r] ** 2, 0.0)
    return None


class Point(NamedTuple):
    """The current point of the method. All fields but b stay positive; alpha + room = bound."""

    alpha: Floats
    room: Floats  # bound - alpha
    low: Floats  # multiplier of alpha >= 0
    high: Floats  # multiplier of room >= 0
    b: Floats  # (), multiplier of y^T alpha = 0: the offset of the plane

    def moved(self, change: Point, size: float) -> Point:
        return Point(*(x + size * d for x, d in zip(self, change, strict=True)))

    def gap(self) -> float:
        """The sum of all products of multiplier and distance; 0 at the optimum."""
        return float(self.low @ self.alpha + self.high @ self.room)

    def longest(self, change: Point) -> float:
        """The largest step, at most 1, that makes nothing negative."""
        rates = [float((-d / x).max()) for x, d in zip(self[:4], change[:4], strict=True)]
        return 1 / max(1.0, *rates)


class Newton:
    """The optimality conditions at one point, and Newton steps towards them."""

    def __init__(self, v: Floats, y: Floats, at: Point) -> None:
        # v = y * L, so that v v^T is the matrix of the dual problem.
        self.v, self.y, self.at = v, y, at
        self.w = v.T @ at.alpha
        self.dual = 1 - v @ self.w - y * at.b + at.low - at.high
        self.primal = -float(y @ at.alpha)

    def residual(self, bound: Floats) -> float:
        """How far the conditions are from being met; 0 at the optimum."""
        total = float(bound.sum())
        worst = float(np.abs(self.dual).max())
        return max(worst, abs(self.primal) / total, self.at.gap() / total)

    def factorise(self) -> None:
        """Prepare `solve`: only an r x r matrix is factorised, r the rank, not n x n."""
        # Eliminating the multipliers from the linear system leaves (v v^T + diag d).
        self.d = self.at.low / self.at.alpha + self.at.high / self.at.room
        inner = np.eye(self.v.shape[1]) + (self.v / self.d[:, None]).T @ self.v
        self.inner = cho_factor(inner)
        self.along = self.solve(self.y)

    def solve(self, g: Floats) -> Floats:
        """Return (v v^T + diag d)^-1 g, by Woodbury's identity."""
        part = self.v @ cho_solve(self.inner, self.v.T @ (g / self.d))
        return np.asarray((g - part) / self.d)

    def step(self, on_low: Floats, on_high: Floats) -> Point:
        """The step that changes the products low * alpha and high * room by these amounts."""
        at = self.at
        plain = self.solve(self.dual + on_low / at.alpha - on_high / at.room)
        # Choose db so that the step also restores y^T alpha = 0.
        db = (self.y @ plain - self.primal) / (self.y @ self.along)
        da = plain - db * self.along
        low, high = (on_low - at.low * da) / at.alpha, (on_high + at.high * da) / at.room
        return Point(da, -da, low, high, db)


def svm_plane(
    factor: Floats, y: Floats, bound: Floats, *, tolerance: float = 1e-9, steps: int = 100
) -> tuple[Floats, float] | None:
    """Fit a support vector machine in the space of *factor*: find its plane (w, b).

    It minimises |w|^2 / 2 + sum_i bound_i * max(0, 1 - y_i (L_i w + b)).

    Args:
        factor: L, (n, r), from `rbf_factor`.
        y: -1 or 1, (n,).
        bound: C times the weight of each row, (n,).
        tolerance: of the optimality conditions; libsvm's default is 1e-3.
        steps: the largest number of Newton steps.

    Returns: w (r,) and b, or None where *steps*, or float64, do not suffice.

    Source: the dual problem by Mehrotra's predictor-corrector steps (Ferris and Munson 2002).
    """
    ones = np.ones(len(y))
    at = Point(bound / 2, bound / 2, ones, ones, np.zeros(()))
    v = y[:, None] * factor
    # One thread: the matrices are small, and the result must not depend on the number of threads.
    with threadpool_limits(1, user_api="blas"):
        for _ in range(steps):
            newton = Newton(v, y, at)
            if newton.residual(bound) < tolerance:
                return newton.w, float(at.b)
            try:
                newton.factorise()
            except (LinAlgError, ValueError):  # rounding errors are as large as what is left
                return None
            # Predictor: aim straight at the optimum, and see how much of the gap would remain.
            products = at.low * at.alpha, at.high * at.room
            predictor = newton.step(-products[0], -products[1])
            remaining = at.moved(predictor, at.longest(predictor)).gap() / at.gap()
            # Corrector: the less would remain, the smaller the products to aim at. The last
            # terms correct for what the linear predictor neglects.
            mean = remaining**3 * at.gap() / (2 * len(y))
            corrected = newton.step(
                mean - products[0] - predictor.low * predictor.alpha,
                mean - products[1] - predictor.high * predictor.room,
            )
            # Stay a little inside, so that everything remains positive.
            at = at.moved(corrected, 0.995 * at.longest(corrected))
    return None
