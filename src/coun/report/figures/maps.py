"""Penultimate features in the plane, by t-SNE or PCA."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coun.report.figures.grid import panels
from coun.report.style import CLASS_COLOURS, short_names, styled
from coun.runs import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Projection = Literal["tsne", "pca"]
SHAPES = "os^vD<>PX*"
LEGEND = 20  # most classes in the legend


@styled()
def feature_maps(
    predictions: Mapping[str, Predictions],
    classes: Sequence[str],
    *,
    method: Projection = "tsne",
    retain: int = 400,
    seed: int = 0,
) -> Figure:
    """Draw the features of each model in the plane: retain rows as dots, forget rows as marks.

    Small dots and large marks have the colour of the *predicted* class: an unlearned model
    should put a forgotten row where Retrain puts it. For readers without colour, the shape
    of a mark shows its class too, and the name of a class is written in the middle of its
    retain dots. Features are scaled to length 1, as CoUn's loss does. Each model has its own
    map, so neighbourhoods can be compared, positions cannot.

    Args:
        predictions: by model, with outputs on retain and forget rows.
        classes: K names.
        method: "tsne", or "pca", whose axes show the share of the variance that they hold.
        retain: at most this many retain rows, drawn from *seed*.
        seed: also starts t-SNE.

    >>> import coun
    >>> from coun.runs.measuring import predictions
    >>> data = coun.load("digits", limit=50)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> answers = {"Original": predictions(run.classifier, data, split)}
    >>> figure = feature_maps(answers, data.classes, method="pca")
    >>> len(figure.axes)
    1
    """
    from matplotlib.lines import Line2D

    classes = short_names(classes)
    figure, grid = panels(len(predictions), (3.6, 3.4))
    for axes, (name, of_model) in zip(grid, predictions.items(), strict=True):
        _map(axes, of_model, classes, method, retain, seed)
        axes.set_title(name)
    # Of more classes than marks the legend names those that some forget row is predicted as.
    present = {int(y) for p in predictions.values() for y in p.outputs["forget"].logits.argmax(1)}
    shown = range(len(classes)) if len(classes) <= LEGEND else sorted(present)[:LEGEND]
    marks = [Line2D([], [], linestyle="", label=classes[i], **_mark(i)) for i in shown]
    widest = max(len(classes[i]) for i in shown)
    fitting = max(1, int(figure.get_figwidth() / (0.6 + 0.08 * widest)))
    columns = -(-len(marks) // -(-len(marks) // fitting))  # as many in each line
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, fontsize=9)
    return figure


def _map(
    axes: Axes,
    predictions: Predictions,
    classes: Sequence[str],
    method: Projection,
    retain: int,
    seed: int,
) -> None:
    from matplotlib.patheffects import withStroke

    roles = ("retain", "forget")
    rows = np.random.default_rng(seed).permutation(len(predictions.labels["retain"]))[:retain]
    stay, forget = (predictions.outputs[role].features.numpy() for role in roles)
    predicted, marked = (predictions.outputs[r].logits.argmax(1).numpy() for r in roles)
    predicted = predicted[rows]
    places = _project(axes, np.concatenate([stay[rows], forget]).astype(np.float64), method, seed)
    dots, marks = places[: len(rows)], places[len(rows) :]
    colours = [_colour(label) for label in predicted]
    axes.scatter(dots[:, 0], dots[:, 1], s=5, c=colours, alpha=0.5, linewidths=0)
    for label in np.unique(marked):
        axes.plot(*marks[marked == label].T, linestyle="", **_mark(label))
    for label in np.unique(predicted):
        x, y = np.median(dots[predicted == label], axis=0)
        name = axes.text(x, y, classes[label], ha="center", va="center", fontsize=9)
        name.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _project(axes: Axes, features: np.ndarray, method: Projection, seed: int) -> np.ndarray:
    """Project features (N, D) to the plane, (N, 2); PCA labels the *axes* with its variances."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    # Cosine distances, as in CoUn's loss: the scale of features differs between models.
    features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-12
    if method == "tsne":
        perplexity = max(1, min(30, len(features) // 4))
        # scikit-learn 1.5 renamed the number of iterations.
        name = "max_iter" if "max_iter" in inspect.signature(TSNE).parameters else "n_iter"
        tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, **{name: 500})
        return np.asarray(tsne.fit_transform(features))
    pca = PCA(2, svd_solver="full")
    places = np.asarray(pca.fit_transform(features))
    for axis, share in zip("xy", pca.explained_variance_ratio_, strict=True):
        axes.set(**{f"{axis}label": f"{100 * share:.0f}% of the variance"})
    return places


def _colour(label: int) -> str:
    return CLASS_COLOURS[label % 10]


def _mark(label: int) -> dict[str, Any]:
    """How a forgotten row of a predicted class is drawn; styles repeat after ten classes."""
    return {
        "marker": SHAPES[label % 10],
        "color": _colour(label),
        "markersize": 8 if SHAPES[label % 10] == "*" else 5.5,
        "markeredgecolor": "black",
        "markeredgewidth": 0.6,
    }
