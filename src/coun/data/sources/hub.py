"""A data set of the Hugging Face Hub, through the `datasets` library (extra `hub`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from coun.data.checks import first_line
from coun.data.images import LONG
from coun.data.sources.columns import Features
from coun.errors import CounError


@dataclass(frozen=True)
class HubPart:
    """One part of a `datasets.DatasetDict`, read as Arrow: nothing is decoded twice."""

    rows: Any  # a datasets.Dataset

    def features(self) -> Features:
        return {
            name: feature if isinstance(feature, dict) else {}
            for name, feature in self.rows.features.to_dict().items()
        }

    def column(self, name: str) -> pa.ChunkedArray:
        return self.rows.select_columns([name]).with_format("arrow")[:].column(name)

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]:
        arrow = self.rows.select_columns([name]).with_format("arrow")
        for start in range(0, len(rows), LONG):
            yield arrow[rows[start : start + LONG].tolist()].column(name)


def parts(name: str, tests: tuple[str, ...]) -> tuple[HubPart, HubPart]:
    """Training and test part of the Hub's *name*; *tests* are the test splits, best first."""
    try:
        import datasets
    except (ImportError, RuntimeError, OSError):
        raise CounError(
            f"hf: there is no local '{name}', and to look for it on the Hugging Face Hub takes "
            "the datasets library: pip install 'coun[hub]'"
        ) from None
    try:
        found = datasets.load_dataset(name)
    except Exception as error:  # network, cache, builder: each brings its own kinds
        raise CounError(f"hf: cannot load '{name}' from the Hub: {first_line(error)}") from None
    test = next((split for split in tests if split in found), None)
    if "train" not in found or test is None:
        raise CounError(
            f"hf: '{name}' has the splits {', '.join(found)}; expected train and one of "
            f"{', '.join(tests)}"
        )
    return HubPart(found["train"]), HubPart(found[test])
