"""Comparing the features and weights of two models, and where forget rows lie among others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints, Values, class_numbers, floats

SCORES = 2**24  # similarities that `nearest` holds at once: 128 MiB
STATISTICS = ("running_mean", "running_var")  # of BatchNorm: in a state dict, but not weights


def linear_cka(x: Values, y: Values) -> float:
    """Compute the similarity of two models' features for the same inputs by linear CKA, 0..1.

    It is |X'Y|_F^2 / (|X'X|_F |Y'Y|_F) with centred columns, which rotations and scalings do
    not change. It is exact over all N inputs: products are D x E, or N x N where N is smaller.

    Args: x, y: features (N, D) and (N, E).

    Returns: 1 for features that are equal up to rotation and scale; NaN if all features of one
        side are equal.

    Raises: CounError if the numbers of inputs differ.

    Source: Kornblith et al. 2019, equation 8. Averages over small batches need the unbiased
        HSIC; computing over all inputs does not.

    >>> linear_cka([[0.0, 1.0], [1.0, 0.0]], [[0.0, 2.0], [2.0, 0.0]])
    1.0
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
    """The L2 distance between the weights of two models.

    Attributes:
        layers: by name of the tensor in the state dict.
        total: of all tensors together.

    >>> import torch
    >>> layer_distance({"fc.weight": torch.zeros(1, 2)}, {"fc.weight": torch.tensor([[3.0, 4.0]])})
    LayerDistance(layers={'fc.weight': 5.0}, total=5.0)
    """

    layers: dict[str, float]
    total: float


def layer_distance(
    state: Mapping[str, Tensor], reference: Mapping[str, Tensor], *, normalised: bool = False
) -> LayerDistance:
    """Compute |theta_u - theta_*|_2 of two state dicts, for each tensor and in total.

    Integer tensors and BatchNorm's running statistics are left out, as they are not weights.

    Args:
        state, reference: state dicts of the same architecture.
        normalised: whether to divide by |theta_u|_2, of the tensor or of all (0/0 is 0).

    Source: Golatkar et al. 2020; the normaliser as in their and DeepUnlearn's code.

    Raises: CounError if names or shapes differ.

    >>> layer_distance({"w": torch.tensor([3.0])}, {"w": torch.tensor([0.0])}).total
    3.0
    """
    if state.keys() != reference.keys():
        unpaired = sorted(state.keys() ^ reference.keys())
        raise CounError(f"only one of two models has {unpaired[0]}; expected the same network")
    gaps, norms = {}, {}
    for name, weight in state.items():
        other = reference[name]
        if weight.shape != other.shape:
            raise CounError(
                f"{name} is {tuple(weight.shape)} and {tuple(other.shape)}; expected one shape"
            )
        if weight.is_floating_point() and not name.endswith(STATISTICS):
            first, second = (w.detach().cpu().double() for w in (weight, other))
            gaps[name] = float((first - second).norm())
            norms[name] = float(first.norm())
    sizes = norms if normalised else dict.fromkeys(gaps, 1.0)
    all_gaps, all_norms = (float(np.linalg.norm(list(x.values()))) for x in (gaps, norms))
    return LayerDistance(
        {name: _ratio(gap, sizes[name]) for name, gap in gaps.items()},
        _ratio(all_gaps, all_norms if normalised else 1.0),
    )


def centroids(features: Values, labels: Values, classes: int) -> Floats:
    """Compute the mean feature of each class, (classes, D); NaN for a class without rows.

    Args: features: (N, D); labels: (N,); classes: their number.

    >>> centroids([[1.0], [3.0]], [0, 0], classes=2).tolist()
    [[2.0], [nan]]
    """
    rows = floats(features, "features", 2)
    truth = class_numbers(labels, len(rows), classes)
    sums = torch.zeros(classes, rows.shape[1], dtype=torch.float64)
    sums.index_add_(0, torch.from_numpy(truth), torch.from_numpy(rows))
    counts = np.bincount(truth, minlength=classes)[:, None]
    with np.errstate(invalid="ignore"):
        means: Floats = sums.numpy() / counts
    return means


def centroid_distances(features: Values, centres: Values, *, normalised: bool = True) -> Floats:
    """Compute the mean L2 distance of features to the centroid of each class, (C,).

    Args:
        features: (N, D), of the forget rows of one class.
        centres: (C, D), `centroids` of the retain rows.
        normalised: whether to divide by the largest of the C distances, because models differ
            in the scale of their features.

    Source: CoUn, appendix C, which normalises "on each group's averaged distances"; by the
        maximum is our reading, in line with its values of .86 to .97.

    >>> centroid_distances([[0.0]], [[1.0], [2.0]]).tolist()
    [0.5, 1.0]
    """
    distances: Floats = cdist(*_features(features, centres)).mean(0)
    if normalised and np.nanmax(distances) > 0:
        distances = distances / np.nanmax(distances)
    return distances


def centroid_similarities(features: Values, centres: Values) -> Floats:
    """Compute the mean cosine similarity of *features* (N, D) to each of *centres* (C, D), (C,).

    >>> centroid_similarities([[1.0, 0.0]], [[2.0, 0.0], [0.0, 3.0]]).tolist()
    [1.0, 0.0]
    """
    rows, middles = _features(features, centres)
    cosines: Floats = (_unit(rows) @ _unit(middles).T).mean(0)
    return cosines


def nearest(queries: Values, keys: Values, k: int) -> Ints:
    """Find the keys that are nearest to each query by cosine similarity, nearest first.

    The M x N similarities are computed in blocks, so that they need not fit in memory. The
    first columns of the result are the result for a smaller k.

    Args: queries: (M, D); keys: (N, D); k: the number of neighbours, 1..N.

    Returns: positions among the keys, (M, k).

    Raises: CounError if there are fewer than k keys.

    >>> nearest([[1.0, 0.1]], [[0.0, 1.0], [1.0, 0.0]], k=1).tolist()
    [[1]]
    """
    rows, columns = (torch.from_numpy(_unit(x)) for x in _features(queries, keys))
    if not 1 <= k <= len(columns):
        raise CounError(f"k = {k} neighbours among {len(columns)}; expected 1..{len(columns)}")
    block = max(1, SCORES // len(columns))
    blocks = [(part @ columns.T).topk(k).indices for part in torch.split(rows, block)]
    return torch.cat(blocks).numpy()


def neighbour_histograms(
    queries: Values, keys: Values, labels: Values, classes: int, ks: tuple[int, ...] = (1, 10, 200)
) -> dict[int, Floats]:
    """Compute for each k the share of each class among the k nearest keys of all queries.

    The histograms of two models can be compared with `js_divergence(a[None], b[None])`.

    Args:
        queries: features of the forget rows, (M, D).
        keys, labels: features (N, D) and labels (N,) of the retain rows.
        classes: their number.
        ks: numbers of neighbours.

    Returns: shares (classes,) by k.

    Source: CoUn, section 3, looks at forget rows' neighbours; k and JS are ours.

    >>> keys, labels = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), np.array([0, 0, 1])
    >>> shares = neighbour_histograms(np.array([[0.0, 1.0]]), keys, labels, classes=2, ks=(1, 3))
    >>> {k: share.round(2).tolist() for k, share in shares.items()}
    {1: [1.0, 0.0], 3: [0.67, 0.33]}
    """
    rows = floats(keys, "features", 2)
    near = class_numbers(labels, len(rows), classes)[nearest(queries, rows, max(ks))]
    return {k: np.bincount(near[:, :k].ravel(), minlength=classes) / near[:, :k].size for k in ks}


def _features(a: Values, b: Values) -> tuple[Floats, Floats]:
    first, second = floats(a, "features", 2), floats(b, "features", 2)
    if first.shape[1] != second.shape[1]:
        raise CounError(
            f"features of {first.shape[1]} and {second.shape[1]} dimensions; expected equally many"
        )
    return first, second


def _unit(rows: Floats) -> Floats:
    """*rows* scaled to length 1; a row of zeros is left as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths == 0, 1, lengths)
    return unit


def _ratio(part: float, whole: float) -> float:
    if whole == 0:
        return 0.0 if part == 0 else float("inf")
    return part / whole
