"""The representation space on paper: t-SNE and PCA of penultimate features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from coun.report.figures.grid import panels
from coun.report.style import CLASSES, RC
from coun.runs import Predictions

Projection = Literal["tsne", "pca"]
SHAPES = "os^vD<>PX*"


def feature_maps(
    found: Mapping[str, Predictions],
    classes: Sequence[str],
    *,
    method: Projection = "tsne",
    retain: int = 400,
    seed: int = 0,
) -> Figure:
    """Features of each model in the plane, retain rows small, forget rows large.

    Small dots and large marks have the colour of the *predicted* class: where Retrain puts a
    forgotten sample is where an unlearned model should put it. For readers without colour, a
    mark's shape tells its class too, and a class's name stands at the middle of its retain
    dots. Features are scaled to length 1, as CoUn's loss sees them.
    Each model has its own map, so only neighbourhoods compare, not positions.

    Args:
        method: "tsne", or "pca", whose axes say how much of the variance they hold.
        retain: at most this many retain rows, drawn from *seed*, which also starts t-SNE.
    """
    with plt.rc_context(RC):
        figure, grid = panels(len(found), (3.6, 3.4))
        for axes, (name, one) in zip(grid, found.items(), strict=True):
            _map(axes, one, classes, method, retain, seed)
            axes.set_title(name)
        marks = [
            Line2D([], [], linestyle="", label=name, **_mark(i))
            for i, name in enumerate(classes[:20])
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=min(10, len(marks)))
    return figure


def _map(
    axes: Axes,
    one: Predictions,
    classes: Sequence[str],
    method: Projection,
    retain: int,
    seed: int,
) -> None:
    kept = np.random.default_rng(seed).permutation(len(one.labels["retain"]))[:retain]
    stay, gone = (one.outputs[role].features.numpy() for role in ("retain", "forget"))
    both = np.concatenate([stay[kept], gone]).astype(np.float64)
    # Cosine, as in CoUn's loss: feature scales differ between models.
    both /= np.linalg.norm(both, axis=1, keepdims=True) + 1e-12
    if method == "pca":
        pca = PCA(2, svd_solver="full")
        place = pca.fit_transform(both)
        for which, share in zip("xy", pca.explained_variance_ratio_, strict=True):
            axes.set(**{f"{which}label": f"{100 * share:.0f}% of the variance"})
    else:
        perplexity = max(1, min(30, len(both) // 4))
        tsne = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
        place = tsne.fit_transform(both)
    said, asked = (one.outputs[r].logits.argmax(1).numpy() for r in ("retain", "forget"))
    said = said[kept]
    dots, marks = place[: len(kept)], place[len(kept) :]
    axes.scatter(dots[:, 0], dots[:, 1], s=5, c=CLASSES(said % 10), alpha=0.5, linewidths=0)
    for label in np.unique(asked):
        axes.plot(*marks[asked == label].T, linestyle="", **_mark(label))
    for label in np.unique(said):
        x, y = np.median(dots[said == label], axis=0)
        name = axes.text(x, y, classes[label], ha="center", va="center", fontsize=9)
        name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _mark(label: int) -> dict[str, Any]:
    """How a forgotten sample of a predicted class is drawn; classes repeat after ten."""
    return {
        "marker": SHAPES[label % 10],
        "color": CLASSES(label % 10),
        "markersize": 8 if SHAPES[label % 10] == "*" else 5.5,
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }
