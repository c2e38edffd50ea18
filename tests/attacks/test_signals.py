"""Signals against softmax written out, and a worked example of the modified entropy."""

import math

import pytest
import torch

from coun import attacks
from coun.attacks.signals import log_odds

# Worked by hand: 1.62 / 2.35 / 2.05 with the authors' code, .162 / .066 / 1.154 by the paper.
TOY = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64)
TOY_LABELS = torch.tensor([0, 1, 0])


def test_modified_entropy_and_the_bug_of_the_authors_code():
    right = attacks.modified_entropy(TOY.log(), TOY_LABELS)
    wrong = attacks.modified_entropy(TOY.log(), TOY_LABELS, "reference")
    assert right.tolist() == pytest.approx([0.162, 0.066, 1.154], abs=5e-4)
    assert wrong.tolist() == pytest.approx([1.62, 2.35, 2.05], abs=6e-3)
    # With the authors' code other rows in the batch matter; the correct value does not depend
    # on them.
    alone = [attacks.modified_entropy(TOY.log()[i : i + 1], TOY_LABELS[i : i + 1]) for i in (0, 2)]
    assert torch.cat(alone).tolist() == right[[0, 2]].tolist()
    single = attacks.modified_entropy(TOY.log()[:1], TOY_LABELS[:1], "reference")
    assert float(single) != pytest.approx(float(wrong[0]))


def test_each_signal_by_hand():
    gen = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn((40, 5), generator=gen)
    labels = torch.randint(5, (40,), generator=gen)
    computed = attacks.features(logits, labels)
    phi, loss = attacks.scaled_logit(logits, labels), attacks.loss(logits, labels)
    assert all(v.dtype == torch.float64 for v in (*computed.values(), phi, loss))
    for i, y in enumerate(labels.tolist()):
        e = [math.exp(x) for x in logits[i].double().tolist()]
        p = [x / sum(e) for x in e]
        assert computed["probabilities"][i].tolist() == pytest.approx(p)
        assert float(computed["confidence"][i]) == pytest.approx(p[y])
        assert float(computed["correctness"][i]) == float(p.index(max(p)) == y)
        assert float(computed["entropy"][i]) == pytest.approx(-sum(q * math.log(q) for q in p))
        rest = -sum(q * math.log(1 - q) for k, q in enumerate(p) if k != y)
        assert float(computed["modified_entropy"][i]) == pytest.approx(
            rest - (1 - p[y]) * math.log(p[y])
        )
        assert float(loss[i]) == pytest.approx(-math.log(p[y]))
        assert float(phi[i]) == pytest.approx(math.log(p[y] / (1 - p[y])))


def test_nothing_saturates_where_float64_probabilities_are_0_and_1():
    logits = torch.tensor([[800.0, 0, 0], [0, 800, 0]])
    labels = torch.tensor([0, 0])
    assert attacks.scaled_logit(logits, labels).tolist() == pytest.approx(
        [800 - math.log(2), -800.0]
    )
    assert attacks.modified_entropy(logits, labels).tolist() == pytest.approx(
        [0, 800 + 800 - math.log(2)]
    )
    assert attacks.entropy(logits).tolist() == pytest.approx([0, 0])


def test_confidence_does_not_saturate() -> None:
    computed = attacks.confidence(torch.tensor([[30.0, 0.0]]), torch.tensor([0]))
    assert computed.dtype == torch.float64
    assert 0 < 1 - float(computed) < 1e-12


def test_ties_go_to_the_lowest_class():
    logits = torch.zeros(2, 3)
    assert attacks.correctness(logits, torch.tensor([0, 1])).tolist() == [1, 0]


def test_log_odds_to_train_with_keep_the_type_and_have_the_gradient_of_a_logistic_function():
    logits = 3 * torch.randn((40, 5), generator=torch.Generator().manual_seed(1))
    labels, at = torch.arange(40) % 5, torch.arange(40)
    logits.requires_grad_()
    odds = log_odds(logits, labels)
    assert odds.dtype == torch.float32
    odds.sum().backward()
    # Of ln p_y / (1 - p_y): 1 for the true class, -p_k / (1 - p_y) for another one.
    p = logits.detach().softmax(1)
    expected = -p / (1 - p[at, labels, None])
    expected[at, labels] = 1
    torch.testing.assert_close(logits.grad, expected)
