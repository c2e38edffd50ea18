"""Slightly changed copies of the forgotten rows get the same noise on every machine."""

import numpy as np
import pytest
import torch

from coun.audit.nearby import nearby_odds
from coun.engine import predict


@pytest.mark.parametrize("batch", [7, 500])
def test_the_noise_of_nearby_rows_does_not_depend_on_the_batches_of_the_device(
    split, original, monkeypatch, batch
):
    usual = nearby_odds(original, split)
    monkeypatch.setattr("coun.engine.prediction.CPU_BATCH", batch)
    other = nearby_odds(original, split)
    np.testing.assert_array_equal(usual.forget, other.forget)
    np.testing.assert_array_equal(usual.test, other.test)


def test_rows_are_predicted_as_many_at_a_time_as_is_asked(small, original):
    sizes = []
    classifier = original.classifier
    classifier.inner.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    outputs = predict(classifier, small, small.test, batch_size=40)
    assert sizes == [40, 40, 20]
    torch.testing.assert_close(outputs.logits, predict(classifier, small, small.test).logits)
