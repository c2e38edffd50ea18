"""`rehearsal:NAME`: random images with the classes and the shape of a data set of the paper."""

from __future__ import annotations

import numpy as np

from coun.data.adapter import from_arrays
from coun.data.data_set import Data
from coun.data.sources.source import Source
from coun.errors import CounError, unknown
from coun.seeds import Seeds

PATCH = 8  # side of the squares of one colour that tell classes apart
NOISE = 40.0  # standard deviation of the pixels of a class, in grey levels
SIZES = {"train": 0, "test": 0, "seed": 0}
ROWS = 4  # training rows of each class where the spelling does not say


def read(spelling: str) -> Data:
    """Draw images for a rehearsal of commands whose data is not here: `NAME[,train=][,test=]`.

    Every class has squares of its own colours, with noise, so that a small network learns the
    classes in a few epochs. Results on these images say nothing about the data set.

    Args:
        spelling: cifar-10, cifar-100 or tiny-imagenet; then numbers of rows and a seed, such as
            `cifar-100,train=400,test=100,seed=0`. There are 4 training rows and 1 test row of
            each class by default.

    Raises: CounError for an unknown data set or option, or fewer rows than classes.
    """
    from coun.data.public import public_set  # it imports the package of sources

    name, *options = spelling.split(",")
    facts = public_set(name)
    sizes = {**SIZES, **dict(_option(spelling, text) for text in options)}
    counts = (sizes["train"] or ROWS * facts.classes, sizes["test"] or facts.classes)
    if min(counts) < facts.classes:
        raise CounError(
            f"rehearsal:{spelling} has {min(counts)} rows in a part; expected {facts.classes} or "
            "more, one for each class"
        )
    rng = Seeds(sizes["seed"]).fork("rehearsal", name).numpy("images")
    channels, height, width = facts.shape
    grid = (facts.classes, -(-height // PATCH), -(-width // PATCH), channels)
    squares = rng.uniform(40, 215, grid).repeat(PATCH, 1).repeat(PATCH, 2)[:, :height, :width]
    parts = []
    for count in counts:
        labels = rng.permutation(np.arange(count) % facts.classes)
        images = squares[labels] + rng.normal(0, NOISE, (count, height, width, channels))
        parts += [np.clip(np.rint(images), 0, 255).astype(np.uint8), labels]
    names = facts.names or tuple(map(str, range(facts.classes)))
    return from_arrays(*parts, classes=names)


def _option(spelling: str, text: str) -> tuple[str, int]:
    key, _, value = text.partition("=")
    if key not in SIZES:
        raise unknown("option of a rehearsal", key, SIZES)
    if not value.isdecimal():
        raise CounError(f"rehearsal:{spelling} has {key}='{value}'; expected a whole number")
    return key, int(value)


SOURCE = Source(
    "rehearsal",
    read,
    "random images with the classes of cifar-10, cifar-100 or tiny-imagenet",
    argument="NAME[,train=N][,test=N]",
)
