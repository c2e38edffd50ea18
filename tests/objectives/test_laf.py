"""The losses of LAF equal closed forms and plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from coun.objectives import BatchContext
from coun.objectives.context import Batch
from coun.objectives.laf import VAE, align_loss


def test_an_unmoved_model_has_minus_the_logarithm_of_the_forget_count():
    # The limit for T to infinity; for distances of 0 it holds at every T.
    assert align_loss(torch.zeros(5), torch.zeros(7), temperature=20).item() == pytest.approx(
        -math.log(7)
    )


def test_alignment_equals_a_plain_loop():
    kept, lost, t = [0.1, 0.5, 1.2], [0.3, 1.9], 4.0
    total = sum(math.log(math.exp(d) / sum(math.exp(e / t) for e in lost)) for d in kept)
    result = align_loss(torch.tensor(kept), torch.tensor(lost), temperature=t)
    assert result.item() == pytest.approx(total / len(kept), rel=1e-6)


class Still(torch.nn.Module):
    """A model whose features are its inputs."""

    def forward(self, x):
        from coun.models import Outputs

        return Outputs(x, x)


def step(x):
    batch = {"forget": Batch(x, torch.zeros(len(x), dtype=torch.int64))}
    draw = lambda purpose: torch.Generator().manual_seed(3)  # noqa: E731
    return BatchContext(
        Still(), batch, view=lambda r, n, x: x, forward=lambda m, x: m(x), generator=draw
    )


def test_the_score_is_between_1_and_e_and_grows_with_the_error():
    torch.manual_seed(0)
    vae, x = VAE(6, 2), torch.randn(4, 6)
    with torch.no_grad():
        mean = vae.encoder(x)[:, :2]
        values = []
        for row, out in zip(x, vae.decoder(mean), strict=True):
            m = sum((a - b) ** 2 for a, b in zip(row.tolist(), out.tolist(), strict=True))
            values.append(math.exp(m / (1 + m)))
        near, far = (vae.reconstruction_score("forget")(step(k * x)).item() for k in (1, 100))
    assert near == pytest.approx(sum(values) / 4, rel=1e-5)
    assert 1 < near < far < math.e


def test_the_autoencoder_learns_its_rows():
    torch.manual_seed(0)
    vae = VAE(6, 2)
    x = torch.randn(64, 1) * torch.arange(6.0)  # one direction: two latent numbers suffice
    adam = torch.optim.Adam(vae.parameters(), 1e-2)
    losses = []
    for _ in range(200):
        loss = vae.learn("forget", Still())(step(x))
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_the_divergence_equals_that_of_torch():
    torch.manual_seed(0)
    vae, x = VAE(6, 2), torch.randn(4, 6)
    with torch.no_grad():
        plain, whole = (vae.learn("forget", Still(), weight=w)(step(x)) for w in (0.0, 1.0))
        mean, log_var = vae.encoder(x).chunk(2, dim=1)
    normal = torch.distributions.Normal(mean, (log_var / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    assert (whole - plain).item() == pytest.approx(kl.sum(1).mean().item(), rel=1e-4)
