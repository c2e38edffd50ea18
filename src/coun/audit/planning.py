"""What could be found with so many rows and Retrains, and what to add."""

from __future__ import annotations

from typing import Any

import numpy as np

from coun.audit.evidence import FEWEST_RETRAINS
from coun.audit.levels import level_test
from coun.audit.power import Memory, rows_for_level
from coun.audit.result import Audit
from coun.audit.verdict import SHARE

COUNTS = (0, 1, 2, 3, 5, 10)


def plan(audit: Audit) -> list[dict[str, Any]]:
    """Say for 0 to 10 Retrains how many remembered rows an audit like *audit* would find.

    Row tests keep the power that they have in *audit*. For comparisons of levels, Retrains are
    simulated: without one, the model under audit takes the place of a Retrain, and Retrains are
    assumed to differ by the noise of the rows and by the margin. So the plan is a guide.

    Returns: one row per number of Retrains: `retrains`; `detectable`, the smallest number of
        remembered rows that would be found 4 times in 5, None if not even all; `best`, the best
        word that is possible; `note`, what a directed accusation needs.
    """
    family, verdict = audit.family, audit.verdict
    memory = Memory.of(audit.unlearned, audit.original)
    tests = max(8, len(family.tests))
    known = audit.retrains or audit.unlearned
    rows = []
    for count in COUNTS:
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
                    level = np.mean([s.levels[name].forget[slots] for s in known], axis=0)
                    test = level_test(level, np.tile(level, (count, 1)), margin=verdict.margin)
                    power = rows_for_level(remembered[slots], test)(verdict.alpha / tests)
                    least = min(least, power)
            worst, share = max(worst, least), max(share, least / len(slots))
        enough = share <= SHARE and (count > 0 or not len(family.parts.listed))
        rows.append(
            {
                "retrains": count,
                "detectable": worst if np.isfinite(worst) else None,
                "best": "no difference found" if enough else "inconclusive",
                "note": _note(count, len(family.parts.listed)),
            }
        )
    return rows


def _note(count: int, listed: int) -> str:
    if count == 0:
        return "no accusation with a direction, and no equivalence"
    if listed and count < FEWEST_RETRAINS:
        return f"an accusation with a direction needs {FEWEST_RETRAINS} Retrains for listed rows"
    return "an accusation with a direction is possible"
