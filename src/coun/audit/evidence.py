"""The tests behind a verdict, one family, corrected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from coun.audit.exchange import (
    Contrast,
    RankTest,
    Strata,
    contrast,
    mean_contrast,
    minus,
    rank_test,
    unexplained,
)
from coun.audit.scores import MEANING, SIGNED, Subject, distances, signed
from coun.data import Split
from coun.metrics import holm
from coun.seeds import Seeds

Direction = Literal["under", "over", "away"]
ALPHA = 0.01
UNIT = {"correctness": 100.0, "log_odds": 0.0, "probe": 0.0}


@dataclass(frozen=True)
class Evidence:
    """One test.

    Attributes:
        name, about: its key, and what it compares, in words.
        effect: of rank tests P(forgotten > test row) - 1/2; of others the share or points told
            in `about`.
        p, holm: as tested, and corrected for all tests of the family.
        direction: what it would mean: "under"- or "over"-forgotten; of distances "away".
        found: whether `holm` is below alpha.
        difference: forgotten minus test rows, in points (correctness) or nats, with its 90%
            interval; None for what is no difference.
        detectable: the effect that would be found with 80% power; None where not known.
    """

    name: str
    about: str
    effect: float
    p: float
    direction: Direction
    holm: float = 1.0
    found: bool = False
    difference: Contrast | None = None
    detectable: float | None = None

    @property
    def meaning(self) -> str:
        """What was found, in a word: "no", "under-forgotten", "over-forgotten", "farther off"."""
        if not self.found:
            return "no"
        return "farther off" if self.direction == "away" else f"{self.direction}-forgotten"


@dataclass(frozen=True)
class Family:
    """All tests of one audit, and how far Retrains themselves spread.

    Attributes:
        strata: the forgotten and test rows compared, by class.
        exchangeable: whether the two groups may be taken for alike: by request, and by drift.
        inflation: mean square of the Retrains' own z, each against the others; 1 where rows
            are exchangeable, None with one Retrain. Where they are not, errors are multiplied
            by its root (if above 1).
        drift: p of the two groups being alike to the Retrains, which saw neither; below alpha
            they are not exchangeable, whatever the request. None without Retrains.
    """

    tests: tuple[Evidence, ...]
    strata: Strata
    exchangeable: bool
    inflation: float | None
    drift: float | None
    alpha: float

    @property
    def found(self) -> tuple[Evidence, ...]:
        """What was found, strongest first."""
        return tuple(sorted((e for e in self.tests if e.found), key=lambda e: (e.holm, e.p)))

    def __getitem__(self, name: str) -> Evidence:
        return next(e for e in self.tests if e.name == name)


def gather(
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    split: Split,
    *,
    exchangeable: bool,
    margin: float,
    alpha: float = ALPHA,
    seed: int = 0,
) -> Family:
    """Test *unlearned*, together, against *retrains*, or without any against test rows alone.

    Args:
        exchangeable: whether the request was drawn as test rows were.
        margin: points of accuracy that count as nothing; for the checks of whole classes
            and of what should have been kept.
    """
    first = unlearned[0]
    strata = Strata.of(first.labels("forget").numpy(), first.labels("test").numpy())
    inflation = _inflation(retrains, strata)
    drift = _drift(retrains, strata)
    exchangeable = exchangeable and (drift is None or drift >= alpha)
    spread = 1.0 if exchangeable or inflation is None else max(1.0, inflation) ** 0.5
    generator = Seeds(seed).numpy("permutations")
    tests = []
    for name in SIGNED:
        mine, theirs = signed(unlearned, name), signed(retrains, name)
        left = unexplained(strata, mine, theirs) if retrains else mine
        test = _widen(rank_test(strata, left, generator), spread)
        gap = contrast(strata, minus(mine, theirs), unit=UNIT[name])
        tests.append(_ranked(name, test, gap, bool(retrains)))
    # Harder rows lie farther apart; two Retrains say how far.
    if len(retrains) > 1 or (retrains and exchangeable):
        apart = distances(unlearned, retrains)
        test = _widen(rank_test(strata, apart, generator, greater=True), spread, greater=True)
        tests.append(_ranked("distance", test, contrast(strata, apart), True))
    if split.forget_class is not None:
        tests.append(_answers(unlearned, retrains, split.forget_class, margin))
    if retrains:
        tests += [_kept(unlearned, retrains, part, split, margin) for part in ("retain", "test")]
    power = float(ndtri(1 - alpha / 2 / len(tests)) + ndtri(0.8))
    adjusted = holm({e.name: e.p for e in tests})
    done = tuple(
        replace(
            e,
            holm=adjusted[e.name],
            found=adjusted[e.name] < alpha,
            detectable=None if e.detectable is None else power * e.detectable,
        )
        for e in tests
    )
    return Family(done, strata, exchangeable, inflation, drift, alpha)


def _widen(test: RankTest, spread: float, *, greater: bool = False) -> RankTest:
    """*test* with its error times *spread*."""
    if spread == 1:
        return test
    wide = RankTest(test.effect, test.error * spread, 1.0, 0)
    p = ndtr(-wide.z) if greater else 2 * ndtr(-abs(wide.z))
    return replace(wide, p=max(test.p, float(p)))


def _ranked(name: str, test: RankTest, gap: Contrast, against: bool) -> Evidence:
    about = f"{MEANING[name]}: forgotten rows against test rows of their class"
    if against and name in SIGNED:
        about += ", given Retrain's"
    direction: Direction = "away"
    if name in SIGNED:
        direction = "under" if test.effect >= 0 else "over"
    return Evidence(
        name, about, test.effect, test.p, direction, difference=gap, detectable=test.error
    )


def _answers(
    unlearned: Sequence[Subject], retrains: Sequence[Subject], gone: int, margin: float
) -> Evidence:
    """Is the forgotten class still answered for its own rows, where no Retrain answers it?

    A class forgotten whole is unseen to Retrain, seen row or not, so comparing its forgotten
    with its test rows cannot tell that a model still knows it. A Retrain never answers it:
    binomial test that the share of its rows is at most *margin* points.
    """
    said = [_share(s, gone) for s in unlearned]
    known = [_share(s, gone) for s in retrains]
    mean = np.mean(said, axis=0) - (np.max(known, axis=0) if known else 0)
    count, rows = int(np.floor(np.maximum(mean, 0).sum())), len(mean)
    p = float(binom.sf(count - 1, rows, margin / 100))
    about = "share of the forgotten class's rows still given its name" + (
        ", where no Retrain gives it" if known else "; a model that never saw it gives it to none"
    )
    return Evidence("answers", about, count / rows, p, "under")


def _share(subject: Subject, gone: int) -> np.ndarray:
    rows = [
        (subject.logits(part).argmax(1) == gone)[subject.labels(part) == gone].numpy()
        for part in ("forget", "test")
    ]
    return np.concatenate(rows).astype(float)


def _kept(
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    part: str,
    split: Split,
    margin: float,
) -> Evidence:
    """Is accuracy on *part* more than *margin* points below the Retrains'?

    Without it a model that forgot everything would pass: its forgotten rows look like test rows.
    """
    lost = -paired_difference(unlearned, retrains, part, split)
    gap = mean_contrast(lost, unit=100.0)
    p = float(ndtr(-(gap.difference - margin) / gap.error))
    about = f"accuracy lost on {part} rows, against Retrain: more than {margin:g} points"
    return Evidence(f"kept_{part}", about, gap.difference, p, "over", difference=gap)


def paired_difference(
    unlearned: Sequence[Subject], retrains: Sequence[Subject], part: str, split: Split
) -> np.ndarray:
    """Correctness minus the Retrains', in points, of each row; without a forgotten class's test
    rows."""
    labels = unlearned[0].labels(part)
    right = [
        np.mean([(s.logits(part).argmax(1) == labels).numpy() for s in group], axis=0)
        for group in (unlearned, retrains)
    ]
    kept = np.ones(len(labels), bool)
    if part == "test" and split.forget_class is not None:
        kept = (labels != split.forget_class).numpy()
    found: np.ndarray = 100 * (right[0] - right[1])[kept]
    return found


def _inflation(retrains: Sequence[Subject], strata: Strata) -> float | None:
    """Mean square of the z of each Retrain, tested against the others."""
    if len(retrains) < 2:
        return None
    squares = []
    for one in retrains:
        others = [s for s in retrains if s is not one]
        for name in SIGNED:
            left = unexplained(strata, signed([one], name), signed(others, name))
            squares.append(rank_test(strata, left).z ** 2)
    return float(np.mean(squares))


def _drift(retrains: Sequence[Subject], strata: Strata) -> float | None:
    """p, corrected, of forgotten rows being to the *Retrains* what test rows are.

    They saw neither, so a difference says that the rows themselves differ.
    """
    if not retrains:
        return None
    ps = {name: rank_test(strata, signed(retrains, name)).p for name in ("log_odds", "probe")}
    return min(holm(ps).values())
