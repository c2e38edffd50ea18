"""The CIFAR-10 subset of precision.py and methods.py: 1,000 training and 2,000 test images."""

from __future__ import annotations

from dataclasses import replace

import coun
from coun.data.examples import stratified

SOURCE, LIMIT, TEST, MODEL, EPOCHS = "hf:../shared/data/cifar10", 1000, 2000, "resnet8", 30
UNLEARN = 6  # epochs; 0.2 of the training's


def subset() -> coun.Data:
    """Both parts stratified and the same each time; two cores could not do more in the time."""
    data = coun.load(SOURCE, limit=LIMIT)
    rows = stratified(data.test.labels, TEST, seed=0)
    return replace(data, test=data.test.take(rows))
