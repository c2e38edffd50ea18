"""ToW and ToW-MIA by hand."""

import pytest

from coun import CounError
from coun.metrics import tow, tow_mia

MODEL = {"retain_accuracy": 99.0, "unlearn_accuracy": 5.0, "test_accuracy": 94.0}
RETRAIN = {"retain_accuracy": 100.0, "unlearn_accuracy": 4.81, "test_accuracy": 94.67}


def test_tow_of_a_worked_example():
    # Forget accuracies of 0.95 and 0.9519 are unlearn accuracies of 5 and 4.81 percent.
    assert tow(MODEL, RETRAIN) == pytest.approx(0.9814986027, abs=1e-10)


def test_tow_of_retrain_is_one_and_the_direction_does_not_matter():
    assert tow(RETRAIN, RETRAIN) == 1
    assert tow(RETRAIN, MODEL) == tow(MODEL, RETRAIN)


def test_tow_mia_uses_the_efficacy_instead_of_the_forget_accuracy():
    model, retrain = MODEL | {"mia_efficacy": 10.0}, RETRAIN | {"mia_efficacy": 60.0}
    assert tow_mia(model, retrain) == pytest.approx(0.99 * 0.5 * 0.9933)
    with pytest.raises(CounError, match="the model has no mia_efficacy; ToW-MIA"):
        tow_mia(MODEL, retrain)
