"""Normal distributions of phi (`scaled_logit`) over models, one for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy  # scipy.stats takes half a second to import; as an attribute it is loaded on use
from numpy.typing import NDArray

from coun.errors import CounError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Centre = Literal["median", "mean"]

TINY = 1e-30  # added to a standard deviation of 0 before it divides, as in LiRA's code


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Centre and standard deviation for each row (and augmentation), (N, ...)."""

    centre: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, values: Floats, used: Bools, *, centre: Centre = "median", pooled: bool = False
    ) -> Gaussians:
        """Fit one Gaussian for each row to the values of those models that are used for it.

        Args:
            values: of M models, (M, N, ...).
            used: which models count for which row, (M, N).
            centre: "median" or "mean".
            pooled: whether all rows share one standard deviation (one for each
                augmentation), taken from the deviations about each row's own centre.

        Raises: CounError if a row has fewer than 2 models, or, pooled, fewer than 1.
        """
        counts = used.sum(0)
        least = 1 if pooled else 2
        if counts.min() < least or counts.max() < 2:
            row = int(counts.argmin())
            raise CounError(
                f"row {row} has {counts[row]} models on one side; expected at least 2; "
                "train more shadow models"
            )
        mask = used.reshape(used.shape + (1,) * (values.ndim - 2))
        selected = np.where(mask, values, np.nan)
        middle = np.nanmedian(selected, 0) if centre == "median" else np.nanmean(selected, 0)
        if pooled:
            squares = np.nansum((selected - middle) ** 2, axis=(0, 1))
            # Each row's own centre costs one degree of freedom.
            variance = squares / (counts.sum() - len(counts))
            spread = np.broadcast_to(np.sqrt(variance), middle.shape)
        else:
            spread = np.nanstd(selected, 0)
        return cls(middle, spread + TINY)

    def log_density(self, x: Floats) -> Floats:
        """Return ln N(x), in the shape of *x*."""
        return np.asarray(scipy.stats.norm.logpdf(x, self.centre, self.spread))

    def log_tail(self, x: Floats) -> Floats:
        """Return ln Pr[Z > x], in the shape of *x*."""
        return np.asarray(scipy.stats.norm.logsf(x, self.centre, self.spread))
