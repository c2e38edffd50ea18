"""The losses of label-agnostic forgetting, and the autoencoders that they use."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.models import Classifier
from coun.objectives.context import BatchContext
from coun.objectives.objective import Objective


class VAE(nn.Module):
    """A variational autoencoder of rows of *width* numbers.

    Its layers have 128, 32 and *latent* outputs, and back, with ReLU in between.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.encoder = _layers(width, 128, 32, 2 * latent)
        self.decoder = _layers(latent, 32, 128, width)

    def learn(self, role: str, teacher: Classifier, *, weight: float = 0.025) -> Objective:
        """Return the objective that trains the autoencoder on *teacher*'s features of *role*.

        It is the squared error plus *weight* times the KL divergence from the standard normal
        distribution, averaged over the batch.
        """

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
        """Return the objective that says how badly the features x of *role* are reconstructed.

        It is the mean of exp(m / (1 + m)), in 1..e, with m = |g(x) - x|^2. The autoencoder g
        decodes the latent mean, not a draw.
        """

        def term(context: BatchContext) -> Tensor:
            x = context.outputs(role).features
            m = (self.decoder(self.encoder(x).chunk(2, dim=1)[0]) - x).square().sum(1)
            value: Tensor = (m / (1 + m)).exp().mean()
            return value

        return Objective.of(term)


def align(teacher: Classifier, *, temperature: float) -> Objective:
    """Return the objective `align_loss` between the features of the model and of *teacher*."""

    def term(context: BatchContext) -> Tensor:
        distances = {}
        for role in ("retain", "forget"):
            present, original = (context.outputs(role, model=m).features for m in (None, teacher))
            distances[role] = 1 - F.cosine_similarity(present, original)
        return align_loss(distances["retain"], distances["forget"], temperature=temperature)

    return Objective.of(term)


def align_loss(retain: Tensor, forget: Tensor, *, temperature: float) -> Tensor:
    """Compute the mean retain distance minus log sum exp(forget distance / T).

    Args:
        retain, forget: distances, 1 - cosine, (N,) and (M,).
        temperature: T > 0.

    >>> align_loss(torch.zeros(5), torch.zeros(1), temperature=20.0).item()
    0.0
    """
    return retain.mean() - (forget / temperature).logsumexp(0)


def _layers(*widths: int) -> nn.Sequential:
    first, *rest = (nn.Linear(a, b) for a, b in pairwise(widths))
    return nn.Sequential(first, *(part for layer in rest for part in (nn.ReLU(), layer)))
