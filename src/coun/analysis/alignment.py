"""How far a model sets views of one image apart, and how steep its features are."""

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

BATCH = 250


@dataclass(frozen=True, eq=False)
class ViewSpread:
    """Per sample (N,), over all pairs of its sampled views x1, x2; f are the features.

    Args:
        farthest: max |f(x1) - f(x2)|, f normalised to length 1, so 0..2.
        mean_square: mean |f(x1) - f(x2)|^2, f normalised; the alignment loss.
        slope: max |f(x1) - f(x2)| / |x1 - x2|, f as it is: a local Lipschitz constant, from
            below. Pairs of equal views are left out; 0 if all are equal.
        views: how many views a sample.
    """

    farthest: Tensor
    mean_square: Tensor
    slope: Tensor
    views: int

    def share(self, eps: float) -> float:
        """R[eps]: the share, 0..1, of samples with two views farther apart than *eps*."""
        return float((self.farthest > eps).double().mean())

    def bound(self, eps: float) -> float:
        """Markov's bound on R[eps] by the alignment loss; never below `share(eps)`.

        The farthest of P pairs is at most the sum of all, so
        R[eps] <= E max |..|^2 / eps^2 <= P E mean |..|^2 / eps^2.
        """
        pairs = self.views * (self.views - 1) / 2
        return min(1.0, pairs * float(self.mean_square.mean()) / eps**2)


def view_spread(
    classifier: Classifier, data: Data, rows: Tensor, *, views: int = 8, seed: int = 0
) -> ViewSpread:
    """Features of *views* random views of the training images at *rows*, compared in pairs.

    R[eps] is that of Huang et al.: the probability, over samples, that
    sup |f(x1) - f(x2)| > eps over all views x1, x2 of the sample, f on the unit sphere. The
    sup is estimated by the maximum over the sampled views, hence from below; it grows with
    *views*, so compare models at one number of views. A seed fixes the views: all models see
    the same ones. Eval mode, float32 forwards; the model is not changed.

    Args:
        rows: positions in `data.train`, (N,).
        views: m >= 2; costs m forwards a row.

    Raises: CounError for fewer than 2 views or no rows.

    Source: Huang, Yi, Zhao, Jiang, "Towards the generalization of contrastive self-supervised
        learning", ICLR 2023 (arXiv 2021), section 3: R_eps. CoUn's Lemma 1 speaks of R[eps];
        its equations could not be read, so this definition is taken for it (unverified).
    """
    if views < 2:
        raise CounError(f"alignment takes pairs of views; got {views}, expected 2 or more")
    _some(rows)
    model = _frozen(classifier)
    seeds, device = Seeds(seed).fork("alignment"), next(model.parameters()).device
    found = []
    for part, some in enumerate(torch.split(rows, BATCH)):
        images = data.train.fetch(some).to(device)
        inputs = [data.views(images, seeds.torch(part, number)) for number in range(views)]
        with torch.no_grad():
            features = [model(x).features.float() for x in inputs]
        found.append(_compare(torch.stack(features), torch.stack([x.flatten(1) for x in inputs])))
    farthest, mean_square, slope = (torch.cat(parts) for parts in zip(*found, strict=True))
    return ViewSpread(farthest, mean_square, slope, views)


def _compare(features: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per sample, over pairs of views: features (m, N, D), inputs (m, N, P) to three (N,)."""
    f, x = features.double(), inputs.double()
    unit = F.normalize(f, dim=2)
    pairs = list(combinations(range(len(f)), 2))
    apart = torch.stack([(unit[a] - unit[b]).norm(dim=1) for a, b in pairs])
    rise = torch.stack([(f[a] - f[b]).norm(dim=1) for a, b in pairs])
    run = torch.stack([(x[a] - x[b]).norm(dim=1) for a, b in pairs])
    slope = torch.where(run > 0, rise / run.clamp_min(1e-300), 0)
    found = (apart.amax(0), apart.square().mean(0), slope.amax(0))
    return found[0].cpu(), found[1].cpu(), found[2].cpu()


def jacobian_norms(
    classifier: Classifier, data: Data, rows: Tensor, *, steps: int = 20, seed: int = 0
) -> Tensor:
    """Largest singular value of d features / d input at each training image, (N,) float32.

    Inputs are the deterministic views (normalised pixels). Power iteration on J^T J, from
    below; *steps* forward- and reverse-mode products, each about as dear as a training step.
    Eval mode, so that samples do not mix; the model is not changed.

    Raises: CounError for no rows, or fewer than 1 step.
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
    """Per sample, the largest singular value of *function*'s Jacobian at *x*, (N,).

    *function* maps (N, ...) to (N, D), each row from its own row; *start* has the shape of x.
    """
    if steps < 1:
        raise CounError(f"power iteration takes {steps} steps; expected 1 or more")
    tangent, norm = start, x.new_zeros(len(x))
    # Fused attention kernels have no forward-mode derivative.
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
