"""A complete example on the bundled digits, in a few minutes on two CPU cores."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coun.data import Data, Split, load
from coun.engine.device import one_thread
from coun.engine.progress_bar import ProgressBar
from coun.errors import counted
from coun.files import expanded, refuse_foreign, write_json
from coun.report import Grid, Picture, Row, Section, tabulate, write_report
from coun.report.figures import feature_maps, gaps, prediction_row
from coun.runs import Predictions, Run, evaluate, predictions, train, unlearn

MODEL = "cnn"
DIGIT = "8"
LABELS = {"finetune": "FT", "not": "NoT", "coun": "CoUn"}
FLOOR = "Retrain again"


@dataclass(frozen=True)
class Scenario:
    """What is to be forgotten, and the settings of each method, chosen on seeds 100 and 101."""

    key: str
    title: str
    lead: str
    split: Callable[[Data, int], Split]
    methods: Mapping[str, Mapping[str, Any]]


SCENARIOS = (
    Scenario(
        "random",
        "Forget a random 10%",
        "The digits are easy: a model classifies most samples correctly although it was never "
        "trained on them. So the unlearn accuracy of Retrain itself is near 0, the Original is "
        "nearly as close to Retrain as two Retrains are to each other, and there is little to "
        "forget. A gap below the floor, the gap between two Retrains, is noise.",
        lambda data, seed: Split.random(data, 0.1, seed=seed),
        {
            "finetune": {"lr": 0.1},
            "not": {"lr": 0.1},
            "coun": {"lr": 0.1, "weight": 0.3, "temperature": 0.3},
        },
    ),
    Scenario(
        "class",
        f"Forget the digit {DIGIT}",
        f"Retrain was never trained on an {DIGIT}: for each of them it predicts the digit that it "
        "resembles most. A method is good if it predicts the same digits. The test accuracy and "
        f"the attack leave the {DIGIT} out.",
        lambda data, seed: Split.by_class(data, DIGIT),
        {
            "finetune": {"lr": 0.1, "epochs": 15},
            "not": {"lr": 0.1, "epochs": 15},
            "coun": {"lr": 0.1, "epochs": 15, "weight": 0.5, "temperature": 0.1},
        },
    ),
)


@dataclass
class Outcome:
    """The result of one scenario: the table over all seeds, and the models of the first seed."""

    scenario: Scenario
    rows: list[Row]
    results: dict[str, list[dict[str, Any]]]
    first: dict[str, Run]
    split: Split


def demo(out: str | Path, *, fast: bool = False, progress: bool = False) -> list[Outcome]:
    """Train, unlearn, compare with Retrain over three seeds, and write a report.

    Args:
        out: a folder. `report.html`, `results.json` and the runs of the first seed are
            written to it.
        fast: one seed and a third of the epochs, to see that everything works; the numbers
            mean little.
        progress: show a progress bar on standard error.

    Returns: the outcome of each scenario.
    """
    out, began = expanded(out), time.monotonic()
    refuse_foreign(out, "runs/original/run.json")
    data = load("digits")
    seeds = [0] if fast else [0, 1, 2]
    epochs = 10 if fast else 30
    jobs = len(seeds) * (1 + len(SCENARIOS) * 5)
    outcomes = [Outcome(s, [], {}, {}, s.split(data, 0)) for s in SCENARIOS]
    with one_thread(), ProgressBar("demo", visible=progress) as bar:
        done = 0

        def tick(note: str) -> None:
            nonlocal done
            bar.show(done, jobs, note)
            done += 1

        for seed in seeds:
            tick(f"seed {seed}: Original")
            place = out / "runs" / "original" if seed == 0 else None
            original = train(data, MODEL, seed=seed, epochs=epochs, out=place)
            for outcome in outcomes:
                _forget(outcome, data, original, seed, epochs, out / "runs", tick)
        bar.show(jobs, jobs, "report")
        for outcome in outcomes:
            outcome.rows = tabulate(outcome.results)
        write_json(out / "results.json", {o.scenario.key: o.results for o in outcomes})
        seconds = time.monotonic() - began
        _write(out / "report.html", data, outcomes, len(seeds), epochs, seconds)
    return outcomes


def _forget(
    outcome: Outcome,
    data: Data,
    original: Run,
    seed: int,
    epochs: int,
    folder: Path,
    tick: Callable[[str], None],
) -> None:
    scenario = outcome.scenario
    split = scenario.split(data, seed)
    place = folder / scenario.key

    def out(name: str) -> Path | None:
        return place / name if seed == 0 else None

    tick(f"seed {seed}: Retrain")
    exact = train(data, MODEL, split=split, seed=seed, epochs=epochs, out=out("retrain"))
    runs = {"Original": original, "Retrain": exact}
    tick(f"seed {seed}: a second Retrain")
    runs[FLOOR] = train(data, MODEL, split=split, seed=seed + 1000, epochs=epochs)
    for name, settings in scenario.methods.items():
        tick(f"seed {seed}: {LABELS[name]}")
        runs[LABELS[name]] = unlearn(original, split, name, seed=seed, out=out(name), **settings)
    for name, run in runs.items():
        against = None if name == "Retrain" else exact
        row = evaluate(run, against=against, split=split)
        outcome.results.setdefault(name, []).append(row)
    if seed == 0:
        outcome.first = {name: run for name, run in runs.items() if name != FLOOR}


def _write(
    path: Path, data: Data, outcomes: list[Outcome], seeds: int, epochs: int, seconds: float
) -> None:
    sections = []
    for outcome in outcomes:
        by_model = {
            name: predictions(run.classifier, data, outcome.split)
            for name, run in outcome.first.items()
        }
        floor = next(r for r in outcome.rows if r.name == FLOOR).cells["average_gap"]
        pictures = [
            Picture(
                gaps(outcome.rows, floor.mean),
                f"Mean over {counted(seeds, 'seed')}, with the standard deviation. The dashed line "
                "is the gap between two Retrains of different seeds: a gap below it says nothing.",
            )
        ]
        if outcome.split.forget_class is not None:
            pictures.append(
                Picture(
                    prediction_row(_shares(by_model, len(data.classes)), data.classes),
                    f"The digits that each model predicts for the forgotten {DIGIT}s (seed 0). The "
                    "row of an unlearned model should be like that of Retrain.",
                )
            )
            pictures.append(
                Picture(
                    feature_maps(by_model, data.classes),
                    "Penultimate features by t-SNE (seed 0; one map for each model, cosine "
                    "distance). Small dots: retained samples. Large marks: forgotten samples. "
                    "The colour, and the shape of a large mark, show the predicted class.",
                )
            )
        scenario = outcome.scenario
        settings = "; ".join(
            f"{LABELS[m]}: " + ", ".join(f"{k} {v}" for k, v in s.items())
            for m, s in scenario.methods.items()
        )
        notes = [
            f"Settings, chosen on two other seeds: {settings}. FT, NoT and CoUn never read "
            "a forgotten image."
        ]
        tables = [Grid.of_runs(outcome.rows)]
        sections.append(Section(scenario.title, scenario.lead, tables, pictures, notes))
    write_report(
        path,
        "What a model forgets: CoUn on handwritten digits",
        f"A small convolutional network is trained on {len(data.train):,} digits and must then "
        "forget some of them without being trained again from scratch. Retrain, which is trained "
        "without them, is the exact solution; a method is good if its model is near Retrain.",
        sections,
        f"Made by `coun demo`: {counted(seeds, 'seed')}, {epochs} epochs of training, "
        f"{seconds:.0f} s on {platform.machine()}, {datetime.date.today().isoformat()}.",
    )


def _shares(by_model: Mapping[str, Predictions], classes: int) -> dict[str, np.ndarray]:
    shares = {}
    for name, of_model in by_model.items():
        predicted = of_model.outputs["forget"].logits.argmax(1).numpy()
        shares[name] = 100 * np.bincount(predicted, minlength=classes) / len(predicted)
    return shares
