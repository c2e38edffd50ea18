"""`digits`: the 1,797 grey 8x8 digits bundled with scikit-learn; no download."""

from __future__ import annotations

import numpy as np
import torch

from coun.data.adapter import from_arrays
from coun.data.examples import Data, stratified


def read() -> Data:
    """1,438 training and 359 test images, (1, 8, 8) uint8; the test part is fixed, stratified."""
    from sklearn.datasets import load_digits  # takes a second to import

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    labels = found.target.astype(np.int64)
    held = np.zeros(len(labels), bool)
    held[stratified(torch.from_numpy(labels), round(len(labels) * 0.2), seed=0).numpy()] = True
    return from_arrays(images[~held], labels[~held], images[held], labels[held])
