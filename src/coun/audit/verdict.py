"""From tests to one word and one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from coun.audit.evidence import Evidence, Family, paired_difference
from coun.audit.exchange import Contrast, mean_contrast, minus, rank_test
from coun.audit.scores import SIGNED, Subject, signed
from coun.data import Split

Label = Literal[
    "indistinguishable",
    "closer than the original",
    "under-forgotten",
    "over-forgotten",
    "no trace found",
    "trace found",
]

WORDS = {
    "indistinguishable": "Indistinguishable from Retrain on these tests",
    "closer than the original": "Closer to Retrain than the Original is, but not there",
    "under-forgotten": "Under-forgotten: the model still knows more of the forgotten rows than "
    "Retrain does",
    "over-forgotten": "Over-forgotten: the model knows less than Retrain does",
    "no trace found": "No trace of the forgotten rows was found, but without a Retrain little "
    "can be concluded",
    "trace found": "The forgotten rows left a trace: the model treats them unlike rows that it "
    "never saw",
}
NO_CERTIFICATE = "This is statistical evidence, not a certificate of removal and no legal advice."


@dataclass(frozen=True)
class Verdict:
    """What an audit concludes.

    Attributes:
        label: the word.
        headline, sentence: the word in plain language; the evidence for it.
        evidence: all tests, in one family (Holm).
        equivalence: the difference that `equivalent` judges, in points of accuracy, with its
            90% interval; None without Retrains.
        equivalent: whether that interval lies inside +/- margin (TOST at 5%).
        margin: points.
        alpha: of the family.
        remains: share of the Original's effect that is left, on the strongest test; None
            without an Original.
        inflation: how much more Retrains differ among themselves than rows by chance; see
            `Family`.
        rows: forgotten and test rows that were compared.
        caveats: what cannot be concluded.
    """

    label: Label
    headline: str
    sentence: str
    evidence: tuple[Evidence, ...]
    equivalence: Contrast | None
    equivalent: bool | None
    margin: float
    alpha: float
    remains: float | None
    inflation: float | None
    rows: tuple[int, int]
    caveats: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decide(
    family: Family,
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    split: Split,
    *,
    margin: float,
    original: Subject | None = None,
    of_original: Family | None = None,
) -> Verdict:
    """The verdict on *family*. *of_original*: the same tests on the Original.

    Something under-forgotten outweighs something over-forgotten: memory is the graver failing.
    """
    found = family.found
    under = [e for e in found if e.direction == "under"]
    over = [e for e in found if e.direction == "over"]
    if found and not under and not over:  # only distances, which have no direction of their own
        leaning = max((family[name] for name in SIGNED), key=lambda e: abs(e.effect))
        (under if leaning.direction == "under" else over).extend(found)
    remains, nearer = None, False
    if under and original is not None and of_original is not None:
        remains, nearer = _closer(under[0], of_original, original, unlearned, family.alpha)
    label: Label
    if not retrains:
        label = "trace found" if found else "no trace found"
    elif not found:
        label = "indistinguishable"
    elif under:
        label = "closer than the original" if nearer else "under-forgotten"
    else:
        label = "over-forgotten"
    gap = _equivalence(family, unlearned, retrains, split) if retrains else None
    equivalent = gap.within(margin) if gap else None
    sentence = " ".join(
        [_evidence(family, found), *_margins(gap, equivalent, margin), *_power(family, found)]
    )
    if remains is not None:
        sentence += f" {100 * remains:.0f}% of the Original's difference is left."
    caveats = tuple(_caveats(split, retrains, family))
    return Verdict(
        label,
        WORDS[label] + ".",
        sentence,
        family.tests,
        gap,
        equivalent,
        margin,
        family.alpha,
        remains,
        family.inflation,
        family.strata.counts,
        caveats,
    )


def _closer(
    strongest: Evidence,
    of_original: Family,
    original: Subject,
    unlearned: Sequence[Subject],
    alpha: float,
) -> tuple[float, bool]:
    """The share of the Original's effect that is left, and whether it is clearly less.

    In the score's own unit: ranks of what Retrain does not explain know no sizes.
    """
    before = of_original[strongest.name]
    if strongest.difference is None or before.difference is None:
        remains = strongest.effect / before.effect if before.effect > 0 else float("inf")
        return remains, remains < 0.5
    whole = before.difference.difference
    remains = strongest.difference.difference / whole if whole > 0 else float("inf")
    if strongest.name not in SIGNED:
        return remains, remains < 0.5
    moved = minus(*(signed(x, strongest.name) for x in ([original], unlearned)))
    test = rank_test(of_original.strata, moved, greater=True)
    return remains, remains < 1 and test.p < alpha


def _equivalence(
    family: Family, unlearned: Sequence[Subject], retrains: Sequence[Subject], split: Split
) -> Contrast:
    """Right answers, in points: the difference in differences; of a forgotten class, where
    test rows tell nothing, the plain difference on the forgotten rows."""
    if split.forget_class is not None:
        rows = paired_difference(unlearned, retrains, "forget", split)
        return mean_contrast(rows, unit=100.0)
    gap = family["correctness"].difference
    assert gap is not None
    return gap


def _evidence(family: Family, found: Sequence[Evidence]) -> str:
    m, n = family.strata.counts
    rows = f"{m:,} forgotten with {n:,} test rows"
    if not found:
        least = min(family.tests, key=lambda e: e.holm)
        return (
            f"None of {len(family.tests)} tests that compare {rows} found a difference (the "
            f"smallest p after Holm's correction is {_p(least.holm)}, for {_short(least)})."
        )
    parts = "; ".join(f"{_short(e)} ({_effect(e)}, p = {_p(e.holm)})" for e in found)
    many = f"{len(found)} of {len(family.tests)} tests that compare {rows}"
    return f"{many} found a difference: {parts}."


def _short(e: Evidence) -> str:
    return e.about.partition(":")[0]


def _effect(e: Evidence) -> str:
    if e.name == "answers":
        return f"{100 * e.effect:.1f}%"
    if e.name.startswith("kept"):
        return f"{e.effect:.1f} points"
    return f"higher for the forgotten row in {50 + 100 * e.effect:.0f}% of pairs, 50% is ideal"


def _margins(gap: Contrast | None, equivalent: bool | None, margin: float) -> list[str]:
    if gap is None:
        return []
    return [
        f"Equivalence within {margin:g} points of accuracy is "
        + ("shown" if equivalent else "not shown")
        + f" (90% interval {gap.low:+.1f} to {gap.high:+.1f})."
    ]


def _power(family: Family, found: Sequence[Evidence]) -> list[str]:
    seen = family["log_odds"].detectable
    if found or not seen:
        return []
    if seen >= 0.5:
        return ["With so few rows no effect, however large, is seen with 80% power."]
    return [
        f"A model surer of forgotten than of test rows in {50 + 100 * seen:.0f}% of pairs would "
        "have been caught with 80% power; less may have gone unseen."
    ]


def _caveats(split: Split, retrains: Sequence[Subject], family: Family) -> list[str]:
    found = [NO_CERTIFICATE]
    if not family.exchangeable:
        if family.drift is not None and family.drift < family.alpha:
            text = (
                "To Retrain, which saw neither, the forgotten rows differ from test rows of "
                f"their class (p = {_p(family.drift)}), so the p-values are only a guide"
            )
        else:
            text = (
                "The request is a list of rows. If they were not drawn at random they may differ "
                "from test rows for reasons of their own, and the p-values are only a guide"
            )
        if family.inflation is not None:
            text += (
                "; they are calibrated by how much the Retrains differ among themselves "
                f"(inflation {family.inflation:.2f}, 1 is none)"
            )
        else:
            text += "; two or more Retrains calibrate them"
        found.append(text + ".")
    if not retrains:
        found.append(
            "Without a Retrain it is unknown what a model without these rows would say: how near "
            "this one comes, whether it forgot too much, and any equivalence stay open."
        )
    elif len(retrains) == 1:
        found.append(
            "One Retrain gives no floor: how much two Retrains differ is unknown, so only the "
            "tests on rows, not the distances, have a yardstick."
        )
    if split.forget_class is not None and len(retrains) < 2:
        found.append(
            "A whole class was forgotten: whether its rows go where Retrain sends them is shown, "
            "but has no yardstick with fewer than two Retrains."
        )
    return found


def _p(p: float) -> str:
    return f"{p:.2f}" if p >= 0.01 else f"{p:.1g}"
