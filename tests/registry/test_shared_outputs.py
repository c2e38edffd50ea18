"""A fulfilment, an evaluation and an audit run each model once over the same rows."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
import torch

import coun
from coun.audit import audit
from coun.models import Classifier, weights_digest
from coun.runs import SharedOutputs, predictions


@pytest.fixture
def forwards(monkeypatch) -> Counter:
    """How often each network was run on each batch without gradients, but for single rows.

    Costs are counted on one row.
    """
    counts: Counter = Counter()
    forward = Classifier.forward

    def counted(self, x):
        if not torch.is_grad_enabled() and len(x) > 1:
            inputs = hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()
            counts[weights_digest(self), inputs] += 1
        return forward(self, x)

    monkeypatch.setattr(Classifier, "forward", counted)
    return counts


def test_a_fulfilment_runs_each_model_once_over_the_same_rows(fulfilled, forwards):
    result = fulfilled.fulfil(method="finetune", settings={"epochs": 1}, page=False)
    assert result.result == "FULFILLED"
    assert set(forwards.values()) == {1}
    # Retain, forget, test and changed copies of the last two: for the new model and the old one.
    assert len(forwards) >= 10


def test_an_evaluation_and_an_audit_share_their_outputs(original, split, forwards):
    forgot = coun.unlearn(original, split, "finetune", epochs=1)
    shared = SharedOutputs()
    metrics = coun.evaluate(forgot, shared=shared)
    result = audit(forgot, original=original, relearn=False, shared=shared)
    assert set(forwards.values()) == {1}
    assert metrics == coun.evaluate(forgot)
    alone = audit(forgot, original=original, relearn=False)
    assert result.to_json() == alone.to_json()


def test_outputs_of_other_weights_rows_or_views_are_not_shared(original, split):
    data, shared = original.data, SharedOutputs(with_features=False)
    before = predictions(original.classifier, data, split, shared=shared)
    with torch.no_grad():
        original.classifier.head.bias += 1
    after = predictions(original.classifier, data, split, shared=shared)
    shift = after.outputs["test"].logits - before.outputs["test"].logits
    torch.testing.assert_close(shift, torch.ones_like(shift))
    rows = torch.tensor([5, 2])
    two = shared.predict(original.classifier, data, "test", rows).logits
    torch.testing.assert_close(two, after.outputs["test"].logits[rows])
    train = shared.predict(original.classifier, data, "train", rows).logits
    assert not torch.equal(train, two)
    assert before.outputs["test"].features.shape == (len(data.test), 0)


def test_dropped_outputs_are_computed_again(original, forwards):
    shared, data = SharedOutputs(), original.data
    first = shared.predict(original.classifier, data, "test")
    assert shared.predict(original.classifier, data, "test") is first
    shared.drop(original.classifier)
    again = shared.predict(original.classifier, data, "test")
    assert again is not first
    assert torch.equal(again.logits, first.logits)
    assert set(forwards.values()) == {2}
