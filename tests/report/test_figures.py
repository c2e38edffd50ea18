"""Pictures hold the numbers they were given; whether they look well is judged by people."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import StepPatch

from coun.analysis import Slice
from coun.attacks.roc_curves import curve
from coun.models import Outputs
from coun.report import figures, tabulate
from coun.report.figures.maps import _project
from coun.report.style import CLASS_COLOURS, method_style
from coun.runs import Predictions


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_bars_have_the_length_of_the_gaps_and_the_floor_is_a_line() -> None:
    rows = tabulate(
        {
            "Retrain": [{"average_gap": 0.0}],
            "Retrain again": [{"average_gap": 0.7}],
            "FT": [{"average_gap": g} for g in (1.0, 3.0)],
            "NegGrad+ + CL": [{"average_gap": 0.5}],
        }
    )
    (axes,) = figures.gaps(rows, 0.7).axes
    widths = sorted(bar.get_width() for bar in axes.patches)
    assert widths == [0.5, 2.0]
    assert [bar.get_hatch() for bar in axes.patches] == [
        method_style("NegGrad+ + CL").hatch,
        method_style("FT").hatch,
    ]
    assert any(list(line.get_xdata()) == [0.7, 0.7] for line in axes.lines)


def test_a_table_writes_every_number() -> None:
    rows = {"Original": np.array([0.93, 0.9749, np.nan]), "Retrain": np.array([0.9, 0.95, 1])}
    (axes,) = figures.heat_table(rows, ["auto", "plane", "ship"], label="distance").axes
    assert words(axes) == ["0.93", "0.97", "none", "0.90", "0.95", "1.00"]
    assert np.array_equal(
        axes.images[0].get_array().filled(np.nan), np.stack([*rows.values()]), True
    )
    assert [t.get_text() for t in axes.get_xticklabels()] == ["auto", "plane", "ship"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Original", "Retrain"]
    (axes,) = figures.prediction_row({"FT": np.array([99.6, 0.4])}, ["a", "b"]).axes
    assert words(axes) == ["100", "0"]
    assert axes.images[0].get_clim() == (0, 100)


def test_confusion_differences_are_signed_points() -> None:
    retrain = np.array([[6, 2, 2], [0, 5, 0], [0, 0, 0]])
    matrices = {"FT": np.array([[1, 0, 0], [1, 9, 0], [0, 0, 0]]), "CoUn": retrain}
    figure = figures.confusion_differences(matrices, retrain, ["x", "y", "z"])
    first, second = figure.axes[:2]
    assert np.allclose(first.images[0].get_array(), [[40, -20, -20], [10, -10, 0]])
    assert [t.get_text() for t in first.get_yticklabels()] == ["x", "y"]  # no sample is a z
    assert words(first) == ["+40", "-20", "-20", "+10", "-10"]
    assert words(second) == []
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-40, 40)
    assert first.get_title() == "FT minus Retrain"


def test_long_class_names_stay_inside_the_picture_and_can_be_told_apart() -> None:
    names = [
        "customers without a single order " + end for end in ("A" * 90, "B", "2023 C", "2024 C")
    ]
    counts = np.eye(4)
    for figure in (
        figures.confusion_differences({"FT": counts[::-1], "NoT": counts}, counts, names),
        figures.prediction_row({"FT": np.arange(4.0), "Retrain": np.arange(4.0)}, names),
    ):
        FigureCanvasAgg(figure).draw()
        assert len({t.get_text() for t in figure.axes[0].get_xticklabels()}) == 4
        right = 0.0  # of the panels so far: the names of the next one do not cover them
        for axes in (a for a in figure.axes if a.get_images()):
            for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
                box = tick.get_window_extent()
                assert box.y0 >= 0, tick.get_text()
                assert right <= box.x0 <= box.x1 <= figure.bbox.x1, tick.get_text()
            right = axes.bbox.x1


def test_the_scale_of_equal_models_has_no_number_twice() -> None:
    figure = figures.confusion_differences({"FT": np.eye(2)}, np.eye(2), ["a", "b"])
    FigureCanvasAgg(figure).draw()
    shown = [t.get_text() for t in figure.axes[-1].get_yticklabels()]
    assert len(set(shown)) == len(shown), shown


def test_a_crowded_confusion_has_no_numbers() -> None:
    many = np.eye(30)
    figure = figures.confusion_differences({"FT": many[::-1]}, many, [str(i) for i in range(30)])
    assert words(figure.axes[0]) == []


def test_roc_curves_hold_rates_counts_and_chance() -> None:
    members, others = torch.tensor([3.0, 2.0, 0.0, 5.0]), torch.tensor([1.0, 2.5])
    (axes,) = figures.roc_curves({"NoT": curve(members, others)}).axes
    line, chance = axes.lines
    # By hand, from the highest score down; a rate of 0 is drawn at half a sample.
    assert list(line.get_xdata()) == pytest.approx([0.25, 0.25, 0.25, 0.5, 0.5, 1, 1])
    assert list(line.get_ydata()) == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1 / 2, 3 / 4, 3 / 4, 1])
    assert list(chance.get_xdata()) == list(chance.get_ydata())
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["NoT (4, 2)"]
    assert line.get_color() == method_style("NoT").colour


def test_loss_histograms_share_their_bins_and_count_every_sample() -> None:
    rng = np.random.default_rng(0)
    losses = {
        name: {"forget": rng.exponential(scale, 50), "test": rng.exponential(1, 80)}
        for name, scale in (("Original", 1e-6), ("CoUn", 1.0))
    }
    figure = figures.loss_histograms(losses, bins=7)
    edges = set()
    for axes, (name, parts) in zip(figure.axes, losses.items(), strict=False):
        steps = [p for p in axes.patches if isinstance(p, StepPatch)]
        assert len(steps) == 2
        for step, part in zip(steps, ("forget", "test"), strict=True):
            data = step.get_data()
            edges.add(tuple(data.edges))
            assert data.values.sum() == pytest.approx(100)
            for height, low, high in zip(data.values, data.edges, data.edges[1:], strict=False):
                inside = [1 for x in parts[part] if low <= max(x, data.edges[0]) < high]
                assert height == pytest.approx(100 * len(inside) / len(parts[part]))
        assert steps[0].get_linestyle() != steps[1].get_linestyle()
        assert axes.get_title() == name
    assert len(edges) == 1


def random_slice(steps: int, seed: int) -> Slice:
    rng = np.random.default_rng(seed)
    losses = {r: rng.uniform(0.01, 9, steps) for r in ("retain", "forget")}
    return Slice(np.linspace(-1, 1, steps), losses)


def test_loss_lines_are_the_slices() -> None:
    slices = {"Original": random_slice(5, 0), "CoUn": random_slice(5, 1)}
    figure = figures.loss_lines(slices)
    for axes, role in zip(figure.axes, ("retain", "forget"), strict=True):
        assert axes.get_title() == role
        for line, (name, along) in zip(axes.lines, slices.items(), strict=False):
            assert np.array_equal(line.get_xdata(), along.steps)
            assert np.array_equal(line.get_ydata(), along.losses[role])
            assert line.get_color() == method_style(name).colour


def blobs(seed: int) -> Predictions:
    """Two classes far apart; the one forgotten sample is predicted as class 1."""
    rng = np.random.default_rng(seed)
    labels = torch.tensor([0, 1] * 20)
    features = torch.tensor(rng.normal(0, 0.05, (40, 4)), dtype=torch.float32)
    features[:, 0] += 1 - labels
    features[:, 1] += labels
    retain = Outputs(10 * torch.nn.functional.one_hot(labels, 2).float(), features)
    forget = Outputs(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    return Predictions(
        {"retain": retain, "forget": forget}, {"retain": labels, "forget": labels[:1]}
    )


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_maps_are_coloured_by_prediction_and_keep_neighbours(method: str) -> None:
    models = {"Retrain": blobs(0), "CoUn": blobs(1)}
    figure = figures.feature_maps(models, ["a", "b"], method=method, retain=30)  # type: ignore[arg-type]
    for axes in figure.axes[:2]:
        dots = axes.collections[0]
        places, shades = np.asarray(dots.get_offsets()), dots.get_facecolors()
        assert len(places) == 30
        of_class = np.array([colors.same_color(shade[:3], CLASS_COLOURS[1]) for shade in shades])
        assert 5 < of_class.sum() < 25
        (mark,) = axes.lines
        assert colors.same_color(mark.get_color(), CLASS_COLOURS[1])  # predicted, not its label 0
        centre = np.array([mark.get_xdata()[0], mark.get_ydata()[0]])
        distances = np.linalg.norm(places - centre, axis=1)
        assert np.median(distances[of_class]) < np.median(distances[~of_class])
        assert sorted(words(axes)) == ["a", "b"]
    again = figures.feature_maps(models, ["a", "b"], method=method, retain=30)  # type: ignore[arg-type]
    for first, second in zip(figure.axes, again.axes, strict=True):
        offsets = [axes.collections[0].get_offsets() for axes in (first, second)]
        assert np.array_equal(*offsets)


@pytest.mark.parametrize("name", ["n_iter", "max_iter"])
def test_maps_are_drawn_with_every_supported_scikit_learn(name, monkeypatch) -> None:
    """Version 1.5 renamed the number of iterations."""
    given = {}

    def old(self, perplexity=30, *, init, random_state, n_iter=1000):
        given["iterations"] = n_iter

    def new(self, perplexity=30, *, init, random_state, max_iter=1000):
        given["iterations"] = max_iter

    methods = {
        "__init__": old if name == "n_iter" else new,
        "fit_transform": lambda self, features: features[:, :2],
    }
    monkeypatch.setattr("sklearn.manifold.TSNE", type("TSNE", (), methods))
    features = np.random.default_rng(0).normal(size=(8, 3))
    assert _project(None, features, "tsne", 0).shape == (8, 2)
    assert given["iterations"] == 500
