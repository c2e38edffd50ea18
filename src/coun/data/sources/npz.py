"""`npz:PATH`: arrays x_train, y_train, x_test, y_test and, if known, classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coun.data.adapter import from_arrays
from coun.data.checks import first_line
from coun.data.examples import Data
from coun.data.sources.source import Source
from coun.errors import CounError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read(path: Path) -> Data:
    """Images as `TensorExamples.of` takes them, integer labels; `classes` an array of strings.

    Pickled objects in the file are refused, never loaded.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged archives raise anything from EOFError to zlib.error
        raise CounError(f"{path} cannot be read as npz: {_reason(error)}") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise CounError(f"{path} holds a single array; expected an npz of {', '.join(ARRAYS)}")
    with archive:
        missing = [name for name in ARRAYS if name not in archive.files]
        if missing:
            raise CounError(
                f"{path} has no array '{missing[0]}'; expected {', '.join(ARRAYS)}, "
                f"found {', '.join(archive.files) or 'nothing'}"
            )
        x_train, y_train, x_test, y_test = (_array(path, archive, name) for name in ARRAYS)
        classes = None
        if "classes" in archive.files:
            names = _array(path, archive, "classes")
            if names.ndim != 1 or names.dtype.kind != "U":
                raise CounError(
                    f"{path}: array 'classes' is {names.dtype} {names.shape}; "
                    "expected a list of strings"
                )
            classes = names.tolist()
    try:
        return from_arrays(x_train, y_train, x_test, y_test, classes=classes)
    except CounError as error:
        raise CounError(f"{path}: {error}") from None


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return archive[name]
    except Exception as error:
        raise CounError(f"{path}: array '{name}' cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error) or "pickle" in str(error):
        return "it is pickled or no NumPy file at all; expected plain arrays"
    return first_line(error)


SOURCE = Source("npz", read, "arrays x_train, y_train, x_test, y_test and optionally classes")
