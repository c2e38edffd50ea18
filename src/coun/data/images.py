"""Encoded images as arrays of uint8 pixels, all of one size."""

from __future__ import annotations

import io
import os
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
SHOWN = 5  # images that an error message names


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

    Raises: CounError if it cannot be read, or has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(file, formats=FORMATS) as image:
            # Pillow opens 16-bit colour as 8-bit without notice; only its tiles show it.
            if image.format == "PNG" and any(";16" in str(tile[3]) for tile in image.tile):
                raise CounError(f"{name} has 16 bits per channel; expected 8 (convert it first)")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if size is None:
                return pixels(image, name)
            square = ImageOps.fit(_converted(image, name), (size, size), Image.Resampling.BILINEAR)
            return pixels(square, name)
    except CounError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise CounError(f"{name} is not a readable image; expected one of {kinds}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise CounError(f"{name} has more pixels than Pillow decodes safely") from None
    except Exception as error:  # Pillow's readers raise almost anything on damaged bytes
        raise CounError(f"{name} cannot be read: {first_line(error)}; is it damaged?") from None


def stack(
    encoded: Iterable[tuple[str, bytes | str]], count: int, *, size: int | None = None
) -> np.ndarray:
    """Decode named images to one array, with a progress bar on standard error for many.

    Args:
        encoded: a name for error messages and the encoded image, *count* times.
        count: number of images.
        size: as for `decode`; images of different sizes need it.

    Returns: (count, C, H, W) uint8; C is 1 if all images are grey, else 3, with grey ones
        repeated.

    Raises: CounError that names the first images that cannot be used and says how many there
        are, or that the decoded images would not fit into memory.
    """
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = count <= LONG or not console.is_terminal
    result, first_name = np.empty((0, 0, 0, 0), np.uint8), ""
    problems: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        bar = track(
            encoded, "decoding", total=count, console=console, transient=True, disable=quiet
        )
        for row, (name, content) in enumerate(bar):
            try:
                image = decode(content, name, size=size)
            except CounError as error:
                problems.append(str(error))
                continue
            if not first_name:
                _check_memory(image, count)
                result, first_name = np.empty((count, *image.shape), np.uint8), name
            if image.shape[1:] != result.shape[2:]:
                problems.append(
                    f"{name} is {_size(image)} pixels but {first_name} is {_size(result)}; "
                    "expected one size (--size scales them)"
                )
                continue
            if len(image) > result.shape[1]:
                result = result.repeat(3, axis=1)
            result[row] = image
    if len(problems) > 1:
        more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise CounError(
            f"{len(problems):,} images cannot be used: {'; '.join(problems[:SHOWN])}{more}"
        )
    if problems:
        raise CounError(problems[0])
    return result


def _check_memory(image: np.ndarray, count: int) -> None:
    """Refuse *count* images like this one if they need more than this machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return
    if image.nbytes * count > memory:
        raise CounError(
            f"{count:,} images of {_size(image)} pixels take {image.nbytes * count / 2**30:,.0f} "
            f"GiB, but this machine has {memory / 2**30:,.0f}; choose a smaller --size or a --limit"
        )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
