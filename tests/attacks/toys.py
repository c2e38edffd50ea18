"""A world in which the best attack's power is known."""

import torch


def gaussian(shift, *, count, rows, seed=0):
    """phi of a sample is N(mu + shift, 1) in models that saw it, else N(mu, 1), mu its own.

    Returns: target (rows,), shadow (count, rows), member (count, rows), and which rows the
    target saw; one half of the rows and of the shadow models.
    """
    gen = torch.Generator().manual_seed(seed)
    mu = 3 * torch.randn(rows, generator=gen).double()
    member = torch.rand((count, rows), generator=gen).argsort(0) < count // 2
    truth = torch.arange(rows) % 2 == 0
    target, shadow = (
        mu + shift * saw + torch.randn(saw.shape, generator=gen).double() for saw in (truth, member)
    )
    return target, shadow, member, truth
