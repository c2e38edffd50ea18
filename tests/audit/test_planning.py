"""The plan of an audit says what more Retrains would show."""

import pytest

from coun.audit import audit
from coun.audit.planning import _note, plan


def test_a_plan_says_what_to_add(retrains):
    rows = plan(audit(retrains[0], retrains[1], rest=False))
    assert [row["retrains"] for row in rows] == [0, 1, 2, 3, 5, 10]
    least = [row["detectable"] or 1e9 for row in rows]
    assert least == sorted(least, reverse=True)


@pytest.mark.parametrize(
    ("retrains", "listed", "verdicts"),
    [
        (0, 5, "inconclusive"),
        (0, 0, "different"),
        (2, 5, "different (from 3 Retrains on: under- or over-forgotten)"),
        (2, 0, "under-forgotten, over-forgotten or different"),
        (3, 5, "under-forgotten, over-forgotten or different"),
    ],
)
def test_a_plan_says_which_verdicts_a_difference_can_give(retrains, listed, verdicts):
    assert _note(retrains, listed) == verdicts


def test_the_plan_agrees_with_the_audit_and_with_its_advice(hard_rows):
    """The row for the number of Retrains at hand is what the audit itself says."""
    _, runs = hard_rows
    for count in (0, 1, 2):
        result = audit(runs[0], runs[1 : 1 + count], split=runs[0].split, rest=False)
        rows = {row["retrains"]: row for row in plan(result)}
        verdict = result.verdict
        detectable = verdict.detectable if verdict.detectable < float("inf") else None
        assert rows[count]["detectable"] == detectable
        if verdict.label == "inconclusive":
            assert rows[count]["best"] == "inconclusive"
            enough = [r for r, row in rows.items() if row["best"] != "inconclusive" and r > count]
            text = verdict.headline + verdict.sentence
            expected = (
                f"Add {max(3, enough[0]) - count} Retrain" if enough else "would not be enough"
            )
            assert expected in text
