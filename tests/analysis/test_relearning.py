"""Relearn time against a plain loop, and what it must not change."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import coun
from coun.analysis import relearn
from coun.data import Views
from coun.engine import Optimizer
from coun.errors import CounError
from coun.metrics import RelearnTime
from coun.models import weights_digest

PLAIN = Optimizer(lr=0.05, momentum=0.0, weight_decay=0.0, schedule="constant")


@pytest.fixture(scope="module")
def pair(small):
    """An Original and a Retrain of a net without BatchNorm, on images without augmentation."""
    data = replace(small, views=Views("N", mean=(0.5,), std=(0.5,)))
    split = coun.Split.by_class(data, 8)
    return (
        coun.train(data, "mlp", epochs=8),
        coun.train(data, "mlp", epochs=8, split=split),
    )


def test_relearning_is_gradient_descent_on_the_forget_rows(pair):
    original, exact = pair
    computed = relearn(exact, original, batch_size=500, optimizer=PLAIN)
    data, rows = exact.data, exact.split.rows(exact.data, "forget")
    x, y = data.views.evaluate(data.train.fetch(rows)), data.train.labels[rows]
    net = coun.train(data, "mlp", epochs=8, split=exact.split).model
    descent, accuracies = torch.optim.SGD(net.parameters(), 0.05), []
    for _ in range(computed.steps + 1):
        accuracies.append(100 * float((net(x).argmax(1) == y).double().mean()))
        F.cross_entropy(net(x), y).backward()
        descent.step()
        descent.zero_grad()
    assert computed.steps > 1
    assert not computed.censored
    assert list(computed.accuracies) == pytest.approx(accuracies)
    assert computed.accuracies[-1] >= computed.target > computed.accuracies[-2]
    assert computed.time == RelearnTime(computed.steps)


def test_reaching_the_cap_is_reported_as_censored(pair):
    original, exact = pair
    free = relearn(exact, original, optimizer=PLAIN)
    cut = relearn(exact, original, optimizer=PLAIN, cap=free.steps - 1)
    assert (cut.steps, cut.censored) == (free.steps - 1, True)
    assert cut.accuracies == free.accuracies[:-1]
    assert cut.time == RelearnTime(free.steps - 1, reached=False)
    just = relearn(exact, original, optimizer=PLAIN, cap=free.steps)
    assert just == free


def test_checking_less_often_gives_a_coarser_time(pair):
    free = relearn(pair[1], pair[0], optimizer=PLAIN)
    coarse = relearn(pair[1], pair[0], optimizer=PLAIN, every=4)
    assert coarse.steps % 4 == 0
    assert coarse.steps >= free.steps
    assert coarse.accuracies == pytest.approx(relearned_at(pair, coarse.steps)[::4])


def relearned_at(pair, cap):
    """Accuracies of every update up to *cap*; a margin below 0 is never met."""
    never = relearn(pair[1], pair[0], optimizer=PLAIN, cap=cap, margin=-1000)
    assert never.censored
    return never.accuracies


def test_the_original_needs_no_step_and_no_model_is_changed(pair, original, split):
    assert relearn(pair[0], pair[0], pair[1].split).steps == 0
    unlearned = coun.unlearn(original, split, "not", epochs=1)
    digests = [weights_digest(run.model) for run in (unlearned, original)]
    state = torch.random.get_rng_state()
    first, second = (relearn(unlearned, original, cap=5) for _ in range(2))
    assert first == second  # with BatchNorm, views and momentum
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [weights_digest(run.model) for run in (unlearned, original)] == digests
    assert not unlearned.model.training


def test_bad_requests_are_refused(pair, digits):
    strange = replace(pair[0], data=digits)
    for run, other, settings, words in (
        (pair[0], pair[0], {}, "no forget request"),
        (pair[1], strange, {}, "other data"),
        (pair[1], pair[0], {"cap": 0}, "cap 0"),
        (pair[1], pair[0], {"every": 0}, "every 0"),
    ):
        with pytest.raises(CounError, match=words):
            relearn(run, other, **settings)
