"""How far apart the features of two views of an image are, and how steep features are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coun.data import Data
from coun.errors import CounError
from coun.models import Classifier, copy_model
from coun.seeds import Seeds

BATCH = 250  # rows at a time


@dataclass(frozen=True, eq=False)
class ViewSpread:
    """Distances between the features f of views x1, x2 of one row, over all pairs of views.

    Attributes:
        farthest: max |f(x1) - f(x2)| for each row, (N,), with f scaled to length 1, so 0..2.
        mean_square: mean |f(x1) - f(x2)|^2, (N,), with f scaled to length 1: the alignment loss.
        slope: max |f(x1) - f(x2)| / |x1 - x2|, (N,), with f as it is: a lower bound of a local
            Lipschitz constant. Pairs of equal views are left out; 0 if all are equal.
        views: the number of views of each row.

    >>> spread = ViewSpread(torch.tensor([0.2, 0.8]), torch.tensor([0.0, 0.1]), torch.ones(2), 2)
    >>> spread.share(0.5)
    0.5
    """

    farthest: Tensor
    mean_square: Tensor
    slope: Tensor
    views: int

    def share(self, eps: float) -> float:
        """Return R[eps]: the share, 0..1, of rows with two views farther apart than *eps*."""
        return float((self.farthest > eps).double().mean())

    def bound(self, eps: float) -> float:
        """Return Markov's upper bound of R[eps] from the alignment loss.

        The largest of P distances is at most the sum of all, so
        R[eps] <= E max |..|^2 / eps^2 <= P E mean |..|^2 / eps^2.
        """
        pairs = self.views * (self.views - 1) / 2
        return min(1.0, pairs * float(self.mean_square.mean()) / eps**2)


def view_spread(
    classifier: Classifier, data: Data, rows: Tensor, *, views: int = 8, seed: int = 0
) -> ViewSpread:
    """Compare the features of several random views of each training image in pairs.

    R[eps] is that of Huang et al.: the probability, over rows, that
    sup |f(x1) - f(x2)| > eps over all views x1, x2 of the row, with f on the unit sphere.
    The maximum over the sampled views estimates the sup from below and grows with their
    number, so models must be compared with equally many views. The model is in eval mode, with
    float32 forwards, and is not changed.

    Args:
        classifier: the model.
        data: whose training images and views are used.
        rows: indices in `data.train`, (N,).
        views: at least 2; each costs one forward of every row.
        seed: fixes the views, so that all models see the same ones.

    Raises: CounError for fewer than 2 views or no rows.

    Source: Huang, Yi, Zhao, Jiang, "Towards the generalization of contrastive self-supervised
        learning", ICLR 2023 (arXiv 2021), section 3: R_eps. CoUn's Lemma 1 speaks of R[eps];
        its equations could not be read, so this definition is taken for it (unverified).

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run = coun.train(data, "mlp", epochs=1)
    >>> spread = view_spread(run.classifier, data, torch.arange(10), views=2)
    >>> spread.share(2.1)  # no two unit vectors are farther apart than 2
    0.0
    """
    if views < 2:
        raise CounError(f"alignment compares pairs of views; got {views} views, expected 2 or more")
    _some(rows)
    model = _frozen(classifier)
    seeds, device = Seeds(seed).fork("alignment"), next(model.parameters()).device
    parts = []
    for part, some in enumerate(torch.split(rows, BATCH)):
        images = data.train.fetch(some).to(device)
        inputs = [data.views(images, seeds.torch(part, number)) for number in range(views)]
        with torch.no_grad():
            features = [model(x).features.float() for x in inputs]
        parts.append(_compare(torch.stack(features), torch.stack([x.flatten(1) for x in inputs])))
    farthest, mean_square, slope = (torch.cat(x) for x in zip(*parts, strict=True))
    return ViewSpread(farthest, mean_square, slope, views)


def _compare(features: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three fields of `ViewSpread`, (N,), from features (m, N, D) and inputs (m, N, P)."""
    f, x = features.double(), inputs.double()
    unit = F.normalize(f, dim=2)
    pairs = list(combinations(range(len(f)), 2))
    apart = torch.stack([(unit[a] - unit[b]).norm(dim=1) for a, b in pairs])
    rise = torch.stack([(f[a] - f[b]).norm(dim=1) for a, b in pairs])
    run = torch.stack([(x[a] - x[b]).norm(dim=1) for a, b in pairs])
    slope = torch.where(run > 0, rise / run.clamp_min(1e-300), 0)
    return apart.amax(0).cpu(), apart.square().mean(0).cpu(), slope.amax(0).cpu()


def jacobian_norms(
    classifier: Classifier, data: Data, rows: Tensor, *, steps: int = 20, seed: int = 0
) -> Tensor:
    """Compute the largest singular value of d features / d input at each training image.

    Power iteration on J^T J finds it from below. Inputs are the deterministic views (normalised
    pixels). The model is in eval mode, so that rows do not influence each other, and is not
    changed.

    Args:
        classifier: the model.
        data: whose training images are used.
        rows: indices in `data.train`, (N,).
        steps: forward- and reverse-mode products; each costs about as much as a training step.
        seed: of the first direction.

    Returns: (N,) float32.

    Raises: CounError for no rows, or fewer than 1 step.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run = coun.train(data, "mlp", epochs=1)
    >>> jacobian_norms(run.classifier, data, torch.arange(4), steps=2).shape
    torch.Size([4])
    """
    _some(rows)
    model = _frozen(classifier)
    seeds, device = Seeds(seed).fork("jacobian"), next(model.parameters()).device
    norms = []
    for part, some in enumerate(torch.split(rows, BATCH)):
        x = data.views.evaluate(data.train.fetch(some).to(device))
        start = torch.randn(x.shape, generator=seeds.torch(part)).to(x)
        norms.append(top_singular(lambda z: model(z).features, x, start, steps).cpu())
    return torch.cat(norms)


def top_singular(
    function: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, steps: int
) -> Tensor:
    """Compute for each row the largest singular value of a Jacobian, (N,).

    Args:
        function: maps (N, ...) to (N, D); every row of its result depends on its own row only.
        x: where the Jacobian is taken, (N, ...).
        start: the first direction, in the shape of *x*.
        steps: of the power iteration.

    Raises: CounError for fewer than 1 step.

    >>> x = torch.zeros(1, 2)
    >>> round(float(top_singular(lambda z: z * torch.tensor([3.0, 1.0]), x, x + 1, 20)), 3)
    3.0
    """
    if steps < 1:
        raise CounError(f"power iteration with {steps} steps; expected 1 or more")
    tangent, norm = start, x.new_zeros(len(x))
    # The fused attention kernels of PyTorch do not support forward-mode derivatives.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        pull = vjp(function, x)[1]
        for _ in range(steps):
            length = tangent.flatten(1).norm(dim=1).clamp_min(1e-30)
            tangent = tangent / length.view(-1, *[1] * (x.ndim - 1))
            push = jvp(function, (x,), (tangent,))[1]
            norm = push.flatten(1).norm(dim=1)
            (tangent,) = pull(push)
    return norm


def _frozen(classifier: Classifier) -> Classifier:
    return copy_model(classifier).eval().requires_grad_(False)


def _some(rows: Tensor) -> None:
    if len(rows) == 0:
        raise CounError("no rows to measure; expected at least one")
