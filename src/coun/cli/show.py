"""A run's result, as a table or as JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from coun.cli import app
from coun.engine.process_group import ProcessGroup
from coun.metrics import Metric, catalogue
from coun.runs import Run, evaluate


def finish(run: Run, *, as_json: bool) -> None:
    """Measure what was just trained and print it; of several processes the first does."""
    if ProcessGroup.current().is_main:
        result(run, evaluate(run, progress=True), as_json=as_json)


def result(run: Run, metrics: dict[str, Any], *, as_json: bool) -> None:
    """Print what *run* is, what it cost and how it measures."""
    if as_json:
        app.emit({"run": str(run.folder) if run.folder else None, **_brief(run), **metrics})
        return
    record, cost = run.record, run.record.cost
    where = f" in {run.folder}" if run.folder else ""
    app.console.print(f"[bold]{record.kind}[/] by {record.method.name}{where}", highlight=False)
    if run.split is not None:
        parts = f"{len(run.split.forget):,} rows to forget, {len(run.split.retain):,} to retain"
    else:
        parts = f"{len(run.data.train):,} training rows, nothing to forget"
    app.console.print(
        f"{parts}\n{cost.seconds:.1f} s, {cost.flops / 1e12:,.2f} TFLOP, "
        f"{cost.samples_seen:,} images seen, peak {cost.peak_memory_mib:,.0f} MiB",
        highlight=False,
    )
    if record.preparation_cost is not None:
        preparation = record.preparation_cost
        app.console.print(
            f"before the request: {preparation.seconds:.1f} s, "
            f"{preparation.flops / 1e12:,.2f} TFLOP",
            highlight=False,
        )
    table = Table("metric", "unit")
    table.add_column("this model", justify="right")
    exact = metrics.get("retrain")
    if exact:
        table.add_column("Retrain", justify="right")
        table.add_column("difference", justify="right")
    for name, metric in catalogue().items():
        if isinstance(metrics.get(name), float):
            table.add_row(*_cells(metric, metrics[name], exact))
    app.console.print(table)
    for name, reason in metrics.get("metrics_left_out", {}).items():
        app.console.print(f"Left out: metric {name}: {reason}", highlight=False)
    if exact:
        gap = metrics["average_gap"]
        app.console.print(
            f"Average gap to Retrain: [bold]{gap:.2f}[/] points. One pair of runs; two Retrains "
            "of different seeds lie apart as well, so compare with that floor.",
            highlight=False,
        )

    if record.profile:
        app.console.print(_profile(record.profile, cost.seconds))


def _cells(metric: Metric, value: float, exact: dict[str, float] | None) -> list[str]:
    """Write one row of the table: the value, and against a Retrain its value and the difference."""
    title = metric.title if metric.label in metric.title else f"{metric.title} ({metric.label})"
    cells = [title, metric.unit, f"{value:.{metric.digits}f}"]
    if exact is None:
        return cells
    if metric.name not in exact:
        return [*cells, "", ""]
    other = exact[metric.name]
    return [*cells, f"{other:.{metric.digits}f}", f"{value - other:+.{metric.digits}f}"]


def _profile(parts: dict[str, float], total: float) -> Table:
    """Seconds by part of the training loop, longest first, and what no part covers."""
    table = Table("where the time went", "s", "%")
    for column in table.columns[1:]:
        column.justify = "right"
    rest = max(0.0, total - sum(parts.values()))
    for name, seconds in sorted({**parts, "the rest": rest}.items(), key=lambda x: -x[1]):
        table.add_row(name, f"{seconds:.2f}", f"{100 * seconds / max(total, 1e-9):.1f}")
    return table


def _brief(run: Run) -> dict[str, Any]:
    keys = (
        "kind",
        "method",
        "seed",
        "model",
        "cost",
        "preparation_cost",
        "profile",
        "weights_sha256",
    )
    return {key: run.record[key] for key in keys if key in run.record}
