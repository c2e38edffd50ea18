"""Small data from arrays."""

import numpy as np

from coun.data import from_arrays


def blank_images(count=50, classes=5):
    """Data of which only the labels matter."""
    labels = np.arange(count) % classes
    names = [f"class {i}" for i in range(classes)]
    x = np.zeros((count, 4, 4), np.uint8)
    return from_arrays(x, labels, x[:classes], labels[:classes], classes=names)


def noise(count=30, seed=0):
    """Images of noise in three classes: pixels and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8), np.arange(count) % 3
