"""Runs are compared only on the same rows, for the same request, and with a true Retrain."""

from dataclasses import replace

import pytest
import torch

import coun
from coun.errors import CounError
from coun.runs.comparison import check_comparable


@pytest.fixture(scope="module")
def retrain(small, split):
    return coun.train(small, "mlp", split=split, epochs=1)


def test_a_retrain_of_the_request_is_accepted_also_in_another_order_of_rows(retrain, small, split):
    order = torch.randperm(len(small.train), generator=torch.Generator().manual_seed(1))
    shuffled = replace(small, train=small.train.take(order))
    check_comparable(retrain, shuffled, split, as_retrain=True)


def test_other_rows_and_other_requests_are_refused(retrain, small, split):
    fewer = replace(small, train=small.train.take(torch.arange(len(small.train) - 1)))
    with pytest.raises(CounError, match="trained on other data"):
        check_comparable(retrain, fewer, split, as_retrain=True)
    other = coun.Split.random(small, 0.1, seed=5)
    with pytest.raises(CounError, match="expected the same request"):
        check_comparable(retrain, small, other, as_retrain=True)


def test_what_is_no_retrain_is_refused_as_one_and_accepted_beside_others(small, split):
    original = coun.train(small, "mlp", epochs=1)
    unlearned = coun.unlearn(original, split, "finetune", epochs=1)
    for run, reason in ((original, "trained on all rows"), (unlearned, "is not a Retrain but")):
        with pytest.raises(CounError, match=reason):
            check_comparable(run, small, split, as_retrain=True)
        check_comparable(run, small, split, as_retrain=False)


def test_given_weights_are_taken_for_the_retrain_that_the_caller_says_they_are(small, split):
    given = coun.Run.from_weights(coun.train(small, "mlp", epochs=1).model, small)
    check_comparable(given, small, split, as_retrain=True)
