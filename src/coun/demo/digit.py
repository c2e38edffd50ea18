"""The second part: a whole digit is forgotten, and a map shows where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coun.data import Split, load
from coun.engine.device import threads
from coun.report import Row, tabulate
from coun.report.figures import feature_maps, prediction_row
from coun.report.figures.maps import Projection
from coun.report.picture import Picture
from coun.runs import Predictions, Run, SharedOutputs, evaluate, predictions, train, unlearn

MODEL = "cnn"
DIGIT = "8"
EPOCHS = 30
LABELS = {"finetune": "FT", "not": "NoT", "coun": "CoUn"}
FLOOR = "Retrain again"
# Chosen on seeds 100 and 101: docs/results/digits-settings.md.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "finetune": {"lr": 0.1, "epochs": 15},
    "not": {"lr": 0.1, "epochs": 15},
    "coun": {"lr": 0.1, "epochs": 15, "weight": 0.5, "temperature": 0.1},
}


@dataclass(frozen=True)
class ForgottenDigit:
    """How several methods forget a digit.

    Attributes:
        rows: a table row for each model.
        results: by model what `coun.evaluate` returned.
        shares: by model the percent of forgotten rows that it gives to each class.
        projection: how the map was made; "tsne", or "pca", which takes no time.
        share_picture, map_picture: PNGs in text form.
    """

    rows: tuple[Row, ...]
    results: dict[str, dict[str, Any]]
    shares: dict[str, list[float]]
    projection: Projection
    share_picture: str
    map_picture: str


def tell(folder: Path, *, fast: bool, tick: Callable[[str], None]) -> ForgottenDigit:
    """Train, forget the digit by each method, and compare with Retrain.

    Args:
        folder: for the runs. A repeated call continues.
        fast: few epochs.
        tick: is called with a note before each step.
    """
    data = load("digits")
    split = Split.by_class(data, DIGIT)
    epochs = 2 if fast else EPOCHS
    with threads(1):
        tick("the digits, correctly labelled")
        original = train(data, MODEL, seed=0, epochs=epochs, out=folder / "original")
        tick(f"Retrain without the digit {DIGIT}")
        exact = train(data, MODEL, split=split, seed=0, epochs=epochs, out=folder / "retrain")
        tick("a second Retrain, for the floor")
        again = train(data, MODEL, split=split, seed=1000, epochs=epochs)
        runs: dict[str, Run] = {"Original": original, "Retrain": exact, FLOOR: again}
        for name, settings in METHODS.items():
            tick(f"{LABELS[name]} forgets the digit {DIGIT}")
            chosen = {**settings, "epochs": 1} if fast else settings
            out = folder / name
            runs[LABELS[name]] = unlearn(original, split, name, seed=0, out=out, **chosen)
        tick("map of features")
        projection: Projection = "pca" if fast else "tsne"
        shared = SharedOutputs()
        results = {
            name: evaluate(run, against=None if run is exact else exact, split=split, shared=shared)
            for name, run in runs.items()
        }
        shown = {
            name: predictions(run.classifier, data, split, shared=shared)
            for name, run in runs.items()
            if name != FLOOR
        }
        shares = {name: _shares(of_model, len(data.classes)) for name, of_model in shown.items()}
        return ForgottenDigit(
            tuple(tabulate({name: [result] for name, result in results.items()})),
            results,
            {name: values.tolist() for name, values in shares.items()},
            projection,
            Picture(prediction_row(shares, data.classes), "").data,
            Picture(feature_maps(shown, data.classes, method=projection), "").data,
        )


def _shares(of_model: Predictions, classes: int) -> np.ndarray:
    predicted = of_model.outputs["forget"].logits.argmax(1).numpy()
    return np.asarray(100 * np.bincount(predicted, minlength=classes) / len(predicted))
