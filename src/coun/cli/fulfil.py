"""`coun fulfil`: carry out deletion requests, and serve the new model if it passes the gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.registry_folder import open_registry, registry_argument

# Those of `coun.registry`, repeated here because importing it loads torch.
BUDGET, RETAIN_CHANGE = 0.3, 5.0
_gate_option = app.option_on("Gates")


@app.command(
    "fulfil",
    short_help="Fulfil the deletion requests of a registry.",
    help="Fulfil requests of the registry DIR in one batch; without N, all open ones. The cost is "
    "printed first. The new version is served only if it passes the gates; if not, the next "
    "method is tried, and at last a Retrain. Repeat the command after an interruption.\n\n"
    "Exit code 0: fulfilled; 3: no method passed, the old version is served; 4: the registry was "
    "tampered with.",
)
@registry_argument
@click.argument("requests", metavar="[N]...", nargs=-1, type=click.IntRange(min=1))
@click.option(
    "--method",
    default="auto",
    help="Name of a method, see 'coun methods'; auto chooses one by rule.  [default: auto]",
)
@app.set_option
@click.option(
    "--budget",
    type=float,
    default=BUDGET,
    metavar="SHARE",
    help=f"What auto may cost, as a share of a Retrain.  [default: {BUDGET:g}]",
)
@_gate_option(
    "--min-test-accuracy", type=float, metavar="PERCENT", help="Gate on the test accuracy."
)
@_gate_option(
    "--max-remembered",
    type=float,
    metavar="SHARE",
    help="Gate on the share of forgotten rows that the model treats as trained rows, 0 to 1. "
    "Without it, this share only warns.",
)
@_gate_option(
    "--max-retain-change",
    type=float,
    default=RETAIN_CHANGE,
    metavar="POINTS",
    help="Gate on the retain accuracy: how far it may be above what a Retrain is expected to "
    f"have, and twice as far below.  [default: {RETAIN_CHANGE:g}]",
)
@click.option(
    "--retrain",
    "retrains",
    multiple=True,
    metavar="RUN",
    type=app.PATH,
    help="Retrain that saw none of the rows that are then forgotten, for the audit; may be "
    "repeated. Without one, the audit of listed rows is often inconclusive.",
)
@click.option("--no-page", is_flag=True, help="Write no page of the audit beside the certificate.")
@click.option("--data", "source", metavar="SRC", help="Where the data is now, if it was moved.")
@app.trust_option
@app.seed_option
@app.compute_options
@app.json_option
def command(
    folder: Path,
    requests: tuple[int, ...],
    method: str,
    settings: tuple[str, ...],
    budget: float,
    min_test_accuracy: float | None,
    max_remembered: float | None,
    max_retain_change: float,
    retrains: tuple[Path, ...],
    no_page: bool,
    source: str | None,
    trust: bool,
    seed: int,
    as_json: bool,
    **compute: Any,
) -> int:
    values = app.parse_settings(settings)
    result = open_registry(folder, trust=trust).fulfil(
        *requests,
        method=method,
        settings=values,
        budget=budget,
        min_test_accuracy=min_test_accuracy,
        max_remembered=max_remembered,
        max_retain_change=max_retain_change,
        retrains=retrains,
        seed=seed,
        page=not no_page,
        data=source,
        options=app.run_options(**compute),
    )
    if as_json:
        app.emit(result.model_dump(mode="json"))
    else:
        _show(result, folder)
    return app.NEGATIVE if result.result == "FAILED" else 0


def _show(result: Any, folder: Path) -> None:
    from coun.certificates.page import shows_forgetting

    click.echo(f"what the gates found for {result.method}:")
    for check in result.checks:
        value = f": {check.shown}" if check.shown else ""
        interval = f" (90% interval {check.between})" if check.between else ""
        click.echo(f"{check.result:<7} {check.name}{value}{interval}")
    numbers = ", ".join(map(str, result.requests))
    named = f"request {numbers}" if len(result.requests) == 1 else f"requests {numbers}"
    if result.result == "FULFILLED" and not shows_forgetting(result.checks):
        click.echo(
            "none of these tests shows that the rows are forgotten; for a version that never saw "
            f"them: coun registry rollback {folder}, then coun fulfil {folder} --method retrain"
        )
    if result.result == "FAILED":
        click.echo(f"{named}: FAILED; version {result.version} is still served")
        return
    made = "a Retrain" if result.method == "retrain" else f"made by {result.method}"
    click.echo(f"{named}: {result.result}; version {result.version} is served, {made}")
    for path in result.certificates:
        click.echo(f"certificate: {path}")
    if result.next_step:
        click.echo(f"next: {result.next_step}")
