"""What could be found with so many rows and Retrains, and what to add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coun.audit.evidence import FEWEST_RETRAINS, TestFamily
from coun.audit.levels import level_test
from coun.audit.power import Memory, rows_for_level
from coun.audit.result import Audit
from coun.audit.scores import Subject
from coun.audit.verdict import SHARE

COUNTS = (0, 1, 2, 3, 5, 10)
UNCLEAR = "inconclusive"


def plan(audit: Audit) -> list[dict[str, Any]]:
    """Say for 0 to 10 Retrains how many remembered rows an audit like *audit* would find.

    Row tests keep the power that they have in *audit*. For comparisons of levels, Retrains are
    simulated from the given ones, and from the model under audit where there are fewer than two.
    So the plan is a guide. Its row for the number of Retrains of *audit* is what *audit* itself
    would find.

    Returns: one row per number of Retrains: `retrains`; `detectable`, the smallest number of
        remembered rows that would be found 4 times in 5, None if not even all; `best`, the verdict
        if no test finds a difference ("equivalent" may take the place of "no difference
        found"); `note`, the verdicts that are possible if a test finds one.
    """
    subjects = (audit.unlearned, audit.retrains, audit.original)
    return plan_of(audit.family, *subjects, margin=audit.verdict.margin)


def plan_of(
    family: TestFamily,
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    original: Subject | None,
    *,
    margin: float,
) -> list[dict[str, Any]]:
    """Make the plan from what an audit has measured; see `plan`."""
    memory = Memory.of(unlearned, original)
    tests = max(8, len(family.tests))
    models = retrains if len(retrains) > 1 else [*unlearned, *retrains]
    rows = []
    for count in sorted({*COUNTS, len(retrains)}):
        worst, share = 0.0, 0.0
        parts = (("exchangeable", family.parts.exchangeable), ("listed", family.parts.listed))
        for part, slots in parts:
            if not len(slots):
                continue
            least = float("inf")
            if part == "exchangeable":
                by_rows = [e.detectable for e in family.tests if e.level is None and e.part == part]
                least = min([d for d in by_rows if d is not None], default=least)
            for name in ("correctness", "log_odds"):
                remembered = memory.levels(name)
                if count and remembered is not None:
                    levels = np.stack([s.levels[name].forget[slots] for s in models])
                    exact = np.resize(levels, (count, len(slots)))
                    test = level_test(levels.mean(0), exact, margin=margin)
                    power = rows_for_level(remembered[slots], test)(family.alpha / tests)
                    least = min(least, power)
            measured = family.detectable(part)
            if count == len(retrains):
                least = measured
            least = min(least, measured) if count > len(retrains) else max(least, measured)
            worst, share = max(worst, least), max(share, least / len(slots))
        enough = share <= SHARE and (count > 0 or not len(family.parts.listed))
        rows.append(
            {
                "retrains": count,
                "detectable": worst if np.isfinite(worst) else None,
                "best": "no difference found" if enough else UNCLEAR,
                "note": _note(count, len(family.parts.listed)),
            }
        )
    return rows


def advice(rows: Sequence[dict[str, Any]], retrains: int, listed: int) -> str:
    """What to add to an audit with so many *retrains* and *listed* rows, by its plan.

    >>> rows = [{"retrains": 1, "best": "inconclusive"}, {"retrains": 3, "best": "equivalent"}]
    >>> advice(rows, 1, 0)
    'Add 2 Retrains; coun audit --plan says what for.'
    >>> advice(rows[:1], 1, 0).partition(". ")[0]
    'Even 10 Retrains would not be enough to clear the model, but 3 may show what it remembers'
    """
    enough = [r["retrains"] for r in rows if r["retrains"] > retrains and r["best"] != UNCLEAR]
    if not enough:
        accuse = f", but {FEWEST_RETRAINS} may show what it remembers"
        return (
            f"Even {COUNTS[-1]} Retrains would not be enough to clear the model"
            f"{accuse if retrains < FEWEST_RETRAINS else ''}. To clear it, a larger request would "
            "help, more test rows of these classes, or canaries that are planted when the Original "
            "is trained (coun train --canaries)."
        )
    total = max(enough[0], FEWEST_RETRAINS) if listed else enough[0]
    more = total - retrains
    return f"Add {more} Retrain{'s' if more > 1 else ''}; coun audit --plan says what for."


def _note(count: int, listed: int) -> str:
    """Which verdicts are possible with *count* Retrains if a test finds a difference."""
    if count == 0:
        return "inconclusive" if listed else "different"
    if listed and count < FEWEST_RETRAINS:
        return f"different (from {FEWEST_RETRAINS} Retrains on: under- or over-forgotten)"
    return "under-forgotten, over-forgotten or different"
