"""The anamnesis index and its bounds."""

import math

import pytest

from coun import CounError
from coun.metrics import RelearnTime, anamnesis_index


@pytest.mark.parametrize(
    ("unlearned", "retrain", "index", "kind"),
    [
        (RelearnTime(6), RelearnTime(6), 1, "exact"),
        (RelearnTime(0), RelearnTime(6), 0, "exact"),
        (RelearnTime(100, False), RelearnTime(50), 2, "at least"),
        (RelearnTime(20), RelearnTime(100, False), 0.2, "at most"),
        (RelearnTime(100, False), RelearnTime(100, False), math.nan, "undefined"),
        (RelearnTime(3), RelearnTime(0), math.nan, "undefined"),
        (RelearnTime(0), RelearnTime(0), math.nan, "undefined"),
    ],
)
def test_the_index_is_a_ratio_or_states_its_kind(unlearned, retrain, index, kind):
    computed = anamnesis_index(unlearned, retrain)
    assert computed.index == pytest.approx(index, nan_ok=True)
    assert computed.kind == kind


def test_a_time_is_a_finite_number():
    for wrong in (-1, math.inf, math.nan):
        with pytest.raises(CounError, match="expected a finite number"):
            RelearnTime(wrong)
