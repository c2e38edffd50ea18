"""Pictures of one scenario: distance to Retrain, predictions of the forgotten, the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE

from coun.report.style import CLASSES, COLOURS, HATCHES, RC
from coun.report.table import Row
from coun.runs import Predictions


def gaps(rows: Sequence[Row], floor: float) -> Figure:
    """Average gap to Retrain per method, with its spread, beside the Retrain-to-Retrain *floor*."""
    shown = [r for r in rows if "average_gap" in r.cells and r.name in COLOURS]
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7, 0.55 * len(shown) + 1.2))
        for place, row in enumerate(reversed(shown)):
            cell = row.cells["average_gap"]
            axes.barh(
                place,
                cell.mean,
                xerr=cell.std or 0,
                capsize=3,
                height=0.6,
                color=COLOURS[row.name],
                hatch=HATCHES[row.name],
                edgecolor="white",
            )
            axes.text(cell.mean + (cell.std or 0), place, f"  {cell.mean:.2f}", va="center")
        axes.axvline(floor, color="black", linestyle="--", linewidth=1)
        axes.text(floor, len(shown) - 0.45, " Retrain against Retrain", va="bottom", fontsize=9)
        axes.set_yticks(range(len(shown)), [r.name for r in reversed(shown)])
        axes.set_xlabel("average gap to Retrain, points (0 = indistinguishable)")
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
    return figure


def prediction_row(shares: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Where each model sends the forgotten samples: percent of them per predicted class (K,)."""
    table = np.stack(list(shares.values()))
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(0.75 * len(classes) + 2, 0.5 * len(table) + 1.3))
        axes.imshow(table, cmap="Greys", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            colour = "white" if value > 55 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(table)), list(shares))
        axes.set_xlabel("predicted class of the forgotten samples, %")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    return figure


def feature_maps(
    found: Mapping[str, Predictions], classes: Sequence[str], *, retain: int = 400, seed: int = 0
) -> Figure:
    """t-SNE of the penultimate features of each model, retain rows small, forget rows large.

    Retain dots have the colour of their label, forget squares that of the *predicted* class:
    where Retrain puts a forgotten sample is where an unlearned model should put it. Each
    model has its own map, so only neighbourhoods compare, not positions.
    """
    columns = min(3, len(found))
    lines = -(-len(found) // columns)
    with plt.rc_context(RC):
        figure, grid = plt.subplots(
            lines, columns, figsize=(3.6 * columns, 3.4 * lines + 0.4), squeeze=False
        )
        for axes in grid.flat[len(found) :]:
            axes.set_axis_off()
        for axes, (name, one) in zip(grid.flat, found.items(), strict=False):
            _map(axes, one, retain, seed)
            axes.set_title(name)
        marks = [
            Line2D([], [], marker="o", linestyle="", color=CLASSES(i % 10), label=name)
            for i, name in enumerate(classes[:20])
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=min(10, len(marks)))
    return figure


def _map(axes: Axes, one: Predictions, retain: int, seed: int) -> None:
    kept = np.random.default_rng(seed).permutation(len(one.labels["retain"]))[:retain]
    stay = one.outputs["retain"].features.numpy()[kept]
    gone = one.outputs["forget"].features.numpy()
    both = np.concatenate([stay, gone])
    # Cosine, as in CoUn's loss: feature scales differ between models.
    both /= np.linalg.norm(both, axis=1, keepdims=True) + 1e-12
    tsne = TSNE(perplexity=min(30, len(both) // 4), init="pca", max_iter=500, random_state=seed)
    place = tsne.fit_transform(both)
    labels = one.labels["retain"].numpy()[kept] % 10
    predicted = one.outputs["forget"].logits.argmax(1).numpy() % 10
    (x, y), (u, v) = place[: len(stay)].T, place[len(stay) :].T
    axes.scatter(x, y, s=5, c=CLASSES(labels), alpha=0.5, linewidths=0)
    axes.scatter(u, v, s=24, c=CLASSES(predicted), marker="s", edgecolors="black", linewidths=0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
