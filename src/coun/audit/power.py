"""How many remembered rows a test would find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from coun.audit.levels import LevelTest
from coun.audit.rank_tests import Groups, Strata, rank_test, residualise
from coun.audit.scores import Subject, in_points, signed
from coun.audit.top_rows import TopTest, smallest_p
from coun.metrics.arrays import Floats
from coun.seeds import Seeds

POWER = 0.8
TRIALS = 20
Power = Callable[[float], float]


@dataclass(frozen=True, eq=False)
class Memory:
    """Scores of the forgotten rows as they would be if the model remembered them.

    Attributes:
        forget: by score name, (M,) each.
        test: the test rows' scores under the model that remembers, (O,) each.
        boost: (M,) how many nats the retained rows of each row's class are above test rows, by
            the model under audit; None where *forget* comes from the Original, row by row.
    """

    forget: dict[str, Floats]
    test: dict[str, Floats]
    boost: Floats | None = None

    @classmethod
    def of(cls, unlearned: Sequence[Subject], original: Subject | None, seed: int = 0) -> Memory:
        """Take them from *original*, or else from retained rows of the same class, by lot."""
        if original is not None:
            forget, test = (
                {name: s[part] for name, s in original.scores.items()} for part in (0, 1)
            )
            return cls(forget, test)
        model = unlearned[0]
        generator = Seeds(seed).numpy("memory")
        retained, forget_labels, others = (
            model.labels(part).numpy() for part in ("retain", "forget", "test")
        )
        odds, test_odds = model.log_odds("retain"), model.log_odds("test")
        rows = generator.integers(len(retained), size=len(forget_labels))
        boost = np.full(len(forget_labels), odds.mean() - test_odds.mean())
        for c in np.intersect1d(retained, forget_labels):
            same, here = np.flatnonzero(retained == c), forget_labels == c
            rows[here] = same[generator.integers(len(same), size=int(here.sum()))]
            if (others == c).any():
                boost[here] = odds[same].mean() - test_odds[others == c].mean()
        right = (model.logits("retain").argmax(1).numpy() == retained)[rows]
        lot = {"correctness": 100.0 * right, "log_odds": odds[rows]}
        return cls(lot, {name: signed(unlearned, name).test for name in lot}, boost)

    def residual(
        self,
        name: str,
        strata: Strata,
        residual: Groups,
        retrains: Groups | None,
        generator: np.random.Generator,
    ) -> Floats | None:
        """Scores (M,) of remembered rows, less what the Retrains explain; None if unknown.

        They are the Original's, on the scale of the model's residuals of test rows. Without the
        Original they are residuals of test rows, drawn by lot, with the boost.

        Args:
            residual: the same of the model under audit.
            retrains: the Retrains' scores; None without Retrains.
        """
        if self.boost is None:
            if name not in self.forget:
                return None
            before = Groups(self.forget[name], self.test[name])
            if retrains is not None:
                before = residualise(strata, before, retrains)
            rows = np.concatenate([test for _, test in strata.pairs])
            (middle, spread), (new_middle, new_spread) = (
                _scale(scores.test[rows]) for scores in (before, residual)
            )
            return (before.forget - middle) * (new_spread / spread) + new_middle
        if name != "log_odds":
            return None
        values = residual.forget.copy()
        for forget, test in strata.pairs:
            drawn = residual.test[generator.choice(test, len(forget))]
            values[forget] = drawn + self.boost[forget]
        return values

    def levels(self, name: str) -> Floats | None:
        """Scores (M,) of remembered rows in points, as `Subject.levels`; None if unknown."""
        if name not in self.forget:
            return None
        if name == "correctness":
            return self.forget[name]
        return in_points(Groups(self.forget[name], self.test[name])).forget


def _scale(values: Floats) -> tuple[float, float]:
    """Median, and mean absolute deviation from it (1 where all values are equal)."""
    middle = float(np.median(values))
    return middle, float(np.abs(values - middle).mean()) or 1.0


def rows_for_rank(strata: Strata, remembered: Groups, error: float) -> Power:
    """Rows that a two-sided rank test finds with 80% power.

    The effect of k remembered rows of M is k / M of the effect of all of them.

    Args:
        remembered: scores if every forgotten row were remembered.
        error: standard deviation of the effect by chance.
    """
    effect = rank_test(strata, remembered).effect
    count = strata.counts[0]

    def rows(tail: float) -> float:
        smallest_effect = float(ndtri(1 - tail / 2) + ndtri(POWER)) * error
        return _rows(count, smallest_effect, effect)

    return rows


def rows_for_level(remembered: Floats, test: LevelTest) -> Power:
    """Rows that a two-sided level test finds with 80% power."""
    effect = float(remembered.mean()) - test.retrain

    def rows(tail: float) -> float:
        smallest_effect = test.quantile(tail / 2) + float(ndtri(POWER)) * test.error
        return _rows(len(remembered), smallest_effect, effect)

    return rows


def rows_for_top(
    strata: Strata,
    scores: Groups,
    remembered: Floats,
    test: TopTest,
    generator: np.random.Generator,
) -> Power:
    """Rows that the test of the highest scores finds in 16 of 20 simulated sets."""
    slots = np.concatenate([forget for forget, _ in strata.pairs])

    def rows(tail: float) -> float:
        critical_p = test.critical(tail)

        def power(count: int) -> float:
            hits = 0
            for _ in range(TRIALS):
                forget = scores.forget.copy()
                chosen = generator.choice(slots, count, replace=False)
                forget[chosen] = remembered[chosen]
                hits += smallest_p(strata, Groups(forget, scores.test), generator) <= critical_p
            return hits / TRIALS

        for count in _ladder(len(slots)):
            if critical_p > 0 and power(count) >= POWER:
                return float(count)
        return float("inf")

    return rows


def _rows(count: int, smallest_effect: float, effect: float) -> float:
    """The smallest k with k / count * effect >= *smallest_effect*; infinite if there is none."""
    if effect <= 0 or smallest_effect > effect:
        return float("inf")
    return float(max(1, int(np.ceil(count * smallest_effect / effect))))


def _ladder(count: int) -> list[int]:
    """1, 2, 3, 5, 7, 10, 15 .. up to half of *count*."""
    steps = np.unique(np.round(1.45 ** np.arange(1, 40)).astype(int))
    return [int(k) for k in steps if k <= min(64, max(1, count // 2))]
