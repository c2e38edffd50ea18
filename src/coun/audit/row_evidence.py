"""Tests of rows: forgotten against test rows of their class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binom

from coun.audit.canaries import audit_canaries
from coun.audit.evidence import (
    Evidence,
    FamilyInputs,
    Pending,
    relearned_copies,
    strata_of,
)
from coun.audit.power import rows_for_rank, rows_for_top
from coun.audit.rank_tests import (
    Groups,
    Strata,
    average_by_owner,
    mean_difference,
    minus,
    rank_test,
    residualise,
)
from coun.audit.scores import MEANING, RelearnedHalf, Subject, distances, mean_groups, signed
from coun.audit.top_rows import top_test
from coun.metrics.arrays import Floats, Ints


def row_tests(
    inputs: FamilyInputs,
    strata: Strata,
    owners: tuple[Ints, Ints] | None,
    generator: np.random.Generator,
) -> list[Pending]:
    """Forgotten rows against test rows of their class: exact where rows are exchangeable."""
    condition = ", given the Retrains' answers" if inputs.retrains else ""
    pending = []
    for name in inputs.names:
        residual = given_retrains(inputs, strata, name)
        pending.append(_rank_evidence(inputs, strata, name, residual, owners, generator, condition))
    copies = relearned_copies(inputs)
    if copies[0] and owners is None:  # its halves divide the rows of an owner
        pending += _relearned_rows(inputs, copies, generator, condition)
    if inputs.retrains:
        apart = distances(inputs.unlearned, inputs.retrains)
        where, values = average_by_owner(strata, apart, owners) if owners else (strata, apart)
        test = rank_test(where, values, generator, greater=True)
        about = f"{MEANING['distance']}: forgotten rows against test rows of their class"
        evidence = Evidence(
            "distance", about, "pairs", test.effect, test.p, "away", False, "exchangeable"
        )
        pending.append(Pending(replace(evidence, difference=mean_difference(strata, apart))))
    if owners is None:
        pending.append(_top_evidence(inputs, strata, generator, condition))
    return pending


def given_retrains(inputs: FamilyInputs, strata: Strata, name: str) -> Groups:
    """The models' scores after subtracting what the Retrains' scores explain."""
    scores = signed(inputs.unlearned, name)
    if not inputs.retrains:
        return scores
    return residualise(strata, scores, signed(inputs.retrains, name))


def _rank_evidence(
    inputs: FamilyInputs,
    strata: Strata,
    name: str,
    residual: Groups,
    owners: tuple[Ints, Ints] | None,
    generator: np.random.Generator,
    condition: str,
) -> Pending:
    where, values = average_by_owner(strata, residual, owners) if owners else (strata, residual)
    test = rank_test(where, values, generator)
    unit = 100.0 if name == "correctness" else 0.0
    scores = minus(signed(inputs.unlearned, name), signed(inputs.retrains, name))
    evidence = Evidence(
        name,
        f"{MEANING[name]}: forgotten rows against test rows of their class{condition}",
        "pairs",
        test.effect,
        test.p,
        "under" if test.effect >= 0 else "over",
        bool(inputs.retrains),
        "exchangeable",
        difference=mean_difference(strata, scores, unit=unit),
    )
    exact = _of_retrains(inputs, name)
    remembered = inputs.memory.residual(name, strata, residual, exact, generator)
    if remembered is None or owners is not None:
        return Pending(evidence)
    replaced = Groups(remembered, residual.test)
    return Pending(evidence, rows_for_rank(strata, replaced, test.error))


def _of_retrains(inputs: FamilyInputs, name: str) -> Groups | None:
    """The Retrains' mean scores; None without Retrains."""
    return signed(inputs.retrains, name) if inputs.retrains else None


def _relearned_rows(
    inputs: FamilyInputs,
    copies: list[list[RelearnedHalf]],
    generator: np.random.Generator,
    condition: str,
) -> list[Pending]:
    slots = copies[0][0].slots
    labels = tuple(inputs.unlearned[0].labels(part).numpy() for part in Groups._fields)
    half = strata_of(
        (labels[0][slots], labels[1]), np.flatnonzero(np.isin(slots, inputs.parts.exchangeable))
    )
    if half is None:
        return []
    scores = mean_groups(c.log_odds for c in copies[0])
    if copies[1]:
        scores = residualise(half, scores, mean_groups(c.log_odds for c in copies[1]))
    test = rank_test(half, scores, generator)
    evidence = Evidence(
        "relearned",
        f"{MEANING['relearned']}: this half against test rows of their class{condition}",
        "pairs",
        test.effect,
        test.p,
        "under" if test.effect >= 0 else "over",
        bool(copies[1]),
        "exchangeable",
    )
    return [Pending(evidence)]


def _top_evidence(
    inputs: FamilyInputs, strata: Strata, generator: np.random.Generator, condition: str
) -> Pending:
    residual = given_retrains(inputs, strata, "log_odds")
    test = top_test(strata, residual, generator)
    evidence = Evidence(
        "top_rows",
        f"{_among_most_certain(test.size)}{condition}",
        "rows",
        test.forgotten - test.expected,
        test.p,
        "under",
        bool(inputs.retrains),
        "exchangeable",
    )
    exact = _of_retrains(inputs, "log_odds")
    remembered = inputs.memory.residual("log_odds", strata, residual, exact, generator)
    if remembered is None:
        return Pending(evidence)
    return Pending(evidence, rows_for_top(strata, residual, remembered, test, generator))


def _among_most_certain(size: int) -> str:
    """Say what the test of the highest scores counts.

    >>> _among_most_certain(1), _among_most_certain(5)
    ('a forgotten row as the most certain one', 'forgotten rows among the 5 most certain ones')
    """
    if size == 1:
        return "a forgotten row as the most certain one"
    return f"forgotten rows among the {size} most certain ones"


def canary_test(inputs: FamilyInputs) -> Pending | None:
    """Canaries that took part against those that a coin kept out: exact without Retrains."""
    several = [
        [s.canaries for s in group if s.canaries is not None]
        for group in (inputs.unlearned, inputs.retrains)
    ]
    if not several[0]:
        return None
    scores = np.mean([odds for odds, _ in several[0]], axis=0)
    if several[1]:
        scores = scores - np.mean([odds for odds, _ in several[1]], axis=0)
    result = audit_canaries(scores, several[0][0][1])
    about = (
        "certainty of canaries: those that a coin put into training against those that it kept "
        f"out; epsilon is at least {result.epsilon:.2f} with 95% confidence"
    )
    return Pending(
        Evidence("canaries", about, "pairs", result.effect, result.p, "under", True, "canaries")
    )


def answers_test(inputs: FamilyInputs) -> Pending:
    """Is a forgotten class still answered for its own rows, where no Retrain answers it?

    To a Retrain, no row of a class that is forgotten whole was ever seen, so comparing forgotten
    with test rows cannot show that a model still knows the class. A Retrain never answers it:
    binomial test that the share of its rows is at most *margin* points. Without Retrains it may
    also be the share of other test rows: a poor model gives one name to rows of any class.
    """
    shares = [_answered(s, inputs.parts.classes) for s in inputs.unlearned]
    exact = [_answered(s, inputs.parts.classes) for s in inputs.retrains]
    mean = np.mean(shares, axis=0) - (np.max(exact, axis=0) if exact else 0)
    count, rows = int(np.floor(np.maximum(mean, 0).sum())), len(mean)
    usual = inputs.margin / 100
    if not exact:
        usual = max(usual, _answered_elsewhere(inputs.unlearned, inputs.parts.classes))
    p = float(binom.sf(count - 1, rows, usual))
    about = "share of the forgotten class's rows that are still given its name" + (
        ", where no Retrain gives it" if exact else "; a model that never saw it gives it to none"
    )
    evidence = Evidence(
        "answers", about, "share", count / rows, p, "under", bool(exact), "exchangeable"
    )
    return Pending(evidence)


def _answered_elsewhere(subjects: Sequence[Subject], classes: tuple[int, ...]) -> float:
    """The share of the test rows of other classes that are given a forgotten class."""
    shares = []
    for subject in subjects:
        others = ~np.isin(subject.labels("test").numpy(), classes)
        shares.append(np.isin(subject.logits("test").argmax(1).numpy()[others], classes).mean())
    return float(np.mean(shares))


def _answered(subject: Subject, classes: tuple[int, ...]) -> Floats:
    """1 for each forgotten or test row of a forgotten class that is given such a class."""
    forgotten = np.array(classes)
    rows = [
        np.isin(subject.logits(part).argmax(1).numpy(), forgotten)[
            np.isin(subject.labels(part).numpy(), forgotten)
        ]
        for part in Groups._fields
    ]
    values: Floats = np.concatenate(rows).astype(float)
    return values
