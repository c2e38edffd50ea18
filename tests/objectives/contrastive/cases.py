"""A table of the losses, an example with known values, and the comparison with the twins."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

from coun import objectives as ob

# Values that an independent implementation computed, in float64.
Z = torch.tensor([[1, 2, 0], [0, 1, 1], [2, 0, 1], [1, 1, 1]], dtype=torch.float64)
ZZ = torch.tensor([[1, 1, 0], [0, 2, 1], [1, 0, 1], [1, 1, 2]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1])

few = settings(max_examples=30, deadline=None)
taus = st.floats(0.05, 2.0)
chances = st.floats(0, 0.9)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@st.composite
def pairs(draw, least=1, most=6):
    n, d, seed = (draw(st.integers(*ends)) for ends in ((least, most), (1, 5), (0, 2**31 - 1)))
    return tuple(normal(2, n, d, seed=seed))


def queue_for(a, length=5):
    return normal(length, a.shape[-1], seed=99)


def labels_for(a):
    return torch.arange(len(a)) % 3


# Every loss as a function of (a, b, temperature); those without one ignore it.
COSINE = {
    "info_nce": lambda a, b, t: ob.info_nce_loss(a, b, temperature=t),
    "nt_xent": lambda a, b, t: ob.nt_xent_loss(a, b, temperature=t),
    "debiased": lambda a, b, t: ob.debiased_loss(a, b, temperature=t, prior=0.1),
    "moco": lambda a, b, t: ob.moco_loss(a, b, queue_for(a), temperature=t),
    "supcon": lambda a, b, t: ob.supcon_loss(a, b, labels_for(a), temperature=t),
    "sce": lambda a, b, t: ob.sce_loss(a, b, temperature=t, target_temperature=t / 2, positive=0.5),
    "co2": lambda a, b, t: ob.co2_loss(a, b, temperature=t),
}
PLAIN = {
    "barlow_twins": lambda a, b, t: ob.barlow_twins_loss(a, b, off_diagonal=0.005),
    "vicreg": lambda a, b, t: ob.vicreg_loss(a, b, invariance=25, variance=25, covariance=1),
}
ALL = COSINE | PLAIN


def derivatives(loss, *views):
    """The value of *loss*, and its gradient by every view."""
    leaves = [x.clone().requires_grad_() for x in views]
    value = loss(*leaves)
    gradients = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), gradients


def assert_twins(loss, twin, a, b, *rest, **options):
    """*loss* and *twin* agree in value and in both gradients to 1e-8, in float64."""
    value, gradients = derivatives(lambda x, y: loss(x, y, *rest, **options), a, b)
    wanted, expected = derivatives(lambda x, y: twin(x, y, *rest, **options), a, b)
    torch.testing.assert_close(value, wanted, rtol=1e-8, atol=1e-8)
    for computed, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(computed, other, rtol=1e-8, atol=1e-8)
