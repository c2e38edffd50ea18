"""`tokens:PATH`: texts as token ids, in parquet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coun.data.data_set import Data
from coun.data.row_views import TokenViews
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.data.tokens import vocabulary_of


def read(
    path: Path,
    *,
    label_column: str | None = None,
    id_column: str | None = None,
    length: int | None = None,
    encoding: dict[str, Any] | None = None,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
) -> Data:
    """Read texts that a tokenizer has turned into lists of token ids.

    The columns are those of a Hugging Face tokenizer: `input_ids`, and optionally
    `attention_mask`, which is 0 where a token is padding. Shorter texts are padded, longer ones
    cut at the end.

    Args:
        path: a parquet file, or a folder with train.parquet and test.parquet.
        label_column: the column of labels, integers or text; by default one called label,
            labels, target, class or y.
        id_column: the column whose values are the ids of the rows; by default as for `table:`.
        length: the number of tokens to keep of each text; by default that of the longest
            training text, 512 at most.
        encoding: what an earlier reading found, from the record of a run.
        test_share, test_seed, test_ids: as for `folder:`, for a single file.

    Raises: CounError for a file, a column or a value that cannot be used.
    """
    from coun.data.tabular import token_lists
    from coun.data.tabular.labelled import LabelledTable

    held_out = HeldOut(test_share, test_seed, test_ids)
    labelled = LabelledTable.read(path, label_column, id_column, held_out, encoding)
    length = encoding["length"] if encoding else length
    if length is None:
        training = labelled.table.take(labelled.train_rows)
        length = min(token_lists.longest(training), token_lists.LONGEST)
    train, test = labelled.parts(partial(token_lists.encode, length=length))
    vocabulary = encoding["vocabulary"] if encoding else vocabulary_of(train, test)
    recorded = {
        "label": labelled.label,
        "classes": list(labelled.classes),
        "ids": labelled.id_columns.column,
        "length": length,
        "vocabulary": vocabulary,
    }
    return Data(
        train,
        test,
        labelled.classes,
        TokenViews(),
        origin={"encoding": recorded},
        one_numbering=labelled.test is None,
        id_columns=labelled.id_columns,
        notes=labelled.notes + token_lists.cut(labelled.table, length),
        vocabulary=vocabulary,
    )


SOURCE = Source("tokens", read, "texts as token ids: parquet with lists called input_ids")
