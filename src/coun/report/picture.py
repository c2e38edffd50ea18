"""Pictures for pages, and as files for a paper."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coun.files import atomically
from coun.report.style import without_mathtext

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# What the formats write of the time, so that the same figure gives the same file.
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@dataclass
class Picture:
    """A figure, or the file of one, with a caption that says what to look for.

    *name* is that of its files; a picture without a name is on the page only.

    >>> from coun.report.figures import gaps
    >>> Picture(gaps([], floor=0.5), "Shorter bars are better.").data[:4]
    'iVBO'
    """

    figure: Figure | Path
    caption: str
    name: str = ""

    @property
    def data(self) -> str:
        """The figure as a PNG, in the text form that a page can hold."""
        if isinstance(self.figure, Path):
            return base64.b64encode(self.figure.read_bytes()).decode()
        buffer = io.BytesIO()
        without_mathtext(self.figure)
        self.figure.savefig(buffer, format="png")
        return base64.b64encode(buffer.getvalue()).decode()


def png(image: np.ndarray) -> str:
    """Return an image, (H, W) or (H, W, 3) uint8, as a PNG in the text form that a page can hold.

    >>> import numpy as np
    >>> png(np.zeros((8, 8), np.uint8))[:4]
    'iVBO'
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def save_figure(figure: Figure, paths: Iterable[Path]) -> list[Path]:
    """Write *figure* to each of *paths*, in the format of its suffix (.png, .pdf, .svg).

    Each file is written completely or not at all.

    Raises: CounError if a file cannot be written.
    """
    without_mathtext(figure)
    written = []
    for path in paths:
        metadata = UNDATED.get(path.suffix, {})
        with atomically(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
        written.append(path)
    return written
