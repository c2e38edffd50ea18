"""A run's result, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from coun.cli import app
from coun.engine.process_group import ProcessGroup
from coun.errors import counted
from coun.metrics import Metric, catalogue
from coun.runs import Run, evaluate
from coun.runs.cost import operations


def finish(run: Run, *, as_json: bool) -> None:
    """Measure what was just trained and print it; of several processes the first does."""
    if ProcessGroup.current().is_main:
        result(run, evaluate(run, progress=True), as_json=as_json)


def result(
    run: Run, metrics: dict[str, Any], further: Sequence[Metric] = (), *, as_json: bool
) -> None:
    """Print what *run* is, what it cost and how it measures.

    Args: further: metrics that are not in the catalogue.
    """
    for warning in metrics.get("warnings", []):
        click.echo(f"coun: warning: {warning}", err=True)
    if as_json:
        app.emit({"run": str(run.folder) if run.folder else None, **_brief(run), **metrics})
        return
    for line in _description(run):
        app.console.print(line, highlight=False)
    columns = {"after" if "start" in metrics else "this model": metrics}
    differences = {}
    if "start" in metrics:
        columns = {"before": metrics["start"]["metrics"], **columns}
        differences["change"] = metrics["start"]["metrics"]
    if exact := metrics.get("retrain"):
        columns["Retrain"] = differences["from Retrain"] = exact
    if floor := metrics.get("floor"):
        columns["floor"] = floor
    table = app.table("metric")
    for heading in (*columns, *differences):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, metric in (catalogue() | {m.name: m for m in further}).items():
        if isinstance(metrics.get(name), float):
            values = [other.get(name) for other in columns.values()]
            changes = [
                metrics[name] - other[name] if name in other else None
                for other in differences.values()
            ]
            title = metric.title
            title += "" if metric.label in title else f" ({metric.label})"
            cells = [_number(x, f".{metric.digits}f") for x in values]
            cells += [_number(x, f"+.{metric.digits}f") for x in changes]
            table.add_row(title + (f", {metric.unit}" if metric.unit else ""), *cells)
    app.console.print(table)
    for name, reason in metrics.get("not_measured", {}).items():
        app.console.print(f"{name}: {reason}", highlight=False)
    for name, reason in metrics.get("metrics_left_out", {}).items():
        app.console.print(f"Left out: metric {name}: {reason}", highlight=False)
    if (gap := metrics.get("average_gap")) is not None:
        floor_gap = (metrics.get("floor") or {}).get("average_gap")
        compared = (
            "with one Retrain. Another Retrain, given by --against as well, shows the floor"
            if floor_gap is None
            else "in the mean over the Retrains. The floor, their distance, is "
            f"{floor_gap:.2f} points"
        )
        app.console.print(f"Average gap to Retrain: {gap:.2f} points, {compared}.", highlight=False)
    if run.record.profile:
        app.console.print(_profile(run.record.profile, run.record.cost.seconds))


def _description(run: Run) -> list[str]:
    """Say in a few lines what *run* is, what it forgot and what it cost."""
    record, cost, split = run.record, run.record.cost, run.split
    where = f" in {run.folder}" if run.folder else ""
    if record.kind == "given" and split is None:
        return [f"weights of another program{where}"]
    made = {"original": "the Original", "retrain": "a Retrain"}.get(record.kind)
    lines = [f"{made or f'{record.kind} by {record.method.name}'}{where}"]
    if split is None:
        lines.append(f"{len(run.data.train):,} training rows, nothing to forget")
    else:
        before = f" ({len(split.new):,} new, {len(split.earlier):,} before)"
        rows = f"{len(split.forget):,} rows to forget" + before * bool(len(split.earlier))
        lines.append(f"{rows}, {len(split.retain):,} to retain")
    if record.kind == "given":
        return lines
    share = record.retrain_share
    lines.append(
        f"{cost.seconds:.1f} s, {operations(cost.flops)}, {cost.samples_seen:,} "
        f"{run.data.noun}s seen, peak {cost.peak_memory_mib:,.0f} MiB"
        + (f", expected to cost {share:.2f} of a Retrain" if share is not None else "")
    )
    if cost.bytes_sent:
        lines.append(f"{cost.bytes_sent / 2**20:,.1f} MiB sent between server and clients")
    if record.preparation_cost is not None:
        preparation = record.preparation_cost
        flops = operations(preparation.flops)
        lines.append(f"before the request: {preparation.seconds:.1f} s, {flops}")
    if record.kind == "original" and record.out_of_fold is not None:
        lines.append(predictions_made(run))
    return lines


def predictions_made(run: Run) -> str:
    """Say how many out-of-fold predictions *run* has, and what they cost."""
    record = run.record.out_of_fold
    assert record is not None
    assert run.out_of_fold is not None
    number = counted(record.repeats, "out-of-fold prediction")
    line = f"{len(run.out_of_fold.ids):,} rows have {number} each"
    if record.folds is None:
        return f"{line}, read from a file"
    return f"{line}, made in {record.cost.seconds:.1f} s, {operations(record.cost.flops)}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _profile(parts: dict[str, float], total: float) -> Table:
    """Seconds by part of the training loop, longest first, and what no part covers."""
    table = Table("where the time went", "s", "%", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    rest = max(0.0, total - sum(parts.values()))
    for name, seconds in sorted({**parts, "the rest": rest}.items(), key=lambda x: -x[1]):
        table.add_row(name, f"{seconds:.2f}", f"{100 * seconds / max(total, 1e-9):.1f}")
    return table


def _brief(run: Run) -> dict[str, Any]:
    keys = (
        *("kind", "method", "seed", "model", "cost", "preparation_cost", "retrain_share"),
        *("profile", "weights_sha256"),
    )
    return {key: run.record[key] for key in keys if key in run.record}
