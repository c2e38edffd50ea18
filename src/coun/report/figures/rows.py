"""Pictures of single rows, for pages on which a person judges forgotten or similar rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ACROSS = 6  # pictures beside each other


def row_pictures(images: Tensor, titles: Sequence[str]) -> Figure:
    """Draw images beside each other, each with its title.

    Args:
        images: (N, C, H, W), uint8 or float; of more than three channels the first is drawn.
        titles: N texts; a dollar sign in them is shown as it is.
    """
    from matplotlib.figure import Figure

    down = -(-len(images) // ACROSS)
    figure = Figure(figsize=(1.4 * ACROSS, 1.75 * down), layout="constrained", dpi=110)
    grid = list(figure.subplots(down, ACROSS, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, image, title in zip(grid, images, titles, strict=False):
        pixels = image.float().numpy()
        low, high = float(pixels.min()), float(pixels.max())
        pixels = np.moveaxis((pixels - low) / ((high - low) or 1.0), 0, -1)
        axes.imshow(pixels if pixels.shape[2] == 3 else pixels[:, :, 0], cmap="gray")
        axes.set_title(title, fontsize=7, parse_math=False)
    return figure
