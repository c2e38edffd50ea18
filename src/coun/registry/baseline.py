"""What a new version is made from, and what it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coun.data import Data, Split
from coun.data.requests import Listed
from coun.errors import CounError, listed
from coun.metrics import accuracy
from coun.registry.rows import as_request
from coun.runs import Run, SharedOutputs

if TYPE_CHECKING:
    from coun.registry.registry import Registry


class Baseline:
    """The served version, and the last Retrain before it, or the first version.

    Methods start from the last Retrain, and forget all rows that were named since, as long as
    these can be read. The training that comes with each request would otherwise add up from
    version to version, and no Retrain has been trained for that long (docs/results/registry.md).

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
        named = [as_request(connection, number) for number in requests]
        self._refuse_repeated(requests, named, state.served)
        self.split = Split.of(self.served.data, *named, earlier=self.served.split)
        since = chain[: chain.index(compared)]
        fulfilled = sorted(n for v in since for n in versions[v].body["requests"])
        self._requests = tuple(as_request(connection, n) for n in (*fulfilled, *requests))

    def _refuse_repeated(
        self, requests: Sequence[int], named: Sequence[Listed], version: int
    ) -> None:
        """Refuse requests whose rows the served version has forgotten already, all of them."""
        earlier = self.served.split
        rows = {row for request in named for row in request.rows}
        if earlier is None or not rows or not rows <= {*earlier.forget.tolist()}:
            return
        raise CounError(
            f"version {version}, which is served, has forgotten all rows of "
            f"{listed('request', requests)} already; close them with coun request withdraw, or "
            "fulfil them together with the next request, whose certificate then names them"
        )

    @cached_property
    def whole_split(self) -> Split:
        """What a method that starts from `run` must forget: all rows named since then are new."""
        if self.run is self.served:
            return self.split
        earlier = self.split.earlier[:0] if self.run.split is None else self.run.split.forget
        return replace(self.split, earlier=earlier, request=self._requests)

    def start(self, *, needs_kept_epochs: bool = False) -> tuple[Run, Split]:
        """The model that a method starts from, and the rows that it has to make it forget.

        If some rows that were named since the last Retrain are deleted by now, no method can read
        all that it would have to make that model forget. The served version has forgotten them, so
        it is taken. It is not if none of the new rows can be read either, as in a federation.

        Args: needs_kept_epochs: whether the method returns to an earlier epoch of the Original,
            which later versions do not have.
        """
        whole, new = (len(s.rows(self.run.data, "forget")) for s in (self.whole_split, self.split))
        if needs_kept_epochs or whole == len(self.whole_split.new) or not new:
            return self.run, self.whole_split
        return self.served, self.split

    def test_accuracy(self, split: Split) -> float:
        """That of the served version or of the last Retrain in percent, the higher one.

        The served version alone would let a little be lost with every request.

        Args: split: of the new version, whose method may have used some of the test rows.
        """
        data = self.served.data
        rows = split.test_rows(data)
        labels = data.test.labels.cpu()[rows]
        others = ~torch.isin(labels, self._forgotten_classes)
        return max(
            accuracy(logits[others], labels[others])
            for logits in (self._answers(model, rows) for model in (self.served, self.run))
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
        """Percent of test rows that *run* classifies otherwise than the last Retrain.

        They are those of the new version, whose method may have used some of the others.
        """
        assert run.split is not None
        rows = run.split.test_rows(self.served.data)
        new, before = (self._answers(model, rows).argmax(1) for model in (run, self.run))
        return float(100 * (new != before).double().mean())

    @property
    def _forgotten_classes(self) -> Tensor:
        return torch.tensor(self.split.forgotten_classes, dtype=torch.int64)

    def _answers(self, model: Run, rows: Tensor) -> Tensor:
        """Logits of the test rows *rows*, (N, K)."""
        return self.shared.predict(model.classifier, self.served.data, "test", rows).logits
