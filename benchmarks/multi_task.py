"""Forget rows for one task, rows for all tasks, or a whole task: what happens to other tasks.

The workload has three tasks on the same images: class, kind (vehicle or animal) and rotation.
Results are kept seed by seed, so a command that was interrupted continues.
docs/results/multi-task.md has the tables.

    python benchmarks/multi_task.py --data hf:data/cifar10 --out runs/multi-task
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from wrapped import wrapped

import coun
from coun.engine.device import keep_freed_memory
from coun.files import read_json, write_json, write_text
from coun.multitask import (
    InterferenceAware,
    MultiTaskData,
    MultiTaskRun,
    TaskRequest,
    measure,
    three_tasks,
    train,
    unlearn,
    unlearning_impact_score,
)
from coun.multitask.measures import task_gap
from coun.multitask.workload import VEHICLES
from coun.report import Cell

METHODS = ("finetune", "gradient_difference", "interference_aware")
FLOOR = 1000  # added to the seed of the second Retrain
PAGE = Path(__file__).parents[1] / "docs" / "results" / "multi-task.md"
CONCLUSION = "\n## What to make of it\n"
HEAD = """# Forgetting for some tasks and not for others

The paper on interference-aware multi-task unlearning (arXiv 2605.19042) says that tasks on one
backbone interfere: what makes one task forget harms the others, and projections of the gradients
prevent this. `coun.multitask` is a reconstruction of it ([docs/multi-task.md](../multi-task.md)).
This page asks, for three requests, **whether the tasks that stay keep their accuracy within the
floor of two Retrains, and whether plain fine-tuning does not**.

**This is not confirmed, neither on digits nor on CIFAR-10: no method harms the tasks that stay,
plain fine-tuning included** ([why](#what-to-make-of-it)).

## How it was measured

    {command}

{rows:,} images of {data} with three tasks: class, kind (some classes against the others) and
rotation by a multiple of 90 degrees; model `{model}`, {size}x{size} pixels, {epochs} epochs, and
{short} for unlearning. Nothing was tuned. "gap" is the mean distance to the Retrain of the same
seed over the measures that a task has, in points; "TA" is test accuracy in percent; UIS is the
mean over the tasks that are forgotten, and 0 is its ideal; cost is operations divided by those of
the Retrain. Each is the mean ± the standard deviation over {seeds} seeds. `gradient_difference`
is the method without its projections.

## Results
"""


def requests(workload: MultiTaskData, seed: int) -> dict[str, TaskRequest]:
    """The three requests: rows for one task, rows for all tasks, and all rows for one task."""
    rows = coun.Split.random(workload.data, 0.1, seed=seed).forget
    return {
        "10% of the rows, task class": TaskRequest(rows, ("class",)),
        "10% of the rows, all tasks": TaskRequest(rows, workload.tasks.names),
        "the whole task rotation": TaskRequest(workload.data.train.numbers, ("rotation",)),
    }


def results_of_seed(
    workload: MultiTaskData, model: str, seed: int, epochs: int, how: InterferenceAware
) -> dict[str, Any]:
    """Train and unlearn everything that one seed needs, and measure it."""
    recipe = {"epochs": epochs, "batch_size": 32, "lr": 0.1}
    original = train(workload, model, seed=seed, **recipe)
    results: dict[str, Any] = {}
    for title, request in requests(workload, seed).items():
        runs: dict[str, MultiTaskRun] = {
            "Original": original,
            "Retrain": train(workload, model, request=request, seed=seed, **recipe),
            "Retrain again": train(workload, model, request=request, seed=seed + FLOOR, **recipe),
        }
        for method in METHODS:
            runs[method] = unlearn(
                *(original, request, method),
                seed=seed,
                epochs=max(1, epochs // 4),
                batch_size=32,
                settings=how,
            )
        cost = runs["Retrain"].cost.flops
        results[title] = {
            name: {"cost": run.cost.flops / cost, "tasks": measure(run, request)}
            for name, run in runs.items()
        }
    return results


def summarised(results: dict[str, dict[str, Any]]) -> str:
    """Tables in Markdown: for every request the gap of every task, and UIS where rows go."""
    lines = []
    seeds = list(results.values())
    for title in seeds[0]:
        tasks = list(seeds[0][title]["Retrain"]["tasks"])
        header = ["", *(f"{task}: gap" for task in tasks), *(f"{task}: TA" for task in tasks)]
        lines += ["", f"### {title}", ""]
        lines += [
            "| " + " | ".join([*header, "UIS", "cost"]) + " |",
            "|---" + "|---:" * (len(header) + 1) + "|",
        ]
        for name in seeds[0][title]:
            cells = [name]
            gaps = {task: [_gap(seed[title], name, task) for seed in seeds] for task in tasks}
            tests = {
                task: [seed[title][name]["tasks"][task]["test_accuracy"] for seed in seeds]
                for task in tasks
            }
            cells += [Cell.of(gaps[task]).text() if name != "Retrain" else "0" for task in tasks]
            cells += [Cell.of(tests[task]).text(1) for task in tasks]
            scores = [_uis(seed[title], name) for seed in seeds]
            measured = [s for s in scores if s is not None]
            cells.append(Cell.of(measured).text(3) if measured else "")
            cells.append(f"{statistics.fmean(seed[title][name]['cost'] for seed in seeds):.2f}")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def verdict(results: dict[str, dict[str, Any]]) -> str:
    """A table of how the tasks that stay differ from Retrain in test accuracy, by request."""
    seeds = list(results.values())
    names = ["Retrain again", "Original", *METHODS]
    lines = [
        "",
        "## Do the tasks that stay keep their accuracy?",
        "",
        "Test accuracy minus that of the Retrain of the same seed, in points: the mean over seeds, "
        "and in brackets the mean of the absolute values. That of the second Retrain is the floor.",
        "",
        f"| request | task | {' | '.join(names)} | within the floor |",
        "|---" * 2 + "|---:" * len(names) + "|---|",
    ]
    for title in seeds[0]:
        tasks = seeds[0][title]["Retrain"]["tasks"]
        for task in [task for task, values in tasks.items() if "unlearn_accuracy" not in values]:
            differences = {
                name: [
                    _test(seed[title], name, task) - _test(seed[title], "Retrain", task)
                    for seed in seeds
                ]
                for name in names
            }
            sizes = {
                name: statistics.fmean(map(abs, values)) for name, values in differences.items()
            }
            cells = [
                f"{statistics.fmean(differences[name]):+.1f} ({sizes[name]:.1f})" for name in names
            ]
            within = [name for name in METHODS if sizes[name] <= sizes["Retrain again"]]
            lines.append(
                f"| {title} | {task} | {' | '.join(cells)} | {', '.join(within) or 'none'} |"
            )
    return "\n".join(lines) + "\n"


def _test(results: dict[str, Any], name: str, task: str) -> float:
    accuracy: float = results[name]["tasks"][task]["test_accuracy"]
    return accuracy


def kept_conclusion(path: Path) -> str:
    """The last section of the page, which people write."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return "".join(text.partition(CONCLUSION)[1:])


def _gap(results: dict[str, Any], name: str, task: str) -> float:
    return task_gap(results[name]["tasks"][task], results["Retrain"]["tasks"][task])


def _uis(results: dict[str, Any], name: str) -> float | None:
    """The mean UIS over the tasks that are forgotten."""
    scores = [
        unlearning_impact_score(
            results["Original"]["tasks"][task]["test_accuracy"],
            values["test_accuracy"],
            100 - values["unlearn_accuracy"],
        )
        for task, values in results[name]["tasks"].items()
        if "unlearn_accuracy" in values
    ]
    return statistics.fmean(scores) if scores else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="hf:data/cifar10", help="CIFAR-10, or data like it.")
    parser.add_argument("--rows", type=int, default=1000, help="Training rows.")
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--size", type=int, default=16, help="Pixels that images are scaled to.")
    parser.add_argument(
        "--vehicles", nargs="+", default=sorted(VEHICLES), help="Classes of kind 1."
    )
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3, help="Number of seeds, from 0.")
    parser.add_argument(
        "--fresh-heads",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Draw the head of a task that no row serves any more anew.",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/multi-task"))
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    data = coun.load(given.data, limit=given.rows, test_limit=given.test_rows)
    workload = three_tasks(data, vehicles=frozenset(given.vehicles))
    views = replace(workload.data.views, size=(given.size, given.size))
    workload = MultiTaskData(replace(workload.data, views=views), workload.tasks)
    results = {}
    for seed in range(given.seeds):
        path = given.out / f"seed-{seed}.json"
        if not path.exists():
            how = InterferenceAware(fresh_heads=given.fresh_heads)
            write_json(path, results_of_seed(workload, given.model, seed, given.epochs, how))
        results[str(seed)] = read_json(path)
    source = given.data.rpartition("/")[2]
    options = f"--data {given.data if given.data == source else f'hf:data/{source}'}"
    for name in ("rows", "test_rows", "size", "epochs", "seeds"):
        options += f" --{name.replace('_', '-')} {getattr(given, name)}"
    if set(given.vehicles) != VEHICLES:
        options += f" --vehicles {' '.join(given.vehicles)}"
    if not given.fresh_heads:
        options += " --no-fresh-heads"
    head = HEAD.format(
        command=f"python benchmarks/multi_task.py {options}",
        rows=given.rows,
        data=source,
        model=given.model,
        size=given.size,
        epochs=given.epochs,
        short=max(1, given.epochs // 4),
        seeds=len(results),
    )
    tables = summarised(results) + verdict(results)
    write_text(given.page, wrapped(head + tables + kept_conclusion(given.page)))


if __name__ == "__main__":
    main()
