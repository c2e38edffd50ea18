"""What a new version is made from, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coun.data import Data, Split
from coun.metrics import accuracy
from coun.registry.rows import as_request
from coun.runs import Run, SharedOutputs

if TYPE_CHECKING:
    from coun.registry.registry import Registry


class Baseline:
    """The served version, and the last Retrain before it, or the first version.

    Methods start from the last Retrain, and forget all rows that were named since. The training
    that comes with each request would otherwise add up from version to version, and no Retrain
    has been trained for that long (docs/results/registry.md).

    Attributes:
        number: of the last version that was trained without what it forgot, or of the first
            version; None if these were discarded, so that only a Retrain can be made.
        run, served: that version, and the one that is served; without the former, the latter.
        split: the open requests *requests*, after everything that is forgotten already.
        shared: the models' outputs, for all that measures them in one fulfilment.
    """

    def __init__(self, registry: Registry, requests: Sequence[int], data: Data | str | None):
        self.shared = SharedOutputs()
        state, connection = registry.state(), registry.ledger.connection
        chain, versions = state.ancestry(state.served), state.versions
        self.number = state.start
        self.served = self.run = registry.open_version(state.served, data)
        if self.number not in (None, state.served):
            self.run = registry.open_version(self.number, self.served.data)
        compared = state.served if self.number is None else self.number
        self._entry: dict[str, Any] = versions[compared].body
        self.split = Split.of(
            self.served.data,
            *(as_request(connection, number) for number in requests),
            earlier=self.served.split,
        )
        since = chain[: chain.index(compared)]
        fulfilled = sorted(n for v in since for n in versions[v].body["requests"])
        self._requests = tuple(as_request(connection, n) for n in (*fulfilled, *requests))

    @cached_property
    def whole_split(self) -> Split:
        """The same rows, of which all that were named since the last Retrain are new."""
        if self.run is self.served:
            return self.split
        earlier = self.split.earlier[:0] if self.run.split is None else self.run.split.forget
        return replace(self.split, earlier=earlier, request=self._requests)

    def start(self, *, reads_forget_rows: bool) -> tuple[Run, Split]:
        """The model that a method starts from, and the rows that it has to make it forget.

        A method that reads rows to forget of which some are deleted by now goes on from the
        served version, which has forgotten these already.
        """
        rows = self.whole_split.rows(self.run.data, "forget")
        if reads_forget_rows and len(rows) < len(self.whole_split.new):
            return self.served, self.split
        return self.run, self.whole_split

    @cached_property
    def test_accuracy(self) -> float:
        """That of the served version or of the last Retrain in percent, the higher one.

        The served version alone would let a little be lost with every request.
        """
        data = self.served.data
        labels = data.test.labels.cpu()[self.split.test_rows(data)]
        others = ~torch.isin(labels, self._forgotten_classes)
        return max(
            accuracy(logits[others], labels[others])
            for logits in (self._answers(self.served), self._answers(self.run))
        )

    @cached_property
    def retain_accuracy(self) -> float | None:
        """What a Retrain is expected to reach on its own rows, in percent; None where unknown.

        The last Retrain or first version was trained on these rows in the same way, and on some
        more, so its accuracy on them is a good guess. The classes that are forgotten are left
        out of its answers, because a Retrain does not know them.
        """
        if not self._entry["exact"] and self._entry["parent"] is not None:
            expected: float | None = self._entry.get("expected_retain_accuracy")
            return expected
        data = self.run.data
        rows = self.split.rows(data, "retain")
        logits = self.shared.predict(self.run.classifier, data, "train", rows).logits.clone()
        logits[:, self._forgotten_classes] = -torch.inf
        return accuracy(logits, data.train.labels.cpu()[rows])

    def drift(self, run: Run) -> float:
        """Percent of test rows that *run* classifies otherwise than the last Retrain."""
        new, before = (self._answers(model).argmax(1) for model in (run, self.run))
        return float(100 * (new != before).double().mean())

    @property
    def _forgotten_classes(self) -> Tensor:
        return torch.tensor(self.split.forgotten_classes, dtype=torch.int64)

    def _answers(self, model: Run) -> Tensor:
        """Logits of the test rows that are measured, (N, K)."""
        data = self.served.data
        rows = self.split.test_rows(data)
        return self.shared.predict(model.classifier, data, "test", rows).logits
