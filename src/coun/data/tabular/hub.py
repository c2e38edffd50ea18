"""A data set of the Hugging Face Hub, through the `datasets` library (extra `hub`)."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coun.data.image_stack import LONG
from coun.data.tabular.columns import Features
from coun.errors import CounError, first_line


@dataclass(frozen=True)
class HubPart:
    """One part of a `datasets.DatasetDict`, read as Arrow so that no image is decoded twice.

    Args:
        rows: a `datasets.Dataset`.
    """

    rows: Any
    notes: tuple[str, ...] = ()

    def features(self) -> Features:
        """What the columns hold."""
        return {
            name: feature if isinstance(feature, dict) else {}
            for name, feature in self.rows.features.to_dict().items()
        }

    def column(self, name: str) -> pa.ChunkedArray:
        """All values of one column."""
        return self.rows.select_columns([name]).with_format("arrow")[:].column(name)

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]:
        """Values at sorted *rows*, some thousands at a time."""
        arrow = self.rows.select_columns([name]).with_format("arrow")
        for start in range(0, len(rows), LONG):
            yield arrow[rows[start : start + LONG].tolist()].column(name)


def parts(name: str, tests: tuple[str, ...]) -> tuple[HubPart, HubPart]:
    """Load the training and the test part of data set *name* of the Hub.

    Args:
        name: `NAME` or `OWNER/NAME`.
        tests: names of splits that serve as the test part; the first that exists does.

    Raises: CounError without the library `datasets`, for an unknown name, or for other splits.
    """
    try:
        import datasets
    except (ImportError, RuntimeError, OSError):
        raise CounError(
            f"hf: there is no file or folder '{name}', and the Hugging Face Hub needs the "
            f"datasets library: pip install 'coun[hub]'{_below_data_root(name)}"
        ) from None
    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # network, cache, builder: each brings its own kinds
        raise CounError(
            f"hf: there is no file or folder '{name}', and the Hugging Face Hub does not give a "
            f"data set of this name: {first_line(error)}; check the path or the name"
            f"{_below_data_root(name)}"
        ) from None
    test = next((split for split in tests if split in splits), None)
    if "train" not in splits or test is None:
        raise CounError(
            f"hf: '{name}' has the splits {', '.join(splits)}; expected train and one of "
            f"{', '.join(tests)}"
        )
    return HubPart(splits["train"]), HubPart(splits[test])


def _below_data_root(name: str) -> str:
    """Name the folder of the benches that is called like *name*; empty if there is none."""
    root = os.environ.get("COUN_DATA")
    if not root or not os.path.isdir(root):
        return ""
    wanted = "".join(filter(str.isalnum, name.lower()))
    for folder in sorted(Path(root).iterdir()):
        if folder.is_dir() and "".join(filter(str.isalnum, folder.name.lower())) == wanted:
            return f", or take --data {shlex.quote(f'hf:{folder}')}"
    return ""
