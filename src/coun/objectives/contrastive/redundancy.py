"""Losses without negatives: the views agree, and the dimensions are not redundant."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.objectives.contrastive.embeddings import check_pair, raise_precision, zero_of


def barlow_twins_loss(a: Tensor, b: Tensor, *, off_diagonal: float) -> Tensor:
    """Compute Barlow Twins: the correlation matrix between the views should be the identity.

    Args:
        a, b: embeddings of the two views, (N, D); they are standardised here over the batch, and
            rows are not normalised.
        off_diagonal: lambda, the weight of the off-diagonal part.

    Returns: a scalar, a sum over the D x D matrix, so that lambda depends on D. For N = 1 no
        correlation exists; the loss is then 0, with a zero gradient.

    Raises: ValueError if the shapes differ or are not (N, D).

    Source: Barlow Twins (Zbontar et al., ICML 2021), Eq. 1-2; lambda 0.005 at D = 8192. As
        in the authors' code the variance is biased, with 1e-5 added, as in BatchNorm.

    >>> views = torch.tensor([[1.0], [-1.0]])
    >>> barlow_twins_loss(views, views, off_diagonal=0.005).item() < 1e-8
    True
    """
    check_pair(a, b)
    a, b = raise_precision(a, b)
    if len(a) == 1:
        return zero_of(a, b)
    correlation = _standardised(a).T @ _standardised(b) / len(a)
    on = (correlation.diagonal() - 1).square().sum()
    return on + off_diagonal * _off_diagonal(correlation).square().sum()


def vicreg_loss(
    a: Tensor, b: Tensor, *, invariance: float, variance: float, covariance: float
) -> Tensor:
    """Compute VICReg: the views agree, every dimension varies, no two dimensions covary.

    Args:
        a, b: embeddings of the two views, (N, D). Rows are not normalised, because the variance
            term demands a standard deviation of at least 1.
        invariance: weight of the mean squared difference.
        variance: weight of the mean over D of relu(1 - sqrt(var + 1e-4)), averaged over the
            views.
        covariance: weight of the sum of squared off-diagonal covariances, divided by D and added
            over the views.

    Returns: a scalar. For N = 1 variance and covariance do not exist; the loss is then 0, with
        a zero gradient.

    Raises: ValueError if the shapes differ or are not (N, D).

    Source: VICReg (Bardes et al., ICLR 2022), section 4; weights 25, 25, 1. Averaging the
        variance term over the views follows the authors' code; the paper adds. Variances are
        unbiased (N - 1).

    >>> constant = torch.zeros(4, 3)
    >>> round(vicreg_loss(constant, constant, invariance=25, variance=25, covariance=1).item(), 2)
    24.75
    """
    check_pair(a, b)
    a, b = raise_precision(a, b)
    if len(a) == 1:
        return zero_of(a, b)
    spread = (_lacking_spread(a) + _lacking_spread(b)) / 2
    shared = _covariance_cost(a) + _covariance_cost(b)
    return invariance * F.mse_loss(a, b) + variance * spread + covariance * shared


def _standardised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


def _lacking_spread(x: Tensor) -> Tensor:
    return F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()


def _covariance_cost(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    covariance = centred.T @ centred / (len(x) - 1)
    return _off_diagonal(covariance).square().sum() / x.shape[1]


def _off_diagonal(square: Tensor) -> Tensor:
    """Return *square* (D, D) with zeros on its diagonal."""
    eye = torch.eye(len(square), dtype=torch.bool, device=square.device)
    return square.masked_fill(eye, 0.0)
