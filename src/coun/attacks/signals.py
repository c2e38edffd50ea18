"""The numbers that an attacker computes from the outputs for one row.

All functions take logits (N, K) and labels (N,) and return float64, except `log_odds`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor


def probabilities(logits: Tensor) -> Tensor:
    """Return the softmax of *logits*, (N, K), in float64: float32 would round to 1 too early.

    >>> bool(probabilities(torch.tensor([[0.0, 30.0]]))[0, 1] < 1)  # in float32 it is 1
    True
    """
    return torch.softmax(logits.double(), 1)


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of the true class, (N,).

    Args: logits, labels: (N, K) and (N,).

    >>> confidence(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).tolist()
    [0.5]
    """
    return _of(labels, probabilities(logits))


def correctness(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 where the prediction is right, else 0, (N,); ties go to the lowest class.

    Args: logits, labels: (N, K) and (N,).

    >>> correctness(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1])).tolist()
    [1.0, 0.0]
    """
    return (logits.argmax(1) == labels).double()


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of each row, (N,), in nats.

    Args: logits, labels: (N, K) and (N,).

    >>> loss(torch.zeros(1, 4), torch.tensor([2])).exp().tolist()  # a guess among 4 classes
    [4.0]
    """
    return -_of(labels, torch.log_softmax(logits.double(), 1))


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each prediction, (N,), in nats; it does not depend on the label.

    Args: logits: (N, K).

    >>> entropy(torch.tensor([[0.0, 0.0], [0.0, 9.0]])).numpy().round(3).tolist()  # ln 2; sure
    [0.693, 0.001]
    """
    log_p = torch.log_softmax(logits.double(), 1)
    return -(log_p.exp() * log_p).sum(1)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ln p_y / (1 - p_y) of the true class, (N,), in the type of *logits*, to train with.

    Args: logits, labels: (N, K), which may also be log-probabilities, and (N,).

    >>> log_odds(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item()
    2.0
    """
    others = logits.scatter(1, labels[:, None], -math.inf)
    return _of(labels, logits) - torch.logsumexp(others, 1)


def scaled_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return phi = ln p_y - ln(sum of all other p), (N,), which is nearly Gaussian over models.

    Args: logits, labels: (N, K) and (N,).

    Source: LiRA (Carlini et al. 2022), logit scaling. Their code adds 1e-45 inside each
        logarithm; computed from the logits, phi needs no such floor and does not saturate.

    >>> scaled_logit(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).tolist()
    [2.0]
    """
    return log_odds(logits.double(), labels)


def modified_entropy(
    logits: Tensor, labels: Tensor, variant: Literal["correct", "reference"] = "correct"
) -> Tensor:
    """Return an entropy that takes the label into account, (N,), in nats.

    It is 0 for a certain and right prediction and large for a certain and wrong one:
    -(1 - p_y) ln p_y - sum over the other classes i of p_i ln(1 - p_i).

    Args:
        logits, labels: (N, K) and (N,).
        variant: "correct", or "reference" to repeat the attack code of SalUn and Sparse, which
            writes ln p_i for ln(1 - p_i), and replaces, in *every* row, the columns of all
            labels that occur among *labels*, so that its values depend on which rows are
            in one batch.

    Source: Song and Mittal 2021, equation 8.

    >>> logits = torch.tensor([[0.0, 9.0], [0.0, 9.0]])  # equally certain of class 1
    >>> [round(float(m), 3) for m in modified_entropy(logits, torch.tensor([1, 0]))]
    [0.0, 17.998]
    """
    log_p = torch.log_softmax(logits.double(), 1)
    p = log_p.exp()
    if variant == "reference":
        present = torch.isin(torch.arange(p.shape[1]), labels)
        return -(torch.where(present, 1 - p, p) * log_p).sum(1)
    log_rest = _log_complement(logits.double(), log_p)
    terms = (p * log_rest).scatter(1, labels[:, None], 0.0)
    return -_of(labels, log_rest.exp() * log_p) - terms.sum(1)


def features(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return the five features of the SVC attack by name: (N,) each, `probabilities` (N, K).

    Args: logits, labels: (N, K) and (N,).

    Source: SalUn's and Sparse's attack; the modified entropy is the correct one.

    >>> by_name = features(torch.zeros(5, 3), torch.zeros(5).long())
    >>> sorted(by_name)
    ['confidence', 'correctness', 'entropy', 'modified_entropy', 'probabilities']
    """
    return {
        "correctness": correctness(logits, labels),
        "confidence": confidence(logits, labels),
        "entropy": entropy(logits),
        "modified_entropy": modified_entropy(logits, labels),
        "probabilities": probabilities(logits),
    }


def _of(labels: Tensor, values: Tensor) -> Tensor:
    """The entry of each row of *values* (N, K) that belongs to its label, (N,)."""
    return values.gather(1, labels[:, None])[:, 0]


def _log_complement(logits: Tensor, log_p: Tensor) -> Tensor:
    """ln(1 - p), (N, K), finite also where p rounds to 1.

    That can only happen to the largest p of a row, whose 1 - p is the sum of all others.
    """
    top = logits.argmax(1, keepdim=True)
    rest = torch.logsumexp(logits.scatter(1, top, -math.inf), 1) - torch.logsumexp(logits, 1)
    return torch.log1p(-log_p.exp()).scatter(1, top, rest[:, None])
