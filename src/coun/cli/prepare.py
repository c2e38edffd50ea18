"""`coun prepare`: predictions by models that had not seen the rows, before any request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from coun.cli import app
from coun.errors import CounError

if TYPE_CHECKING:
    from coun.data import Data
    from coun.runs import Options, Run

F = TypeVar("F", bound=Callable[..., Any])

FOLDS, REPEATS = 4, 2  # those of `coun.prepare`, repeated here because importing it loads torch


@dataclass(frozen=True)
class FoldOptions:
    """The options of cross-validation, as they were given."""

    folds: int | None
    repeats: int | None
    epochs: int | None
    groups: Path | None

    def __bool__(self) -> bool:
        """Tell whether any of them was given."""
        return any(value is not None for value in vars(self).values())

    def check(self, data: Data) -> None:
        """Refuse folds that the rows of *data* cannot fill, before a model is trained on them."""
        import torch

        from coun.runs.preparation import units_to_divide

        rows = torch.arange(len(data.train))
        units_to_divide(data, rows, self.folds or FOLDS, self._owners())

    def prepare(self, run: Run, seed: int, options: Options, *, overwrite: bool = False) -> Run:
        """Make the predictions of *run* by cross-validation."""
        from coun.runs import prepare

        return prepare(
            run,
            folds=FOLDS if self.folds is None else self.folds,
            repeats=REPEATS if self.repeats is None else self.repeats,
            epochs=self.epochs,
            groups=self._owners(),
            seed=seed,
            overwrite=overwrite,
            options=options,
        )

    def _owners(self) -> dict[str, str] | None:
        from coun.audit.owners import read_owners

        return read_owners(self.groups) if self.groups else None


def fold_options(topic: str = app.FIRST_TOPIC) -> Callable[[F], F]:
    """Add the options of cross-validation; the command gets them as `folds`.

    Args: topic: the heading under which help lists them.
    """
    option = app.option_on(topic)
    options = app.options(
        option(
            "--folds",
            type=click.IntRange(min=2),
            metavar="K",
            help="Prepare for requests of rows: train K models, each without one Kth of the rows, "
            "and keep what each predicts for the rows that it has not seen.  "
            f"[coun prepare: {FOLDS}]",
        ),
        option(
            "--repeats",
            type=click.IntRange(min=1),
            metavar="R",
            help=f"Divide the rows R times, and average the predictions.  [default: {REPEATS}]",
        ),
        option(
            "--fold-epochs",
            type=click.IntRange(min=1),
            help="Epochs of each model of a fold.  [default: half of the model's]",
        ),
        option(
            "--groups",
            type=app.PATH,
            metavar="FILE",
            help="A csv file with id,owner: rows of one owner (a customer) stay in one fold.",
        ),
    )

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, **values: Any) -> Any:
            names = ("folds", "repeats", "fold_epochs", "groups")
            folds = FoldOptions(*(values.pop(name) for name in names))
            return function(*args, folds=folds, **values)

        return options(cast(F, command))

    return decorate


@app.command(
    "prepare",
    short_help="Prepare a run for later requests to forget rows.",
    help="Prepare the run in DIR for requests to forget rows with --method out_of_fold: by "
    "cross-validation, or with predictions of your own (--from). The run folder keeps the "
    "predictions, and every run that starts from it does so, too. Repeated, the command continues "
    "where it was interrupted, and does nothing where it is finished.",
)
@click.argument("folder", metavar="DIR", type=app.PATH)
@fold_options()
@click.option(
    "--from",
    "predictions",
    type=app.PATH,
    metavar="FILE",
    help="An npz file with your own out-of-fold predictions: 'probabilities' or "
    "'log_probabilities', (rows, classes) or (repeats, rows, classes), and where the rows are "
    "not in the order of the data 'ids'.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace predictions that the run carries and that are damaged or made in another way.",
)
@app.seed_option
@click.option("--data", "source", metavar="SRC", help="Where the data is now, if it was moved.")
@app.trust_option
@app.compute_options
@app.json_option
def command(
    folder: Path,
    predictions: Path | None,
    folds: FoldOptions,
    overwrite: bool,
    seed: int,
    source: str | None,
    trust: bool,
    as_json: bool,
    **compute: Any,
) -> None:
    from coun.cli import show
    from coun.runs import Run, prepare

    if predictions is not None and folds:
        raise CounError("--from takes predictions that exist; leave the options of folds out")
    options = app.run_options(**compute)
    run = Run.open(folder, data=source, predictions=not overwrite, trust=trust)
    if predictions is not None:
        run = prepare(run, predictions=predictions, overwrite=overwrite, options=options)
    else:
        run = folds.prepare(run, seed, options, overwrite=overwrite)
    record = run.record.out_of_fold
    assert record is not None
    if as_json:
        app.emit({"run": str(folder), "out_of_fold": record.to_json()})
        return
    app.console.print(show.predictions_made(run), highlight=False)
