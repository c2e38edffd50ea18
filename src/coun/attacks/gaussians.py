"""Normal distributions of phi over models, one for each sample."""

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

TINY = 1e-30  # keeps a spread of zero from dividing by it, as in LiRA's code


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Centre and standard deviation of each sample (and augmentation), (N, ...)."""

    centre: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, values: Floats, used: Bools, *, centre: Centre = "median", pooled: bool = False
    ) -> Gaussians:
        """Fit (M, N, ...) *values* of M models, where *used* (M, N) says so.

        Args:
            pooled: one standard deviation for all samples (each augmentation its own),
                from the deviations about each sample's own centre.

        Raises: CounError if a sample has fewer than 2 models, or, pooled, fewer than 1.
        """
        counts = used.sum(0)
        least = 1 if pooled else 2
        if counts.min() < least or counts.max() < 2:
            row = int(counts.argmin())
            raise CounError(
                f"sample {row} has {counts[row]} models on one side; expected at least 2; "
                "train more shadow models"
            )
        mask = used.reshape(used.shape + (1,) * (values.ndim - 2))
        kept = np.where(mask, values, np.nan)
        middle = np.nanmedian(kept, 0) if centre == "median" else np.nanmean(kept, 0)
        if pooled:
            squares = np.nansum((kept - middle) ** 2, axis=(0, 1))
            variance = squares / (counts.sum() - len(counts))  # each centre costs one
            spread = np.broadcast_to(np.sqrt(variance), middle.shape)
        else:
            spread = np.nanstd(kept, 0)
        return cls(middle, spread + TINY)

    def log_density(self, x: Floats) -> Floats:
        """ln N(x), as the shape of x."""
        return np.asarray(scipy.stats.norm.logpdf(x, self.centre, self.spread))

    def log_tail(self, x: Floats) -> Floats:
        """ln Pr[Z > x], as the shape of x."""
        return np.asarray(scipy.stats.norm.logsf(x, self.centre, self.spread))
