"""Pictures of single rows."""

import numpy as np
import torch

from coun.report.figures.rows import row_pictures


def test_every_row_is_drawn_with_its_title():
    images = torch.randint(0, 255, (7, 3, 8, 8), dtype=torch.uint8)
    figure = row_pictures(images, [f"${k}$" for k in range(7)])
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == [f"${k}$" for k in range(7)]
    first = np.moveaxis(images[0].numpy().astype(float), 0, -1)
    span = first.max() - first.min()
    expected = (first - first.min()) / span
    np.testing.assert_allclose(drawn[0].images[0].get_array(), expected, atol=1e-6)
