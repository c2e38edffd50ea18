"""The losses of label-agnostic forgetting, and the autoencoders that they ask."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.models import Classifier
from coun.objectives.context import BatchContext
from coun.objectives.objective import Objective


class VAE(nn.Module):
    """Rows of *width* numbers through 128, 32 and *latent* ones and back, with ReLU between."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = _layers(width, 128, 32, 2 * latent)
        self.decoder = _layers(latent, 32, 128, width)

    def learn(self, role: str, teacher: Classifier, *, weight: float = 0.025) -> Objective:
        """Squared error plus *weight* times KL to the standard normal, mean over the batch, of
        *teacher*'s features of *role*."""

        def term(context: BatchContext) -> Tensor:
            x = context.outputs(role, model=teacher).features
            mean, log_var = self.encoder(x).chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=context.generator("vae")).to(mean)
            error = (self.decoder(mean + (log_var / 2).exp() * noise) - x).square().sum(1)
            kl = (mean.square() + log_var.exp() - log_var - 1).sum(1) / 2
            value: Tensor = (error + weight * kl).mean()
            return value

        return Objective.of(term)

    def reconstruction_score(self, role: str) -> Objective:
        """Mean exp(m / (1 + m)), in 1..e, of the model's features x of *role*.

        m = |g(x) - x|^2, where g decodes the latent mean, not a draw.
        """

        def term(context: BatchContext) -> Tensor:
            x = context.outputs(role).features
            m = (self.decoder(self.encoder(x).chunk(2, dim=1)[0]) - x).square().sum(1)
            value: Tensor = (m / (1 + m)).exp().mean()
            return value

        return Objective.of(term)


def align(teacher: Classifier, *, temperature: float) -> Objective:
    """`align_loss` between the features of the model and of *teacher*."""

    def term(context: BatchContext) -> Tensor:
        moved = {}
        for role in ("retain", "forget"):
            now, then = context.outputs(role), context.outputs(role, model=teacher)
            moved[role] = 1 - F.cosine_similarity(now.features, then.features)
        return align_loss(moved["retain"], moved["forget"], temperature=temperature)

    return Objective.of(term)


def align_loss(retain: Tensor, forget: Tensor, *, temperature: float) -> Tensor:
    """Mean retain distance minus log sum exp(forget distance / T), of distances 1 - cosine (N,)."""
    return retain.mean() - (forget / temperature).logsumexp(0)


def _layers(*widths: int) -> nn.Sequential:
    first, *rest = (nn.Linear(a, b) for a, b in pairwise(widths))
    return nn.Sequential(first, *(part for layer in rest for part in (nn.ReLU(), layer)))
