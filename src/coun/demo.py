"""The whole job on the bundled digits, in a few minutes on two CPU cores."""

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
from coun.files import write_json
from coun.report import Grid, Picture, Row, Section, tabulate, write_report
from coun.report.figures import feature_maps, gaps, prediction_row
from coun.runs import Predictions, Run, evaluate, predictions, train, unlearn

MODEL = "cnn"
DIGIT = "8"
LABELS = {"finetune": "FT", "not": "NoT", "coun": "CoUn"}
FLOOR = "Retrain again"


@dataclass(frozen=True)
class Scenario:
    """What to forget, and the settings of each method, chosen on seeds 100 and 101."""

    key: str
    title: str
    lead: str
    split: Callable[[Data, int], Split]
    methods: Mapping[str, Mapping[str, Any]]


SCENARIOS = (
    Scenario(
        "random",
        "Forget a random 10%",
        "The digits are easy: a model that never saw a sample still reads it, so Retrain's own "
        "unlearn accuracy is near 0, the Original is nearly as close to Retrain as two Retrains "
        "are to each other, and there is little to forget. A gap below that floor is noise.",
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
        f"Retrain has never seen an {DIGIT}: it calls each the digit that it most resembles. A "
        "method is good if it sends them to the same places. The test accuracy and the attack "
        f"leave the {DIGIT} out.",
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
    """One scenario over seeds: the table, and the models of the first seed."""

    scenario: Scenario
    rows: list[Row]
    results: dict[str, list[dict[str, Any]]]
    first: dict[str, Run]
    split: Split


def demo(out: str | Path, *, fast: bool = False, progress: bool = False) -> list[Outcome]:
    """Train, forget, compare with Retrain over three seeds; write `report.html` in *out*.

    Args:
        fast: one seed and a third of the epochs, to see the machinery work; numbers mean little.

    Returns: the outcome of each scenario. Also written: `results.json`, and the runs of the
        first seed as run folders.
    """
    out, began = Path(out), time.monotonic()
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
        row["cost_ratio"] = run.record["cost"]["seconds"] / exact.record["cost"]["seconds"]
        outcome.results.setdefault(name, []).append(row)
    if seed == 0:
        outcome.first = {name: run for name, run in runs.items() if name != FLOOR}


def _write(
    path: Path, data: Data, outcomes: list[Outcome], seeds: int, epochs: int, seconds: float
) -> None:
    sections = []
    for outcome in outcomes:
        found = {
            name: predictions(run.classifier, data, outcome.split)
            for name, run in outcome.first.items()
        }
        floor = next(r for r in outcome.rows if r.name == FLOOR).cells["average_gap"]
        pictures = [
            Picture(
                gaps(outcome.rows, floor.mean),
                f"Mean over {seeds} seed(s), with the standard deviation. The dashed line is the "
                "gap between two Retrains: nothing can be told from Retrain below it.",
            )
        ]
        if outcome.split.forget_class is not None:
            pictures.append(
                Picture(
                    prediction_row(_shares(found, len(data.classes)), data.classes),
                    f"Where each model sends the forgotten {DIGIT}s (seed 0). An unlearned model "
                    "should look like Retrain's row.",
                )
            )
            pictures.append(
                Picture(
                    feature_maps(found, data.classes),
                    "Penultimate features by t-SNE (seed 0; a map per model, cosine distance). "
                    "Small dots: retained samples. Large marks: forgotten samples. Colour, and "
                    "the shape of a large mark, are the class the model now predicts.",
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
        f"A small convolutional net learns {len(data.train):,} digits, then must forget some of "
        "them without being trained again from scratch. Retrain is the exact answer; every "
        "method is judged by how near it comes.",
        sections,
        f"Made by `coun demo`: {seeds} seed(s), {epochs} epochs of training, {seconds:.0f} s on "
        f"{platform.machine()}, {datetime.date.today().isoformat()}.",
    )


def _shares(found: Mapping[str, Predictions], classes: int) -> dict[str, np.ndarray]:
    shares = {}
    for name, one in found.items():
        predicted = one.outputs["forget"].logits.argmax(1).numpy()
        shares[name] = 100 * np.bincount(predicted, minlength=classes) / len(predicted)
    return shares
