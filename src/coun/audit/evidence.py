"""The tests behind a verdict: one family, corrected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.stats import binom

from coun.audit.levels import LevelTest, level_test
from coun.audit.parts import RequestParts
from coun.audit.power import Memory, Power, rows_for_level, rows_for_rank, rows_for_top
from coun.audit.rank_tests import (
    Groups,
    MeanDifference,
    Strata,
    average_by_owner,
    mean_difference,
    minus,
    rank_test,
    residualise,
    shared_slope,
)
from coun.audit.scores import (
    MEANING,
    RelearnedHalf,
    Subject,
    distances,
    divergence,
    in_points,
    mean_groups,
    signed,
)
from coun.audit.top_rows import SuspiciousRow, suspicious_rows, top_test
from coun.metrics import holm
from coun.metrics.arrays import Floats, Ints
from coun.seeds import Seeds

Direction = Literal["under", "over", "away"]
Unit = Literal["pairs", "points", "share", "rows", "nats"]
ALPHA = 0.01
FEWEST_RETRAINS = 3  # for a directed accusation from levels
LARGEST = float(np.log(2))  # Jensen-Shannon divergence of two answers, nats


@dataclass(frozen=True)
class Evidence:
    """One test.

    Attributes:
        name, about: its key, and what it compares, in words.
        unit: of *effect*: "pairs" (P(forgotten > test row) - 1/2), "points" or "nats"
            (difference to the Retrains), "share" (of rows) or "rows" (more than by chance).
        effect: what was measured.
        p, holm: as tested, and corrected for all tests of the family.
        direction: what it would mean: "under"- or "over"-forgotten; "away": no direction.
        directed: whether it can carry an accusation with a direction.
        found: whether `holm` is below alpha.
        difference: forgotten minus test rows, in points (correctness) or nats, with its 90%
            interval; None where there is none.
        level: the model beside the Retrains, for level tests.
        detectable: how many remembered rows would be found with 80% power; None if unknown.
        part: which rows were tested: "exchangeable", "listed", or "kept" rows.
    """

    name: str
    about: str
    unit: Unit
    effect: float
    p: float
    direction: Direction
    directed: bool
    part: str
    holm: float = 1.0
    found: bool = False
    difference: MeanDifference | None = None
    level: LevelTest | None = None
    detectable: float | None = None

    @property
    def meaning(self) -> str:
        """What was found, in a word."""
        if not self.found:
            return "no"
        return f"{self.direction}-forgotten" if self.directed else "a difference"


@dataclass(frozen=True)
class TestFamily:
    """All tests of one audit.

    Attributes:
        strata: the forgotten and test rows that were compared, by class; None if none were.
        drift: p of the Retrains, which saw neither, treating forgotten and test rows alike;
            without Retrains, of the inputs being alike. Below alpha, no rows are taken for
            exchangeable. None if unknown.
        parts: the request as it was tested.
        alpha: of the whole family (Holm).
        unlike_test: p of listed rows being treated like test rows; it is no evidence of memory
            and not part of the family. None where it was not computed.
        suspicious: the forgotten rows that stand out most.
        dropped: forgotten rows whose class the test set lacks.
    """

    __test__ = False  # so that pytest does not collect it

    tests: tuple[Evidence, ...]
    strata: Strata | None
    drift: float | None
    parts: RequestParts
    alpha: float
    unlike_test: float | None = None
    suspicious: tuple[SuspiciousRow, ...] = field(default_factory=tuple)
    dropped: int = 0

    @property
    def found(self) -> tuple[Evidence, ...]:
        """The tests that found something, strongest first."""
        return tuple(sorted((e for e in self.tests if e.found), key=lambda e: (e.holm, e.p)))

    def __getitem__(self, name: str) -> Evidence:
        return next(e for e in self.tests if e.name == name)

    def detectable(self, part: str) -> float:
        """The smallest number of remembered rows of a part that some test would find."""
        rows = [e.detectable for e in self.tests if e.part == part and e.detectable is not None]
        return min(rows, default=float("inf"))


@dataclass(frozen=True)
class _Pending:
    """A test before correction, with the function that gives its power for a tail probability."""

    evidence: Evidence
    power: Power | None = None


def run_tests(
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    parts: RequestParts,
    *,
    margin: float,
    alpha: float = ALPHA,
    memory: Subject | None = None,
    owners: tuple[Ints, Ints] | None = None,
    input_drift: float | None = None,
    seed: int = 0,
) -> TestFamily:
    """Test *unlearned*, together, against *retrains*, or without any against test rows alone.

    Args:
        margin: points of accuracy that count as no difference, and the seed spread that is
            taken for possible where few Retrains are given.
        memory: a model that remembers the rows (the Original), for the power of the tests; by
            default the model's own retained rows show how remembered rows look.
        owners: a number for each forgotten and each test row; whole owners are permuted.
        input_drift: p of test rows being like training rows by their inputs; used where there is
            no Retrain to judge that.
    """
    labels = tuple(unlearned[0].labels(part).numpy() for part in Groups._fields)
    generator = Seeds(seed).numpy("permutations")
    drift = _drift(retrains, _strata(labels, parts.exchangeable)) if retrains else input_drift
    if drift is not None and drift < alpha:
        parts = parts.without_exchange()
    strata, listed = (_strata(labels, slots) for slots in (parts.exchangeable, parts.listed))
    models = _Models(unlearned, retrains, Memory.of(unlearned, memory, seed), parts, margin)
    pending: list[_Pending] = []
    suspicious: list[SuspiciousRow] = []
    unlike = None
    if strata is not None:
        pending += _row_tests(models, strata, owners, generator)
        suspicious = suspicious_rows(strata, _given(models, strata, "log_odds"))
    if parts.classes:
        pending.append(_answers(models))
    if retrains:
        for name, slots in (("exchangeable", parts.exchangeable), ("listed", parts.listed)):
            pending += _level_tests(models, name, slots) if len(slots) else []
        pending += [_kept(models, part) for part in ("retain", "test")]
    if listed is not None:
        scores = minus(signed(unlearned, "log_odds"), signed(retrains, "log_odds"))
        unlike = None if retrains else rank_test(listed, scores, generator).p
        suspicious = suspicious or suspicious_rows(listed, scores)
    adjusted = holm({str(k): one.evidence.p for k, one in enumerate(pending)})
    tests = []
    for k, one in enumerate(pending):
        corrected = adjusted[str(k)]
        rows = one.power(alpha / len(pending)) if one.power else None
        tests.append(
            replace(one.evidence, holm=corrected, found=corrected < alpha, detectable=rows)
        )
    compared = sum(s.counts[0] for s in (strata, listed) if s is not None)
    return TestFamily(
        tuple(tests),
        strata,
        drift,
        parts,
        alpha,
        unlike,
        tuple(suspicious),
        len(labels[0]) - compared,
    )


@dataclass(frozen=True)
class _Models:
    """What every test of a family looks at."""

    unlearned: Sequence[Subject]
    retrains: Sequence[Subject]
    memory: Memory
    parts: RequestParts
    margin: float

    @property
    def names(self) -> list[str]:
        """Names of the signed scores that all models have."""
        return list(self.unlearned[0].scores)

    @property
    def directed(self) -> bool:
        """Whether a comparison of levels can carry an accusation with a direction."""
        return len(self.retrains) >= FEWEST_RETRAINS


def _copies(models: _Models) -> list[list[RelearnedHalf]]:
    """The copies after relearning, of the models under audit and of the Retrains."""
    return [[s.relearned for s in g if s.relearned] for g in (models.unlearned, models.retrains)]


def _strata(labels: tuple[Ints, ...], slots: Ints) -> Strata | None:
    """Strata of the forgotten rows at *slots*; None if no test row has their classes."""
    if len(slots) == 0 or not np.isin(labels[0][slots], labels[1]).any():
        return None
    return Strata.of(labels[0], labels[1], slots)


def _given(models: _Models, strata: Strata, name: str) -> Groups:
    """The models' scores after subtracting what the Retrains' scores explain."""
    scores = signed(models.unlearned, name)
    if not models.retrains:
        return scores
    return residualise(strata, scores, signed(models.retrains, name))


def _row_tests(
    models: _Models,
    strata: Strata,
    owners: tuple[Ints, Ints] | None,
    generator: np.random.Generator,
) -> list[_Pending]:
    """Forgotten rows against test rows of their class: exact where rows are exchangeable."""
    given = ", given the Retrains'" if models.retrains else ""
    pending = []
    for name in models.names:
        residual = _given(models, strata, name)
        pending.append(_rank_evidence(models, strata, name, residual, owners, generator, given))
    copies = _copies(models)
    if copies[0]:
        pending += _relearned_rows(models, strata, copies, generator, given)
    if models.retrains:
        apart = distances(models.unlearned, models.retrains)
        where, values = average_by_owner(strata, apart, owners) if owners else (strata, apart)
        test = rank_test(where, values, generator, greater=True)
        about = f"{MEANING['distance']}: forgotten rows against test rows of their class"
        evidence = Evidence(
            "distance", about, "pairs", test.effect, test.p, "away", False, "exchangeable"
        )
        pending.append(_Pending(replace(evidence, difference=mean_difference(strata, apart))))
    if owners is None:
        pending.append(_top_evidence(models, strata, generator, given))
    return pending


def _rank_evidence(
    models: _Models,
    strata: Strata,
    name: str,
    residual: Groups,
    owners: tuple[Ints, Ints] | None,
    generator: np.random.Generator,
    given: str,
) -> _Pending:
    where, values = average_by_owner(strata, residual, owners) if owners else (strata, residual)
    test = rank_test(where, values, generator)
    unit = 100.0 if name == "correctness" else 0.0
    scores, theirs = signed(models.unlearned, name), signed(models.retrains, name)
    evidence = Evidence(
        name,
        f"{MEANING[name]}: forgotten rows against test rows of their class{given}",
        "pairs",
        test.effect,
        test.p,
        "under" if test.effect >= 0 else "over",
        bool(models.retrains),
        "exchangeable",
        difference=mean_difference(strata, minus(scores, theirs), unit=unit),
    )
    remembered = models.memory.scores(name)
    if remembered is None or owners is not None:
        return _Pending(evidence)
    slope = shared_slope(strata, scores, theirs) if models.retrains else 0.0
    replaced = Groups(remembered - slope * theirs.forget, residual.test)
    return _Pending(evidence, rows_for_rank(strata, replaced, test.error))


def _relearned_rows(
    models: _Models,
    strata: Strata,
    copies: list[list[RelearnedHalf]],
    generator: np.random.Generator,
    given: str,
) -> list[_Pending]:
    slots = copies[0][0].slots
    labels = tuple(models.unlearned[0].labels(part).numpy() for part in Groups._fields)
    half = _strata(
        (labels[0][slots], labels[1]), np.flatnonzero(np.isin(slots, models.parts.exchangeable))
    )
    if half is None:
        return []
    scores = mean_groups(c.log_odds for c in copies[0])
    if copies[1]:
        scores = residualise(half, scores, mean_groups(c.log_odds for c in copies[1]))
    test = rank_test(half, scores, generator)
    direction: Direction = "under" if test.effect >= 0 else "over"
    about = f"{MEANING['relearned']}: this half against test rows of their class{given}"
    directed = bool(copies[1])
    return [
        _Pending(
            Evidence(
                "relearned",
                about,
                "pairs",
                test.effect,
                test.p,
                direction,
                directed,
                "exchangeable",
            )
        )
    ]


def _top_evidence(
    models: _Models, strata: Strata, generator: np.random.Generator, given: str
) -> _Pending:
    residual = _given(models, strata, "log_odds")
    test = top_test(strata, residual, generator)
    evidence = Evidence(
        "top_rows",
        f"forgotten rows among the {test.size} most certain ones{given}",
        "rows",
        test.forgotten - test.expected,
        test.p,
        "under",
        bool(models.retrains),
        "exchangeable",
    )
    remembered = models.memory.scores("log_odds")
    if remembered is None:
        return _Pending(evidence)
    theirs = signed(models.retrains, "log_odds")
    slope = (
        shared_slope(strata, signed(models.unlearned, "log_odds"), theirs)
        if models.retrains
        else 0.0
    )
    replaced = remembered - slope * theirs.forget
    return _Pending(evidence, rows_for_top(strata, residual, replaced, test, generator))


def _answers(models: _Models) -> _Pending:
    """Is a forgotten class still answered for its own rows, where no Retrain answers it?

    To a Retrain, no row of a class that is forgotten whole was ever seen, so comparing forgotten
    with test rows cannot show that a model still knows the class. A Retrain never answers it:
    binomial test that the share of its rows is at most *margin* points.
    """
    shares = [_answered(s, models.parts.classes) for s in models.unlearned]
    exact = [_answered(s, models.parts.classes) for s in models.retrains]
    mean = np.mean(shares, axis=0) - (np.max(exact, axis=0) if exact else 0)
    count, rows = int(np.floor(np.maximum(mean, 0).sum())), len(mean)
    p = float(binom.sf(count - 1, rows, models.margin / 100))
    about = "share of the forgotten class's rows that are still given its name" + (
        ", where no Retrain gives it" if exact else "; a model that never saw it gives it to none"
    )
    evidence = Evidence(
        "answers", about, "share", count / rows, p, "under", bool(exact), "exchangeable"
    )
    return _Pending(evidence)


def _answered(subject: Subject, classes: tuple[int, ...]) -> Floats:
    """1 for each forgotten or test row of a forgotten class that is given such a class."""
    gone = np.array(classes)
    rows = [
        np.isin(subject.logits(part).argmax(1).numpy(), gone)[
            np.isin(subject.labels(part).numpy(), gone)
        ]
        for part in Groups._fields
    ]
    values: Floats = np.concatenate(rows).astype(float)
    return values


def _level_tests(models: _Models, part: str, slots: Ints) -> list[_Pending]:
    """The model's levels on the rows at *slots* beside the Retrains'."""
    labels = models.unlearned[0].labels("forget").numpy()[slots]
    test_labels = models.unlearned[0].labels("test").numpy()
    usual = np.isin(test_labels, labels) & ~np.isin(test_labels, models.parts.classes)
    pending = []
    for name in models.names:
        model, exact = (_levels(group, name) for group in (models.unlearned, models.retrains))
        elsewhere = 0.0
        if len(models.retrains) == 1:
            weights = np.bincount(labels, minlength=test_labels.max() + 1)[test_labels] * usual
            gap = model[1].mean(0) - exact[1].mean(0)
            shift = float((weights * gap).sum() / weights.sum()) if weights.any() else 0.0
            elsewhere = min(abs(shift), 2 * models.margin)
        test = level_test(
            model[0].mean(0)[slots], exact[0][:, slots], margin=models.margin, elsewhere=elsewhere
        )
        remembered = models.memory.levels(name)
        pending.append(
            _Pending(
                _level_evidence(f"level_{name}", MEANING[name], part, test, models.directed),
                rows_for_level(remembered[slots], test) if remembered is not None else None,
            )
        )
    copies = _copies(models)
    if all(copies):
        half = np.isin(copies[0][0].slots, slots)
        again = [np.stack([in_points(c.log_odds).forget[half] for c in g]) for g in copies]
        if half.any():
            test = level_test(again[0].mean(0), again[1], margin=models.margin)
            about = MEANING["relearned"]
            evidence = _level_evidence("level_relearned", about, part, test, models.directed)
            pending.append(_Pending(evidence))
    if len(models.retrains) > 1:
        pending.append(_distance_level(models, part, slots))
    return pending


def _levels(group: Sequence[Subject], name: str) -> tuple[Floats, Floats]:
    """Levels in points of several models: forgotten rows (R, M) and test rows (R, O)."""
    forget, test = (np.stack(x) for x in zip(*(s.levels[name] for s in group), strict=True))
    return forget, test


def _level_evidence(
    name: str, meaning: str, part: str, test: LevelTest, directed: bool
) -> Evidence:
    return Evidence(
        name,
        f"{meaning}: level on the forgotten rows against the Retrains'",
        "points",
        test.difference,
        test.p,
        "under" if test.difference >= 0 else "over",
        directed,
        part,
        level=test,
    )


def _distance_level(models: _Models, part: str, slots: Ints) -> _Pending:
    """Mean distance of each model to all others: every model has as many references."""
    count = len(models.retrains)
    pairs = np.zeros((count + 1, count + 1, len(slots)))
    for a in range(count + 1):
        for b in range(a):
            if a == count:
                rows = np.mean(
                    [divergence(u, models.retrains[b]).forget[slots] for u in models.unlearned], 0
                )
            else:
                rows = divergence(models.retrains[a], models.retrains[b]).forget[slots]
            pairs[a, b] = pairs[b, a] = rows
    values = pairs.sum(1) / count
    spread = 0.2 * float(values[:-1].mean())
    test = level_test(values[-1], values[:-1], margin=spread, unit=LARGEST, greater=True)
    about = "mean distance to the other models' answers on the forgotten rows"
    evidence = Evidence(
        "level_distance", about, "nats", test.difference, test.p, "away", False, part, level=test
    )
    return _Pending(evidence)


def _kept(models: _Models, part: str) -> _Pending:
    """Is accuracy on *part* more than the margin below the Retrains'?

    Without this test a model that forgot everything would pass, because its forgotten rows look
    like test rows.
    """
    values = [
        -np.stack([100.0 * _right(s, part) for s in group])[:, _usual(models, part)]
        for group in (models.unlearned, models.retrains)
    ]
    test = level_test(
        values[0].mean(0), values[1], margin=models.margin, above=models.margin, greater=True
    )
    about = f"accuracy lost on {part} rows: more than {models.margin:g} points below the Retrains'"
    directed = models.directed or len(models.parts.listed) == 0
    evidence = Evidence(
        f"kept_{part}", about, "points", test.difference, test.p, "over", directed, "kept"
    )
    return _Pending(replace(evidence, level=test))


def _right(subject: Subject, part: str) -> Floats:
    values: Floats = (subject.logits(part).argmax(1) == subject.labels(part)).double().numpy()
    return values


def _usual(models: _Models, part: str) -> np.ndarray:
    """Rows of *part* whose class is not forgotten whole."""
    usual: np.ndarray = ~np.isin(models.unlearned[0].labels(part).numpy(), models.parts.classes)
    return usual


def _drift(retrains: Sequence[Subject], strata: Strata | None) -> float | None:
    """p, corrected, of the Retrains treating forgotten and test rows alike.

    The Retrains saw neither, so a difference says that the rows themselves differ.
    """
    if strata is None:
        return None
    ps = {name: rank_test(strata, signed(retrains, name)).p for name in ("log_odds", "probe")}
    return min(holm(ps).values())
