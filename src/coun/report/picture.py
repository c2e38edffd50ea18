"""Pictures for pages, and as files for a paper."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        return base64.b64encode(_drawn(self.figure, format="png")).decode()


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
    written = []
    for path in paths:
        metadata = UNDATED.get(path.suffix, {})
        with atomically(path) as temporary:
            temporary.write_bytes(_drawn(figure, format=path.suffix[1:], metadata=metadata))
        written.append(path)
    return written


def _drawn(figure: Figure, **options: Any) -> bytes:
    """The file of *figure*. What its font lacks comes from other fonts of the machine, or is boxes.

    Args: options: of matplotlib's `savefig`.
    """
    from matplotlib.text import Text

    without_mathtext(figure)
    content, lacking = _attempt(figure, options)
    if families := _families_with(lacking):
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            text.set_fontfamily([*text.get_fontfamily(), *families])
        content, _ = _attempt(figure, options)
    return content


def _attempt(figure: Figure, options: dict[str, Any]) -> tuple[bytes, set[int]]:
    """The file of *figure*, and the characters that are boxes in it; no warning names these."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(buffer, **options)
    lacking = set()
    for warning in caught:
        if glyph := re.match(r"Glyph (\d+) .*missing from", str(warning.message)):
            lacking.add(int(glyph[1]))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return buffer.getvalue(), lacking


def _families_with(characters: set[int]) -> list[str]:
    """Families of fonts of this machine that together have *characters*, as far as any has them."""
    from matplotlib.font_manager import fontManager, get_font

    families = []
    for entry in fontManager.ttflist if characters else ():
        if "Last Resort" in entry.name:  # boxes for all characters
            continue
        try:
            here = characters & get_font(entry.fname).get_charmap().keys()
        except (OSError, RuntimeError):  # a file that is gone or damaged
            continue
        if here:
            families.append(entry.name)
            characters = characters - here
    return families
