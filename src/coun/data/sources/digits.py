"""`digits`: the 1,797 grey 8x8 digits that scikit-learn brings along; nothing is downloaded."""

from __future__ import annotations

import functools

import numpy as np
import torch

from coun.data.adapter import from_arrays
from coun.data.data_set import Data
from coun.data.sources.source import Source
from coun.data.subsets import stratified


def read() -> Data:
    """Read 1,438 training and 359 test images, (1, 8, 8) uint8.

    scikit-learn has no test part; a fixed, stratified fifth (seed 0) serves as one. Row
    numbers count within each part.
    """
    images, labels = _images_and_labels()
    held = np.zeros(len(labels), bool)
    held[stratified(torch.from_numpy(labels), round(len(labels) * 0.2), seed=0).numpy()] = True
    return from_arrays(images[~held], labels[~held], images[held], labels[held])


@functools.cache  # they are parsed from text, which takes longer than to train on a hundred
def _images_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """All 1,797 images and their labels; `read` copies what it takes of them."""
    from sklearn.datasets import load_digits  # takes a second to import

    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


SOURCE = Source("digits", read, "the 8x8 digits that scikit-learn brings along", argument="")
