"""What the row tests look at: five numbers a row that memory of it would move."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from coun.attacks import correctness, scaled_logit
from coun.audit.exchange import Groups, minus
from coun.data.examples import stratified
from coun.metrics import js_rows, probabilities, probe_margins
from coun.metrics.arrays import Floats
from coun.runs import Predictions, Run
from coun.seeds import Seeds

PROBED = 3_000  # retain rows a probe is fitted on, at most; a seeded, stratified subset

MEANING = {
    "correctness": "right answers",
    "log_odds": "certainty of the true class",
    "probe": "what a linear probe reads out of the features",
    "distance": "distance to Retrain's answers",
}
NOTHING = Groups(np.zeros(1), np.zeros(1))
SIGNED = ("correctness", "log_odds", "probe")  # more than Retrain's means memory


@dataclass(eq=False)
class Subject:
    """One model under audit and what it says of all rows: run once, looked at often."""

    name: str
    run: Run
    found: Predictions
    seed: int = 0

    def logits(self, part: str) -> Tensor:
        return self.found.outputs[part].logits

    def labels(self, part: str) -> Tensor:
        return self.found.labels[part]

    def features(self, part: str) -> Tensor:
        return self.found.outputs[part].features

    @cached_property
    def p(self) -> dict[str, Floats]:
        """Probabilities (N, K) by part."""
        return {part: probabilities(out.logits) for part, out in self.found.outputs.items()}

    @cached_property
    def scores(self) -> dict[str, Groups]:
        """The signed scores by name; correctness in points, others in nats."""
        found = {"correctness": [], "log_odds": []}  # type: dict[str, list[Floats]]
        for part in Groups._fields:
            said = self.logits(part), self.labels(part)
            found["correctness"].append(100 * correctness(*said).numpy())
            found["log_odds"].append(scaled_logit(*said).clamp(-100, 100).numpy())
        return {**{n: Groups(*v) for n, v in found.items()}, "probe": self._probe()}

    def _probe(self) -> Groups:
        """Log-odds under a probe fitted on retain rows.

        Of a class that no retain row has, half of the forgotten and test rows, drawn without
        regard to which they are, teach the probe that reads the other half: so groups stay
        exchangeable.
        """
        kept = self.labels("retain")
        rows = stratified(kept, min(PROBED, len(kept)), self.seed)
        x, y = self.features("retain")[rows], kept[rows]
        asked = torch.cat([self.features(part) for part in Groups._fields])
        labels = torch.cat([self.labels(part) for part in Groups._fields])
        strange = ~torch.isin(labels, y)
        if strange.any():
            order = torch.randperm(len(labels), generator=Seeds(self.seed).torch("halves"))
            found = np.zeros(len(labels))
            for one, other in ((order[::2], order[1::2]), (order[1::2], order[::2])):
                more = other[strange[other]][:PROBED]
                train = torch.cat([x, asked[more]]), torch.cat([y, labels[more]])
                able = one[torch.isin(labels[one], train[1])]
                found[able.numpy()] = probe_margins(train, (asked[able], labels[able]))
        else:
            found = probe_margins((x, y), (asked, labels))
        return Groups(*np.split(found, [len(self.labels("forget"))]))


def signed(subjects: Sequence[Subject], name: str) -> Groups:
    """The models' mean score of that name, row by row; 0 of no models."""
    return _mean(s.scores[name] for s in subjects)


def distances(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> Groups:
    """Mean Jensen-Shannon divergence to the mean of the Retrains' probabilities, nats.

    Of two or more Retrains, minus what each Retrain has to the mean of the others.
    """
    own = _mean(_apart(s, [r for r in retrains if r is not s]) for s in retrains)
    mine = _mean(_apart(s, retrains) for s in unlearned)
    return minus(mine, own)


def _apart(subject: Subject, others: Sequence[Subject]) -> Groups:
    """JS of each row's probabilities to the mean of *others'*; 0 if there are none."""
    if not others:
        return NOTHING
    middle = (np.mean([s.p[part] for s in others], axis=0) for part in Groups._fields)
    return Groups(*(js_rows(subject.p[k], q) for k, q in zip(Groups._fields, middle, strict=True)))


def _mean(scores: Iterable[Groups]) -> Groups:
    """Row by row; 0 of nothing."""
    found = list(scores) or [NOTHING]
    return Groups(*(np.mean(part, axis=0) for part in zip(*found, strict=True)))
