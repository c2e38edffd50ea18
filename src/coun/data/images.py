"""An encoded image as an array of uint8 pixels."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from coun.data.checks import regular_file
from coun.errors import CounError, first_line

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
BEGINNINGS = (  # of files in these formats, as regular expressions
    rb"\x89PNG\r\n\x1a\n",
    rb"\xff\xd8\xff",
    rb"BM.{4}\0{4}",
    rb"RIFF.{4}WEBP",
    rb"GIF8[79]a",
)
GREY = ("1", "L")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N")  # grey with 16 bits per channel
COLOUR = ("RGB", "RGBA", "P", "PA", "LA", "CMYK", "YCbCr")


def is_image_file(path: str | Path) -> bool:
    """Whether the suffix of a file, or else its first bytes, are those of an image."""
    if os.fspath(path).lower().endswith(SUFFIXES):
        return True
    try:
        with regular_file(path).open("rb") as file:
            start = file.read(16)
    except (OSError, CounError):
        return False
    return any(re.match(beginning, start, re.DOTALL) for beginning in BEGINNINGS)


def pixels(image: Image.Image, name: str) -> np.ndarray:
    """Return the pixels of a PIL image: (1, H, W) uint8 if it is grey, else (3, H, W).

    Transparency is dropped.

    Args:
        image: the image.
        name: what error messages call it.

    Raises: CounError for images with more than 8 bits per channel.
    """
    array = np.asarray(_converted(image, name))
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _converted(image: Image.Image, name: str) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode not in GREY + COLOUR:
        raise CounError(
            f"{name} has mode {image.mode}; expected 8 bits per channel (convert it to L or RGB)"
        )
    if image.mode in GREY:
        return image if image.mode == "L" else image.convert("L")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB warns if the palette has transparency
    return image if image.mode == "RGB" else image.convert("RGB")


def decode(content: bytes | str, name: str, *, size: int | None = None) -> np.ndarray:
    """Return the pixels of one encoded image, (1 or 3, H, W) uint8.

    An image is turned as its EXIF orientation says, and an animation gives its first frame.

    Args:
        content: the encoded bytes, or the path of a file.
        name: what error messages call the image.
        size: cut the largest square out of the middle and scale it to this many pixels.

    Raises: CounError if it cannot be read.
    """
    return decode_with_peak(content, name, size).pixels


class Decoded(NamedTuple):
    """Pixels (1 or 3, H, W) uint8, the number of encoded pixels, and the largest value of an
    image with 16 bits per channel, None for others."""

    pixels: np.ndarray
    encoded: int
    peak: int | None


def decode_with_peak(content: bytes | str, name: str, size: int | None) -> Decoded:
    """Decode an image; see `decode`. The result also describes the encoded image."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        file = io.BytesIO(content) if isinstance(content, bytes) else regular_file(content)
        with Image.open(file, formats=FORMATS) as image:
            # Pillow opens 16-bit colour as 8-bit without notice; only its tiles show it.
            deep = image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile)
            tiles = list(image.tile)
            count = image.width * image.height
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            upright, peak = eight_bits(image)
            if deep and peak is None:  # in colour
                peak = 256 * _largest(upright) or _largest_lower_byte(content, tiles)
            if size is None:
                return Decoded(pixels(upright, name), count, peak)
            square = ImageOps.fit(
                _converted(upright, name), (size, size), Image.Resampling.BILINEAR
            )
            return Decoded(pixels(square, name), count, peak)
    except CounError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise CounError(f"{name} is not a readable image; expected one of {kinds}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CounError(
            f"{name} has more pixels than Pillow decodes safely ({Image.MAX_IMAGE_PIXELS:,}); "
            "scale it down first"
        ) from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged bytes
        raise CounError(f"{name} cannot be read: {first_line(error)}; is it damaged?") from None


def eight_bits(image: Image.Image) -> tuple[Image.Image, int | None]:
    """Return *image* with 8 bits per channel: of 16 bits the upper 8, as Pillow does for colour.

    Returns: the image, and the largest value of one with 16 bits, None for others.

    >>> from PIL import Image
    >>> image, peak = eight_bits(Image.fromarray(np.array([[0, 4096]], np.uint16)))
    >>> image.mode, image.getpixel((1, 0)), peak
    ('L', 16, 4096)
    """
    if image.mode not in DEEP:
        return image, None
    from PIL import Image

    values = np.asarray(image)
    return Image.fromarray((values >> 8).astype(np.uint8)), int(values.max())


def _largest(image: Image.Image) -> int:
    """The largest value of any band."""
    return max(int(band.getextrema()[1]) for band in image.split())  # type: ignore[arg-type]


def _largest_lower_byte(content: bytes | str, tiles: Sequence[Any]) -> int:
    """The largest lower byte of a PNG with 16 bits in colour, of which Pillow gives the upper one.

    Its bytes are swapped, so that a picture that is black is told from one that only looks so.
    """
    from PIL import Image

    file = io.BytesIO(content) if isinstance(content, bytes) else regular_file(content)
    with Image.open(file, formats=FORMATS) as image:
        swapped: Any = [(*tile[:3], str(tile[3]).replace("16B", "16L")) for tile in tiles]
        image.tile = swapped
        image.load()
        return _largest(image)
