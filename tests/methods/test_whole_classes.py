"""Methods for whole classes: the class goes, and the model is right on the others."""

from __future__ import annotations

import pytest

import coun


@pytest.mark.parametrize(
    ("method", "epochs", "unlearned", "retained"),
    [("class_matching", 4, 95, 95), ("trw", 5, 80, 90)],
)
def test_a_forgotten_class_goes_and_the_others_stay(
    fitted, small, method, epochs, unlearned, retained
):
    split = coun.Split.by_class(small, 3)
    measured = coun.evaluate(coun.unlearn(fitted, split, method, epochs=epochs, batch_size=32))
    assert measured["unlearn_accuracy"] > unlearned
    assert measured["retain_accuracy"] > retained
