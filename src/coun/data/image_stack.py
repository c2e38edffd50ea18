"""The images of a data set: decoded on all cores, of one size, and within the memory."""

from __future__ import annotations

import itertools
import logging
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from coun.data.checks import memory_of_machine
from coun.data.images import Decoded, decode_with_peak
from coun.errors import CounError, counted

LONG = 10_000  # images; decoding more than these takes seconds and gets a progress bar
SHOWN = 5  # images that an error message names
TOGETHER = 32  # images that one task of a thread decodes
DARK = 2**13  # of 16 bits: images without a larger value would be nearly black with 8
PIXELS = 1e12  # in all images of a source, as they are encoded

T = TypeVar("T")

_log = logging.getLogger(__name__)


class DeepImages:
    """The images with 16 bits per channel in all parts of a source, to speak of them once."""

    def __init__(self) -> None:
        self.count = 0
        self.peak = 0
        self.dark: list[str] = []

    def add(self, name: str, peak: int) -> None:
        """Count the image *name*, whose largest value is *peak*. A black one is not dark."""
        self.count += 1
        self.peak = max(self.peak, peak)
        if 0 < peak < DARK:
            self.dark.append(name)

    def problem(self, dark_before: int, images: int) -> str:
        """What is wrong with a part of *images* images, if most of them are dark and none before
        has a larger value: they then have fewer bits than 16, as with scanners that use 12."""
        dark = len(self.dark) - dark_before
        if self.peak >= DARK or 2 * dark <= images:
            return ""
        return (
            f"{_deep_in_words(dark)}, but no value above {self.peak:,} of 65,535, so that they "
            "would be nearly black with 8 bits; scale them to 8 bits first"
        )

    def say(self) -> None:
        """Say how many images are used with fewer bits than they have."""
        if self.count:
            more = f" and {len(self.dark) - 1:,} more" if len(self.dark) > 1 else ""
            dark = f"; nearly black with 8 bits: {self.dark[0]}{more}" if self.dark else ""
            _log.warning("%s; the upper 8 bits are used%s", _deep_in_words(self.count), dark)


def stack(
    encoded: Iterable[tuple[str, bytes | str]],
    count: int,
    *,
    size: int | None = None,
    deep: DeepImages | None = None,
) -> np.ndarray:
    """Decode named images to one array, on all cores, with a progress bar for many.

    Args:
        encoded: a name for error messages and the encoded image, *count* times.
        count: number of images.
        size: as for `decode`; images of different sizes need it.
        deep: counts the images with 16 bits per channel.

    Returns: (count, C, H, W) uint8; C is 1 if all images are grey, else 3, with grey ones
        repeated.

    Raises: CounError that names the first images that cannot be used and says how many there
        are, or that the decoded images would not fit into memory.
    """
    result = np.empty((0, 0, 0, 0), np.uint8)
    for row, image in enumerate(images_of_one_size(encoded, count, size=size, deep=deep)):
        if row == 0:
            _check_memory(image, count)
            result = np.empty((count, *image.shape), np.uint8)
        if len(image) > result.shape[1]:
            result = result.repeat(3, axis=1)
        result[row] = image
    return result


def images_of_one_size(
    encoded: Iterable[tuple[str, bytes | str]],
    count: int,
    *,
    size: int | None = None,
    deep: DeepImages | None = None,
) -> Iterator[np.ndarray]:
    """Decode named images on all cores, and yield them in order, (1 or 3, H, W) uint8 each.

    Of images with 16 bits per channel the upper 8 are taken.

    Args:
        encoded, count, size: as for `stack`.
        deep: counts the images with 16 bits; None where they were decoded, and counted, before.

    Raises: CounError at the end, where some cannot be used: it names the first of them.
    """
    from PIL import Image

    first_shape, first_name = (0, 0, 0), ""
    problems: list[str] = []
    other_sizes: list[str] = []
    total = 0
    dark_before = len(deep.dark) if deep else 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for name, decoded in _with_progress_bar(_decoded(encoded, size), count):
            if isinstance(decoded, CounError):
                problems.append(str(decoded))
                continue
            image = decoded.pixels
            total += decoded.encoded
            _check_budget(total)
            if decoded.peak is not None and deep is not None:
                deep.add(name, decoded.peak)
            if not first_name:
                first_shape, first_name = image.shape, name
            if image.shape[1:] != first_shape[1:]:
                other_sizes.append(f"{name} is {_size(image.shape)}")
                continue
            yield image
    if other_sizes:
        more = len(other_sizes) - 1
        others = f" and {more:,} more are of other sizes" if more else ""
        problems.append(
            f"{other_sizes[0]} pixels but {first_name} is {_size(first_shape)}{others}; expected "
            "one size: --size PIXELS scales all of them"
        )
    if deep is not None and (dark := deep.problem(dark_before, count)):
        problems.append(dark)
    _refuse(problems)


def _with_progress_bar(images: Iterable[T], count: int) -> Iterable[T]:
    """*images*, with a bar on a terminal where there are so many that decoding takes seconds."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    quiet = count <= LONG or not console.is_terminal
    return track(images, "decoding", total=count, console=console, transient=True, disable=quiet)


def _refuse(problems: list[str]) -> None:
    """Raise one error for all images that cannot be used, if there are any."""
    if len(problems) > 1:
        more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        raise CounError(
            f"{len(problems):,} images cannot be used: {'; '.join(problems[:SHOWN])}{more}"
        )
    if problems:
        raise CounError(problems[0])


def _deep_in_words(count: int) -> str:
    return f"{counted(count, 'image')} {'has' if count == 1 else 'have'} 16 bits per channel"


def _decoded(
    encoded: Iterable[tuple[str, bytes | str]], size: int | None
) -> Iterator[tuple[str, Decoded | CounError]]:
    """Name of each image, and what it is decoded to or what is wrong with it, in order."""

    def work(batch: list[tuple[str, bytes | str]]) -> list[tuple[str, Decoded | CounError]]:
        results: list[tuple[str, Decoded | CounError]] = []
        for name, content in batch:
            try:
                results.append((name, decode_with_peak(content, name, size)))
            except CounError as error:
                results.append((name, error))
        return results

    batches = _batches(encoded)
    threads = _cores()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[tuple[str, Decoded | CounError]]]] = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(work, batch))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _batches(
    encoded: Iterable[tuple[str, bytes | str]],
) -> Iterator[list[tuple[str, bytes | str]]]:
    iterator = iter(encoded)
    while batch := list(itertools.islice(iterator, TOGETHER)):
        yield batch


def _cores() -> int:
    """Number of processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _check_budget(pixels: int) -> None:
    """Refuse a source whose images have more pixels in all than anybody means to decode."""
    budget = limit_from_environment("COUN_MAX_PIXELS", PIXELS)
    if pixels > budget:
        raise CounError(
            f"the images have more than {budget:,.0f} pixels in all; if that is meant, set the "
            "environment variable COUN_MAX_PIXELS to a larger number"
        )


def limit_from_environment(name: str, default: float) -> float:
    """The number in the environment variable *name*. Raises: CounError for anything else."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1
    if not value >= 0:
        raise CounError(f"the environment variable {name} is '{text}'; expected a number")
    return value


def _check_memory(image: np.ndarray, count: int) -> None:
    """Refuse *count* images like this one if they need more than this machine's memory."""
    memory = memory_of_machine()
    if memory is not None and image.nbytes * count > memory:
        raise CounError(
            f"{count:,} images of {_size(image.shape)} pixels take "
            f"{image.nbytes * count / 2**30:,.0f} GiB, but this machine has "
            f"{memory / 2**30:,.0f}; choose a smaller --size, a --limit, or --stream"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"
