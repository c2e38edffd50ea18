"""From tests to one word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from coun.audit.evidence import Evidence, TestFamily
from coun.audit.family import run_tests
from coun.audit.levels import level_test
from coun.audit.parts import RequestParts
from coun.audit.rank_tests import (
    MeanDifference,
    interval,
    mean_difference,
    minus,
    rank_test,
)
from coun.audit.scores import SIGNED, Subject, signed
from coun.metrics.arrays import Ints

Word = Literal[
    "equivalent",
    "no difference found",
    "inconclusive",
    "under-forgotten",
    "over-forgotten",
    "closer than the original",
    "different",
]
WORDS: tuple[str, ...] = get_args(Word)
CLEAR = ("equivalent", "no difference found")
SHARE = 0.5  # of the rows: full memory of so many must be detectable, or nothing is concluded
NEAR = 5.0  # a smallest p below so many alphas neither accuses nor clears a model
FLOORS = 3.0  # an average gap of more floors than this is never called no difference


@dataclass(frozen=True)
class Gap:
    """The average gap of the model to the Retrains, and how large it may be by chance.

    Attributes:
        points: mean distance over retain, unlearn and test accuracy and membership attack.
        floor: the same between two Retrains; None with one Retrain.
        allowed: points up to which the verdict does not mind.
    """

    points: float
    floor: float | None
    allowed: float


@dataclass(frozen=True)
class Verdict:
    """What an audit concludes.

    Attributes:
        label: the word.
        headline, sentence, caveats: the word in plain language; the evidence for it; what was
            looked at and what cannot be concluded.
        reasons: keys that say why an audit is inconclusive; see `decide`.
        evidence: all tests, in one family (Holm).
        equivalence: the difference in points of accuracy on the forgotten rows that `equivalent`
            judges, with its 90% interval; None without Retrains.
        equivalent: whether that interval lies inside +/- margin (TOST at 5%).
        margin: points.
        alpha: of the family.
        detectable: how many remembered rows would have been found with 80% power; infinite if
            not even all. It is for the part of the request where the tests are weakest, which has
            `detectable_of` rows.
        remains: share of the Original's effect that is left, on the strongest test; None
            without an Original.
        control: the word for the Original under the same tests; None without an Original.
        gap: the average gap; None without Retrains or where it was not measured.
        rows: forgotten and test rows; the forgotten ones by kind.
        retrains: how many were given.

    >>> import coun
    >>> from coun.audit import audit
    >>> data = coun.load("digits", limit=60)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> found = audit(original, split=coun.Split.random(data, 0.2), rest=False, relearn=False)
    >>> found.verdict.label, found.verdict.retrains, found.verdict.rows["test"]
    ('inconclusive', 0, 359)
    """

    label: Word
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    equivalence: MeanDifference | None
    equivalent: bool | None
    margin: float
    alpha: float
    detectable: float
    detectable_of: int
    remains: float | None
    control: str | None
    gap: Gap | None
    rows: dict[str, int]
    retrains: int
    headline: str = ""
    sentence: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def found(self) -> tuple[Evidence, ...]:
        """The tests that found something, strongest first."""
        return tuple(sorted((e for e in self.evidence if e.found), key=lambda e: (e.holm, e.p)))

    def to_json(self) -> dict[str, Any]:
        """All attributes, nested dataclasses as dicts."""
        return asdict(self)


def decide(
    family: TestFamily,
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    *,
    margin: float,
    original: Subject | None = None,
    of_original: TestFamily | None = None,
    gap: Gap | None = None,
) -> Verdict:
    """Choose the word for *family*.

    Something under-forgotten outweighs something over-forgotten, because memory is the graver
    failing. Evidence without a direction, or without the Retrains that carry one, gives
    "different". Where nothing is found, the reasons against "no difference found" are "no
    retrain", "unlike test rows", "control" (the Original passes too), "ruined" (the model answers
    as few rows rightly as one answer to everything would), "near" (a test came near to finding
    something), "power" and "gap".

    Args:
        family: the tests of the models.
        unlearned, retrains: the models, with their predictions.
        margin: points of accuracy that count as no difference.
        original: the model before unlearning.
        of_original: the same tests on the Original.
        gap: of the model; larger than allowed, it forbids "no difference found".

    Returns: the word, with the reasons and numbers behind it; sentences are added later.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> from coun.audit import RequestParts, Subject, run_tests
    >>> from coun.runs import predictions
    >>> model = Subject("run", predictions(run.classifier, data, split))
    >>> family = run_tests([model], [], RequestParts.of(data, split), margin=5.0)
    >>> verdict = decide(family, [model], [], margin=5.0)
    >>> verdict.label, "no retrain" in verdict.reasons
    ('inconclusive', False)
    """
    under = [e for e in family.found if e.directed and e.direction == "under"]
    over = [e for e in family.found if e.directed and e.direction == "over"]
    remains, nearer = None, False
    if under and original is not None and of_original is not None:
        remains, nearer = _closer(under[0], of_original, original, unlearned, family.alpha)
    control = None
    if original is not None and of_original is not None:
        control = decide(of_original, [original], retrains, margin=margin).label
    difference = _equivalence(family, unlearned, retrains, margin) if retrains else None
    equivalent = difference.within(margin) if difference else None
    parts = {"exchangeable": family.parts.exchangeable, "listed": family.parts.listed}
    shares = {
        part: family.detectable(part) / len(slots) for part, slots in parts.items() if len(slots)
    }
    weakest = max(shares, key=lambda part: shares[part])
    reasons: list[str] = []
    label: Word
    if under:
        label = "closer than the original" if nearer else "under-forgotten"
    elif over:
        label = "over-forgotten"
    elif family.found:
        label = "different"
    else:
        reasons = _doubts(family, retrains, control, gap, max(shares.values()))
        clear: Word = "equivalent" if equivalent else "no difference found"
        label = "inconclusive" if reasons else clear
    return Verdict(
        label,
        tuple(reasons),
        family.tests,
        difference,
        equivalent,
        margin,
        family.alpha,
        family.detectable(weakest),
        len(parts[weakest]),
        remains,
        control,
        gap,
        {
            "forget": len(unlearned[0].labels("forget")),
            "test": len(unlearned[0].labels("test")),
            **{part: len(slots) for part, slots in parts.items()},
            "without test rows": family.dropped,
        },
        len(retrains),
    )


def _doubts(
    family: TestFamily,
    retrains: Sequence[Subject],
    control: Word | None,
    gap: Gap | None,
    detectable_share: float,
) -> list[str]:
    """Reasons against "no difference found" where no test found anything."""
    reasons = []
    if not retrains and len(family.parts.listed):
        unlike = family.unlike_test is not None and family.unlike_test < family.alpha
        reasons.append("unlike test rows" if unlike else "no retrain")
    if control in (*CLEAR, "inconclusive"):
        reasons.append("control")
    if not retrains and family.ruined:
        reasons.append("ruined")
    if any(e.holm < NEAR * family.alpha for e in family.tests):
        reasons.append("near")
    if detectable_share > SHARE:
        reasons.append("power")
    if gap is not None and gap.points > gap.allowed:
        reasons.append("gap")
    return reasons


def allowed_gap(floor: float | None, margin: float, rows: int) -> float:
    """The average gap up to which nothing need be explained, in points.

    With two or more Retrains it is three floors, or the margin if that is larger. With one
    Retrain it is twice the margin and an allowance for the noise of few forgotten rows.
    """
    if floor is None:
        return float(2 * margin + 100 / np.sqrt(rows))
    return max(FLOORS * floor, margin)


def _closer(
    strongest: Evidence,
    of_original: TestFamily,
    original: Subject,
    unlearned: Sequence[Subject],
    alpha: float,
) -> tuple[float, bool]:
    """The share of the Original's effect that is left, and whether it is clearly less than 1.

    In the score's own unit, because ranks of what Retrain does not explain have no unit.
    """
    matching = [
        e for e in of_original.tests if (e.name, e.part) == (strongest.name, strongest.part)
    ]
    if not matching:
        return float("nan"), False
    effects = [
        e.difference.difference if e.difference is not None else e.effect
        for e in (strongest, matching[0])
    ]
    if effects[1] <= 0:
        return float("inf"), False
    remains = effects[0] / effects[1]
    if strongest.name not in SIGNED or of_original.strata is None:
        return remains, remains < 0.5
    moved = minus(*(signed(x, strongest.name) for x in ([original], unlearned)))
    test = rank_test(of_original.strata, moved, greater=True)
    return remains, remains < 1 and test.p < alpha


def _equivalence(
    family: TestFamily, unlearned: Sequence[Subject], retrains: Sequence[Subject], margin: float
) -> MeanDifference:
    """Right answers on the forgotten rows, in points, against the Retrains.

    Where all rows are exchangeable and none belongs to a forgotten class, it is the difference
    to test rows minus the Retrains' one; else the plain difference, with the seed spread.
    """
    model, exact = (signed(group, "correctness") for group in (unlearned, retrains))
    parts = family.parts
    if family.strata is not None and not len(parts.listed) and not parts.classes:
        return mean_difference(family.strata, minus(model, exact), unit=100.0)
    rows = np.stack([s.scores["correctness"].forget for s in retrains])
    test = level_test(model.forget, rows, margin=0.0 if len(retrains) > 2 else margin / 2)
    return interval(test.difference, test.error, test.df)


def judge(
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    parts: RequestParts,
    *,
    original: Subject | None = None,
    margin: float,
    alpha: float,
    gap: Gap | None = None,
    owners: tuple[Ints, Ints] | None = None,
    input_drift: float | None = None,
    seed: int = 0,
) -> tuple[Verdict, TestFamily, TestFamily | None]:
    """Test models by their predictions alone, and choose the word.

    Args:
        unlearned, retrains, original: the models, with their predictions.
        parts: what the forgotten rows consist of.
        margin: points of accuracy that count as no difference.
        alpha: the chance of a false accusation, of all tests together.
        gap: the average gap to Retrain, where it was measured.
        owners: of forgotten rows and of test rows, (n,) each; whole owners are then permuted.
        input_drift: p of forgotten rows being unlike test rows by their inputs alone.
        seed: of the permutations.

    Returns: the verdict, the tests of the models under audit, and the same tests of the Original.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> from coun.audit import RequestParts, Subject
    >>> from coun.runs import predictions
    >>> model = Subject("run", predictions(run.classifier, data, split))
    >>> parts = RequestParts.of(data, split)
    >>> verdict, family, of_original = judge([model], [], parts, margin=5.0, alpha=0.05)
    >>> verdict.label, len(family.tests) > 0, of_original
    ('inconclusive', True, None)
    """

    def tested(models: Sequence[Subject]) -> TestFamily:
        return run_tests(
            models,
            retrains,
            parts,
            margin=margin,
            alpha=alpha,
            memory=original,
            owners=owners,
            input_drift=input_drift,
            seed=seed,
        )

    family, before = tested(unlearned), tested([original]) if original is not None else None
    verdict = decide(
        family,
        unlearned,
        retrains,
        margin=margin,
        original=original,
        of_original=before,
        gap=gap,
    )
    return verdict, family, before
