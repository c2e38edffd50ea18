"""What the tests look at: numbers for each row that memory of the row would move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.attacks import correctness, scaled_logit
from coun.audit.rank_tests import Groups
from coun.data import Split
from coun.data.subsets import at_most
from coun.metrics import js_rows, probabilities, probe_margins
from coun.metrics.arrays import Floats, Ints
from coun.runs import Predictions, Run, measure
from coun.seeds import Seeds

CHECKPOINTS = (1, 2, 4, 8, 20)  # steps of relearning after which a copy is measured
PROBED = 3_000  # retain rows that a probe is fitted on, at most; a seeded, stratified subset
LIMIT = 100.0  # log-odds are clamped to +/- this many nats

MEANING = {
    "correctness": "right answers",
    "log_odds": "certainty of the true class",
    "probe": "what a linear probe reads from the features",
    "nearby": "certainty of the true class for slightly changed copies of the rows",
    "relearned": "certainty after relearning the other half of the forgotten rows",
    "relearning": "right answers while the other half of the forgotten rows is relearned",
    "lira": "membership score of LiRA with shadow models",
    "rmia": "membership score of RMIA with shadow models",
    "distance": "distance to the Retrains' answers",
}
ZERO = Groups(np.zeros(1), np.zeros(1))
SIGNED = ("correctness", "log_odds", "probe")  # a higher score than a Retrain's means memory


@dataclass(frozen=True, eq=False)
class RelearnedHalf:
    """What comes back of a model when it is trained for a few steps on half of the forgotten rows.

    Attributes:
        slots: positions, among the forgotten rows, of the half that was *not* trained on.
        log_odds: of the true class under the copy: that half (M/2,) and all test rows (O,).
        right: (M,) percent of `CHECKPOINTS` at which each forgotten row is answered rightly by
            the copy that is trained on the half without it.
    """

    slots: Ints
    log_odds: Groups
    right: Floats


@dataclass(eq=False)
class Subject:
    """One model of an audit and its outputs on all rows.

    Attributes:
        name: what the audit calls the model.
        predictions: its outputs on the forget, test and retain rows.
        run: where it comes from; None for bare predictions.
        seed: of the probe's subset of rows.
        optional: further signed scores by name, such as those of attacks with shadow models.
        relearned: the copy for the relearning test, if it was made.
        canaries: log-odds of all canaries (N,), and whether each took part in training.
        measured: what `coun.runs.measure` gives for the predictions; computed once.

    >>> import coun
    >>> from coun.runs import predictions
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> model = Subject("Original", predictions(run.classifier, data, split), run)
    >>> sorted(model.scores), model.scores["log_odds"].forget.shape
    (['correctness', 'log_odds', 'probe'], (12,))
    """

    name: str
    predictions: Predictions
    run: Run | None = None
    seed: int = 0
    optional: dict[str, Groups] | None = None
    relearned: RelearnedHalf | None = None
    canaries: tuple[Floats, Floats] | None = None
    measured: dict[str, Any] | None = None

    def measure(self, split: Split) -> dict[str, Any]:
        """Accuracies and the efficacy of the membership attack; computed once."""
        if self.measured is None:
            self.measured = measure(self.predictions, split)
        return self.measured

    def logits(self, part: str) -> Tensor:
        """Logits (N, K) of a part: "forget", "test" or "retain"."""
        return self.predictions.outputs[part].logits

    def labels(self, part: str) -> Tensor:
        """Labels (N,) of a part."""
        return self.predictions.labels[part]

    def features(self, part: str) -> Tensor:
        """Penultimate features (N, D) of a part."""
        return self.predictions.outputs[part].features

    @cached_property
    def probabilities(self) -> dict[str, Floats]:
        """Probabilities (N, K) by part."""
        return {p: probabilities(out.logits) for p, out in self.predictions.outputs.items()}

    @cached_property
    def scores(self) -> dict[str, Groups]:
        """The signed scores by name; correctness in points, all others in nats."""
        return {
            "correctness": Groups(*(100 * self.correct(part) for part in Groups._fields)),
            "log_odds": Groups(*(self.log_odds(part) for part in Groups._fields)),
            "probe": self._probe(),
            **(self.optional or {}),
        }

    @cached_property
    def levels(self) -> dict[str, Groups]:
        """The scores in points, 0..100, so that models of different calibration can be compared.

        Correctness is in points already. Every other score becomes the percentage of the model's
        own test rows that score lower, where ties count half.
        """
        return {n: s if n == "correctness" else in_points(s) for n, s in self.scores.items()}

    def log_odds(self, part: str) -> Floats:
        """Log-odds of the true class (N,), in nats, clamped."""
        return log_odds(self.logits(part), self.labels(part))

    def correct(self, part: str) -> Floats:
        """1 for each right answer of a part, else 0, (N,)."""
        values: Floats = correctness(self.logits(part), self.labels(part)).numpy()
        return values

    def _probe(self) -> Groups:
        """Log-odds under a probe that is fitted on retain rows.

        Of a class that no retain row has, half of the forgotten and test rows teach the probe
        that reads the other half. The halves are drawn without regard to which row is which, so
        the groups stay exchangeable.
        """
        retained = self.labels("retain")
        rows = at_most(PROBED, retained, self.seed)
        x, y = self.features("retain")[rows], retained[rows]
        queries = torch.cat([self.features(part) for part in Groups._fields])
        labels = torch.cat([self.labels(part) for part in Groups._fields])
        unseen = ~torch.isin(labels, y)
        if unseen.any():
            order = torch.randperm(len(labels), generator=Seeds(self.seed).torch("halves"))
            odds = np.zeros(len(labels))
            for half, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
                more = other[unseen[other]][:PROBED]
                train = torch.cat([x, queries[more]]), torch.cat([y, labels[more]])
                able = half[torch.isin(labels[half], train[1])]
                odds[able.numpy()] = probe_margins(train, (queries[able], labels[able]))
        else:
            odds = probe_margins((x, y), (queries, labels))
        return Groups(*np.split(odds, [len(self.labels("forget"))]))


def log_odds(logits: Tensor, labels: Tensor) -> Floats:
    """Log-odds of the true class (N,), in nats, clamped."""
    values = scaled_logit(logits, labels.cpu()).clamp(-LIMIT, LIMIT)
    return np.asarray(values.numpy(), dtype=np.float64)


def in_points(scores: Groups) -> Groups:
    """Percentage of test rows that score lower than each row, where ties count half."""
    order = np.sort(scores.test)

    def place(values: Floats) -> Floats:
        below, above = (np.searchsorted(order, values, side=s) for s in ("left", "right"))
        share: Floats = 50.0 * (below + above) / len(order)
        return share

    return Groups(place(scores.forget), place(scores.test))


def signed(subjects: Sequence[Subject], name: str) -> Groups:
    """Average the models' scores, row by row; 0 without models.

    Args:
        subjects: the models.
        name: the score, such as "log_odds"; higher means that a row looks remembered.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> from coun.runs import predictions
    >>> model = Subject("run", predictions(run.classifier, data, split))
    >>> groups = signed([model], "log_odds")
    >>> groups.forget.shape, groups.test.shape
    ((12,), (359,))
    """
    return mean_groups(s.scores[name] for s in subjects)


def mean_groups(scores: Iterable[Groups]) -> Groups:
    """Average row by row; 0 of nothing."""
    several = list(scores) or [ZERO]
    return Groups(*(np.mean(part, axis=0) for part in zip(*several, strict=True)))


def divergence(a: Subject, b: Subject) -> Groups:
    """Jensen-Shannon divergence of two models' answers, row by row, in nats."""
    p, q = a.probabilities, b.probabilities
    return Groups(*(js_rows(p[part], q[part]) for part in Groups._fields))


def distances(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> Groups:
    """How much farther a row's answers are from a Retrain's than Retrains are from each other.

    Each side compares pairs of single models, so both have the same number of references. With
    one Retrain there is nothing to subtract.

    Args: unlearned, retrains: models of the same request.

    Returns: mean Jensen-Shannon divergence of each row, in nats.

    >>> from coun.models import Outputs
    >>> def model(logit: float) -> Subject:
    ...     answer = Outputs(torch.tensor([[logit, 0.0]]), torch.zeros(1, 2))
    ...     return Subject("a model", Predictions({"forget": answer, "test": answer}, {}))
    >>> same, other = (distances([model(x)], [model(0.0)]).forget for x in (0.0, 5.0))
    >>> same.tolist(), bool(other > 0.1)
    ([0.0], True)
    """
    apart = mean_groups(divergence(u, r) for u in unlearned for r in retrains)
    if len(retrains) < 2:
        return apart
    among = mean_groups(divergence(a, b) for k, a in enumerate(retrains) for b in retrains[k + 1 :])
    return Groups(apart.forget - among.forget, apart.test - among.test)
