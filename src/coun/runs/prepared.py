"""The out-of-fold predictions of a run: read from its folder, and handed on to later runs.

They are, by row id, what models that had not seen the row predict for it. Their digest is on
record and is checked. A run that starts from one with such a file gets it as well, without the
rows that it forgot.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coun.data import Data, OutOfFold
from coun.errors import CounError
from coun.runs.folder import OUT_OF_FOLD
from coun.runs.record import RunRecord
from coun.runs.start import Start

if TYPE_CHECKING:
    from coun.runs.run import Run


def carried(folder: Path, record: RunRecord, data: Data) -> OutOfFold | None:
    """Read the predictions that the run in *folder* carries; None if it has none.

    Raises: CounError if the file is missing or is not the one on record.
    """
    if record.out_of_fold is None:
        return None
    predictions = OutOfFold.load(folder / OUT_OF_FOLD, data)
    if predictions.digest != record.out_of_fold.sha256:
        raise CounError(
            f"{folder / OUT_OF_FOLD} does not hold the predictions on record; restore it from a "
            "copy, or prepare again with coun prepare --overwrite"
        )
    return predictions


def with_digest_of_predictions(start: Start) -> Start:
    """Put the digest of *start*'s predictions, which the result depends on, into its record."""
    assert start.out_of_fold is not None
    assert start.parent is not None
    digest = {"out_of_fold_sha256": start.out_of_fold.digest}
    return replace(start, parent=start.parent.model_copy(update=digest))


def with_predictions_of(start: Start, run: Run) -> Run:
    """Return *run* with the predictions of *start*, for the next request.

    The predictions of forgotten rows are left out, because they say something of these rows.
    """
    if start.out_of_fold is None or start.out_of_fold_record is None or run.split is None:
        return run
    retained = run.data.train.take(run.split.rows(run.data, "retain"))
    predictions = start.out_of_fold.restricted(retained)
    about = start.out_of_fold_record.model_copy(update={"sha256": predictions.digest})
    record = run.record.model_copy(update={"out_of_fold": about})
    return replace(run, record=record, out_of_fold=predictions)
