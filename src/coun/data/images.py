"""Encoded images to uint8 pixels: 8-bit, one size, one channel only if all are grey."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from coun.data.checks import first_line
from coun.errors import CounError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
GREY = ("1", "L")
COLOUR = ("RGB", "RGBA", "P", "PA", "LA", "CMYK", "YCbCr")
LONG = 10_000  # images; decoding more than these takes seconds and gets a progress bar


def pixels(image: Image.Image, name: str) -> np.ndarray:
    """Pixels of a PIL image, (1, H, W) uint8 when it is grey, else (3, H, W); alpha is dropped."""
    if image.mode not in GREY + COLOUR:
        raise CounError(
            f"{name} has mode {image.mode}; expected 8 bits a channel (convert it to L or RGB)"
        )
    if image.mode in GREY:
        return np.asarray(image if image.mode == "L" else image.convert("L"))[None]
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # straight to RGB warns when the palette has transparency
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")).transpose(2, 0, 1)


def decode(content: bytes | str, name: str) -> np.ndarray:
    """Pixels of one encoded image, given as bytes or path: (1 or 3, H, W) uint8.

    Of an animation the first frame. *name* is what errors call the image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(file, formats=FORMATS) as image:
            # Pillow opens 16-bit colour as 8-bit without a word; its tile still tells.
            if image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile):
                raise CounError(f"{name} has 16 bits a channel; expected 8 (convert it first)")
            image.load()
            return pixels(image, name)
    except CounError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise CounError(f"{name} is not a readable image; expected one of {kinds}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CounError(f"{name} claims more pixels than Pillow deems safe to decode") from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged bytes
        raise CounError(f"{name} cannot be read: {first_line(error)}; is it damaged?") from None


def stack(encoded: Iterable[tuple[str, bytes | str]], count: int) -> np.ndarray:
    """Decode *count* named images of one size to (count, C, H, W) uint8.

    C is 1 if every image is grey, else 3, grey ones repeated. Shows a progress bar on
    standard error when there are many.
    """
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = count <= LONG or not console.is_terminal
    out, like = np.empty((0, 0, 0, 0), np.uint8), ""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        bar = track(
            encoded, "decoding", total=count, console=console, transient=True, disable=quiet
        )
        for i, (name, content) in enumerate(bar):
            image = decode(content, name)
            if i == 0:
                out, like = np.empty((count, *image.shape), np.uint8), name
            elif image.shape[1:] != out.shape[2:]:
                raise CounError(
                    f"{name} is {_size(image)} pixels but {like} is {_size(out)}; "
                    "expected one size (resize them first)"
                )
            if len(image) > out.shape[1]:
                out = out.repeat(3, axis=1)
            out[i] = image
    return out


def _size(image: np.ndarray) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
