"""`table:PATH`: a CSV or parquet file with a column of labels and columns of features."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coun.data.data_set import Data
from coun.data.row_views import TableViews
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.errors import CounError


def read(
    path: Path,
    *,
    label_column: str | None = None,
    id_column: str | None = None,
    drop: str | None = None,
    categorical: str | None = None,
    missing: str | None = None,
    encoding: dict[str, Any] | None = None,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
) -> Data:
    """Read a table whose columns are numbers, truth values or text.

    A column of numbers becomes one input with mean 0 and deviation 1. A column of text becomes
    one input for each of its values in training, in sorted order, of which that of the row is
    1. Means, deviations and values are those of the training rows. They are part of the record
    of a run, so that deleting rows does not change the inputs of others.

    Args:
        path: a CSV file with a header, or a parquet file; or a folder with train.* and test.*.
        label_column: the column of labels, integers or text; by default one called label,
            labels, target, class or y. The classes are its values in training, sorted.
        id_column: the column whose values are the ids of the rows; by default the only one that
            is called id or similar, or is the index of pandas, and has another value in each row.
            Otherwise row numbers are the ids.
        drop: columns to leave out, separated by commas.
        categorical: columns of numbers whose values are categories, separated by commas.
        missing: "refuse" missing values, which is the default, or "fill" them: numbers with
            the mean of the training rows, categories with none of the categories.
        encoding: what an earlier reading found, from the record of a run.
        test_share, test_seed, test_ids: as for `folder:`, for a single file.

    Raises: CounError for a file, a column or a value that cannot be used.
    """
    from coun.data.tabular import features
    from coun.data.tabular.labelled import LabelledTable

    if missing not in (None, "refuse", "fill"):
        raise CounError(f"--missing is {missing}; expected refuse or fill")
    held_out, fill = HeldOut(test_share, test_seed, test_ids), missing == "fill"
    labelled = LabelledTable.read(path, label_column, id_column, held_out, encoding)
    notes = labelled.notes
    if encoding is None:
        training = labelled.table.take(labelled.train_rows)
        others = (labelled.label, labelled.id_columns.column)
        columns, remarks = features.describe(training, others, drop=drop, categorical=categorical)
        classes = list(labelled.classes)
        encoding = {
            "label": labelled.label,
            "classes": classes,
            "ids": labelled.id_columns.column,
            "columns": columns,
        }
        notes += remarks
    columns = encoding["columns"]
    train, test = labelled.parts(partial(features.encode, columns=columns, fill=fill))
    return Data(
        train,
        test,
        labelled.classes,
        TableViews(features.widths(columns)),
        origin={"encoding": encoding},
        one_numbering=labelled.test is None,
        id_columns=labelled.id_columns,
        notes=notes + features.unseen(labelled.tested, columns),
    )


SOURCE = Source("table", read, "rows of a CSV or parquet file, with columns of features")
