"""How features and weights of two models compare, and where forget samples end up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints, Values, class_numbers, floats

SCORES = 2**24  # similarities held at once by `nearest`: 128 MiB
STATISTICS = ("running_mean", "running_var")  # of BatchNorm: in a state dict, but no weights


def linear_cka(x: Values, y: Values) -> float:
    """Linear CKA of features (N, D) and (N, E) of the same inputs, 0..1.

    |X'Y|_F^2 / (|X'X|_F |Y'Y|_F) with centred columns; unchanged by rotation and scaling.
    Exact over all N, by D x E products, or N x N ones where N is the smaller. NaN if
    all features of one side are equal.

    Source: Kornblith et al. 2019, equation 8. Averages over small batches need the unbiased
        HSIC; this needs none.
    """
    a, b = floats(x, "features", 2), floats(y, "features", 2)
    if len(a) != len(b):
        raise CounError(f"features of {len(a)} and {len(b)} inputs; expected the same inputs")
    a, b = a - a.mean(0), b - b.mean(0)
    if len(a) < max(a.shape[1], b.shape[1]):
        first, second = a @ a.T, b @ b.T
        cross = float((first * second).sum())  # tr(XX'YY') = |X'Y|^2
    else:
        first, second = a.T @ a, b.T @ b
        cross = float(np.linalg.norm(a.T @ b) ** 2)
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return cross / norms if norms > 0 else float("nan")


@dataclass(frozen=True)
class LayerDistance:
    """L2 distance between the weights of two models: of each tensor, and of all as one."""

    layers: dict[str, float]
    total: float


def layer_distance(
    state: Mapping[str, Tensor], reference: Mapping[str, Tensor], *, normalised: bool = False
) -> LayerDistance:
    """|theta_u - theta_*|_2 of two state dicts, by tensor and in total.

    Integer tensors and BatchNorm's running statistics are left out: they are no weights.

    Args: normalised: divide by |theta_u|_2, of the tensor or of all (0/0 is 0).

    Source: Golatkar et al. 2020; the normaliser as in their and DeepUnlearn's code.

    Raises: CounError if names or shapes differ.
    """
    if state.keys() != reference.keys():
        odd = sorted(state.keys() ^ reference.keys())
        raise CounError(f"only one of two models has {odd[0]}; expected the same network")
    gaps, norms = {}, {}
    for name, weight in state.items():
        other = reference[name]
        if weight.shape != other.shape:
            raise CounError(
                f"{name} is {tuple(weight.shape)} and {tuple(other.shape)}; expected one shape"
            )
        if weight.is_floating_point() and not name.endswith(STATISTICS):
            mine, theirs = (w.detach().cpu().double() for w in (weight, other))
            gaps[name] = float((mine - theirs).norm())
            norms[name] = float(mine.norm())
    sizes = norms if normalised else dict.fromkeys(gaps, 1.0)
    all_gaps, all_norms = (float(np.linalg.norm(list(x.values()))) for x in (gaps, norms))
    return LayerDistance(
        {name: _ratio(gap, sizes[name]) for name, gap in gaps.items()},
        _ratio(all_gaps, all_norms if normalised else 1.0),
    )


def centroids(features: Values, labels: Values, classes: int) -> Floats:
    """Mean feature of each class (classes, D) of (N, D), (N,); NaN for a class without rows."""
    rows = floats(features, "features", 2)
    known = class_numbers(labels, len(rows), classes)
    sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64)
    sums.index_add_(0, torch.from_numpy(known), torch.from_numpy(rows))
    counts = np.bincount(known, minlength=classes)[:, None]
    with np.errstate(invalid="ignore"):
        means: Floats = sums.numpy() / counts
    return means


def centroid_distances(features: Values, centres: Values, *, normalised: bool = True) -> Floats:
    """Mean L2 distance of *features* (N, D) to each of *centres* (C, D), (C,).

    Args: features: of the forget samples of one class; centres: `centroids` of the retain set.
        normalised: divide by the largest of the C, as models differ in the scale of features.

    Source: CoUn, appendix C, which normalises "on each group's averaged distances"; by the
        maximum is our reading, in line with its values of .86 to .97.
    """
    found: Floats = cdist(*_features(features, centres)).mean(0)
    if normalised and np.nanmax(found) > 0:
        found = found / np.nanmax(found)
    return found


def centroid_similarities(features: Values, centres: Values) -> Floats:
    """Mean cosine similarity of *features* (N, D) to each of *centres* (C, D), (C,)."""
    rows, middles = _features(features, centres)
    found: Floats = (_unit(rows) @ _unit(middles).T).mean(0)
    return found


def nearest(queries: Values, keys: Values, k: int) -> Ints:
    """Rows of *keys* (N, D) nearest to each query (M, D) by cosine, nearest first, (M, k).

    The M x N similarities are never held at once. The first columns are the answer for a
    smaller k. Raises: CounError if there are fewer than k keys.
    """
    asked, known = (torch.from_numpy(_unit(x)) for x in _features(queries, keys))
    if not 1 <= k <= len(known):
        raise CounError(f"k = {k} neighbours among {len(known)}; expected 1..{len(known)}")
    block = max(1, SCORES // len(known))
    found = [(part @ known.T).topk(k).indices for part in torch.split(asked, block)]
    return torch.cat(found).numpy()


def neighbour_histograms(
    queries: Values, keys: Values, labels: Values, classes: int, ks: tuple[int, ...] = (1, 10, 200)
) -> dict[int, Floats]:
    """For each k, the share of each class among the k nearest keys of all queries, (classes,).

    Args: queries: features of the forget set (M, D); keys, labels: of the retain set.

    Compare two models' histograms with `js_divergence(a[None], b[None])`.

    Source: CoUn, section 3, looks at forget samples' neighbours; k and JS are ours.
    """
    rows = floats(keys, "features", 2)
    known = class_numbers(labels, len(rows), classes)
    found = known[nearest(queries, rows, max(ks))]
    return {k: np.bincount(found[:, :k].ravel(), minlength=classes) / found[:, :k].size for k in ks}


def _features(a: Values, b: Values) -> tuple[Floats, Floats]:
    first, second = floats(a, "features", 2), floats(b, "features", 2)
    if first.shape[1] != second.shape[1]:
        raise CounError(
            f"features of {first.shape[1]} and {second.shape[1]} numbers; expected one model's"
        )
    return first, second


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    found: Floats = rows / np.where(lengths == 0, 1, lengths)
    return found


def _ratio(part: float, whole: float) -> float:
    if whole == 0:
        return 0.0 if part == 0 else float("inf")
    return part / whole
