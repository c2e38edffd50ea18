"""What tests find, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from coun.audit.levels import LevelTest
from coun.audit.parts import RequestParts
from coun.audit.power import Memory, Power
from coun.audit.rank_tests import MeanDifference, Strata
from coun.audit.scores import RelearnedHalf, Subject
from coun.audit.top_rows import SuspiciousRow
from coun.metrics.arrays import Ints

Direction = Literal["under", "over", "away"]
Unit = Literal["pairs", "points", "share", "rows", "nats"]
ALPHA = 0.01
FEWEST_RETRAINS = 3  # for a directed accusation from levels


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

    >>> about = "certainty of the true class"
    >>> Evidence("log_odds", about, "pairs", 0.2, 1e-4, "under", True, "listed", found=True).meaning
    'under-forgotten'
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
        unlike_test: p of listed rows being treated like test rows; it is not evidence of memory
            and not part of the family. None where it was not computed.
        suspicious: the forgotten rows that stand out most.
        dropped: forgotten rows whose class the test set lacks.
        alike: whether listed rows depend on each other (they have owners, or the Retrains differ
            on many of them together), so that no test compares them one by one.
        ruined: whether the model answers so few kept rows rightly that its levels say nothing
            about memory; see `coun.audit.ruined`.
        other_network, other_recipe: whether the model is of another network than the Retrains, or
            was trained otherwise; see `coun.audit.networks`.

    >>> import coun
    >>> from coun.audit import audit
    >>> data = coun.load("digits", limit=60)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> found = audit(original, split=coun.Split.random(data, 0.2), rest=False, relearn=False)
    >>> [(test.name, test.found) for test in found.family.tests][:1]
    []
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
    alike: bool = False
    ruined: bool = False
    other_network: bool = False
    other_recipe: bool = False

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
class Pending:
    """A test before correction, with the function that gives its power for a tail probability."""

    evidence: Evidence
    power: Power | None = None


@dataclass(frozen=True)
class FamilyInputs:
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


def relearned_copies(inputs: FamilyInputs) -> list[list[RelearnedHalf]]:
    """The copies after relearning, of the models under audit and of the Retrains."""
    return [[s.relearned for s in g if s.relearned] for g in (inputs.unlearned, inputs.retrains)]


def strata_of(labels: tuple[Ints, ...], slots: Ints) -> Strata | None:
    """Strata of the forgotten rows at *slots*; None if no test row has their classes."""
    if len(slots) == 0 or not np.isin(labels[0][slots], labels[1]).any():
        return None
    return Strata.of(labels[0], labels[1], slots)
