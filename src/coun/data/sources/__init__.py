"""Data sources by one spelling, `KIND` or `KIND:PATH`, the same in Python and on the command line.

digits                  scikit-learn's bundled 8x8 digits
hf:PATH_OR_NAME         parquet with Hugging Face columns, or a data set of the Hub
folder:PATH             one folder per class
tiny-imagenet:PATH      the official Tiny ImageNet layout
cifar-binary:PATH       the official binary CIFAR-10 or CIFAR-100
npz:PATH                x_train, y_train, x_test, y_test
synthetic:KIND          background, texture, frequency or noise: drawn from a seed
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from coun.data.checks import first_line
from coun.data.examples import Data, limited
from coun.data.sources import cifar_binary, digits, folder, hf, npz, synthetic, tiny_imagenet
from coun.data.sources.table import Table
from coun.errors import CounError, unknown

SOURCES: dict[str, Callable[..., Data | Table]] = {
    "digits": digits.read,
    "hf": hf.read,
    "folder": folder.read,
    "tiny-imagenet": tiny_imagenet.read,
    "cifar-binary": cifar_binary.read,
    "npz": npz.read,
    "synthetic": synthetic.read,
}


def load(
    spec: str,
    *,
    limit: int | None = None,
    test_limit: int | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Data:
    """The data set that *spec* names.

    Args:
        spec: `KIND` or `KIND:PATH`, see the module's table.
        limit: keep a seeded, class-balanced subset of this many training rows; only those
            are decoded. `index` counts in the whole source.
        test_limit: the same for the test rows.
        image_column, label_column: columns of an `hf:` source that has several.

    Returns:
        Data whose `load(data.source, limit=data.limit, **data.origin)` is the same again.

    Raises:
        CounError: bad spelling, missing or damaged files, labels that do not fit; one line.
    """
    kind, colon, where = spec.partition(":")
    if kind not in SOURCES:
        raise unknown("data source", kind, SOURCES)
    columns = {"image_column": image_column, "label_column": label_column}
    origin: dict[str, Any] = {key: name for key, name in columns.items() if name is not None}
    if origin and kind != "hf":
        option = "--" + next(iter(origin)).replace("_", "-")
        raise CounError(f"{option} only goes with hf: sources; '{spec}' has no columns")
    if kind == "digits" and colon:
        raise CounError(f"'{spec}' has a path; digits takes none, expected 'digits'")
    wanted = "KIND" if kind == "synthetic" else "PATH"
    if kind != "digits" and not where:
        raise CounError(f"'{spec}' has no {wanted.lower()}; expected {kind}:{wanted}")
    path = where if wanted == "KIND" else Path(os.path.expanduser(where))
    try:
        found = SOURCES[kind](path, **origin) if where else SOURCES[kind]()
        if isinstance(found, Table):
            found = found.read(limit, test_limit)
        else:
            found = limited(found, limit, test_limit)
    except OSError as error:
        raise CounError(f"cannot read {spec}: {first_line(error)}") from None
    if where and isinstance(path, Path) and path.exists():
        # Absolute, so that a record of the run loads from another working directory.
        spec = f"{kind}:{os.path.abspath(path)}"
    if test_limit is not None:
        origin["test_limit"] = test_limit
    return replace(found, source=spec, origin=origin)
