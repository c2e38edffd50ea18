"""Pages and pictures of rows, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from coun.data import Data
from coun.data.lookup import Row
from coun.data.near_copies import NearCopy
from coun.errors import CounError
from coun.files import write_text
from coun.report.html import render
from coun.report.picture import png

MOST_SHOWN = 200  # pairs on the page of near-copies


@dataclass(frozen=True)
class Tile:
    """Pictures beside each other, as PNGs in text form, with a caption below."""

    pictures: Sequence[str]
    caption: str


def row_image(data: Data, row: Row) -> np.ndarray:
    """Return the image of a row, (H, W, C) or (H, W) uint8.

    Raises: CounError if the rows of *data* are not 8-bit images.
    """
    examples = data.train if row.part == "train" else data.test
    image = examples.fetch(torch.tensor([row.place]))[0].cpu()
    if not _is_picture(data):
        raise CounError("the rows of this data are not 8-bit images; expected --out FILE.txt")
    array: np.ndarray = image.permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def contact_page(data: Data, rows: Sequence[Row]) -> str:
    """Return a page with the pictures of *rows* and their names."""
    tiles = [Tile([_png(data, row)], caption(row)) for row in rows]
    return _page(f"Rows of {data.source}", "", tiles)


def contact_sheet(data: Data, rows: Sequence[Row]) -> bytes:
    """Return a PNG with one picture for each row and its name below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(5, len(rows))
    down = -(-len(rows) // across)
    figure = Figure(figsize=(1.8 * across, 2.1 * down), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, row in zip(grid.flat, rows, strict=False):
        axes.imshow(row_image(data, row), cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption(row).replace(", ", "\n"), fontsize=6, parse_math=False)
    file = io.BytesIO()
    canvas.print_figure(file, format="png")
    return file.getvalue()


def write_near_copies(data: Data, copies: Sequence[NearCopy], page: Path, ids: Path) -> None:
    """Write a page of near-copies for a person to judge, and the file in which to confirm them.

    Args:
        data: the rows.
        copies: from `near_copies`; at least one.
        page: shows each of the most similar rows beside the named row that it is like. Rows
            that are not pictures are shown by their names alone.
        ids: one id on each line. Lines of rows that must not join are deleted by the person.

    Raises: CounError if one of the files exists, or cannot be written.
    """
    for path in (page, ids):
        if path.exists():
            raise CounError(f"{path} exists; delete it first, or choose another name")
    tiles = [
        Tile(
            [_png(data, copy.like), _png(data, copy.row)] if _is_picture(data) else [],
            f"{copy.similarity:.3f}: {copy.row.id} ({copy.row.label}, {copy.row.part}), "
            f"like {copy.like.id} ({copy.like.label})",
        )
        for copy in copies[:MOST_SHOWN]
    ]
    lead = (
        f"{len(copies):,} rows look almost like a row of the request. In each pair, the row of the "
        "request is on the left. The number is the similarity of their features; 1 is the same. "
        f"{ids.name} lists the ids on this page. Delete the lines of rows that must not be "
        f"forgotten, and enter the rest with coun request add DIR --ids {ids.name}."
    )
    if len(copies) > MOST_SHOWN:
        lead += (
            f" Only the {MOST_SHOWN} most similar rows are shown and listed; a higher similarity "
            "gives fewer."
        )
    write_text(page, _page("Near-copies to confirm", lead, tiles))
    shown = dict.fromkeys(copy.row.id for copy in copies[:MOST_SHOWN])
    write_text(ids, "".join(f"{name}\n" for name in shown))


def caption(row: Row) -> str:
    """The names of a row in one line."""
    return f"{row.number}: {row.id}, {row.label}, {row.part}" + (
        f", {row.distance:.4g}" if row.distance is not None else ""
    )


def _is_picture(data: Data) -> bool:
    return len(data.shape) == 3 and data.shape[0] in (1, 3) and data.dtype == torch.uint8


def _png(data: Data, row: Row) -> str:
    return png(row_image(data, row))


def _page(title: str, lead: str, tiles: Sequence[Tile]) -> str:
    return render("contact_sheet.html", title=title, lead=lead, tiles=tiles)
