"""`npz:PATH`: NumPy arrays of images, labels and, optionally, class names and ids of rows."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from coun.data.adapter import from_arrays
from coun.data.checks import memory_of_machine, regular_file
from coun.data.data_set import Data
from coun.data.id_columns import IdColumns
from coun.data.sources.source import Source
from coun.errors import CounError, first_line

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("classes", "ids_train", "ids_test", "mask_train", "mask_test")
PART = re.compile(r"^(train|test)_|_(train|test)$", re.IGNORECASE)
MAY_BE_IDS = re.compile(r"(.*[_ ])?(ids?|uuids?|guids?|keys?)([_ ].*)?", re.IGNORECASE)


def read(path: Path) -> Data:
    """Read images, rows of a table or texts, and integer labels, as `from_arrays` takes them.

    Texts may have `mask_train` and `mask_test`, arrays of the shape of the token ids, which are
    0 where a token is padding. Optional arrays of strings are `classes`, the K class names, and
    `ids_train` and `ids_test`, a unique name for each row, for which integers serve as well.
    Pickled objects in the file are refused and never loaded.

    Raises: CounError for a damaged file, for arrays that are missing or do not fit.
    """
    regular_file(path)
    try:
        archive = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged archives raise anything from EOFError to zlib.error
        raise CounError(f"{path} cannot be read as npz: {_reason(error)}") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise CounError(f"{path} is a single array; expected an npz of {', '.join(ARRAYS)}")
    with archive:
        _check_size(path, archive)
        missing = [name for name in ARRAYS if name not in archive.files]
        if missing:
            raise CounError(
                f"{path} has no array '{missing[0]}'; expected {', '.join(ARRAYS)}, "
                f"found {', '.join(archive.files) or 'nothing'}"
            )
        x_train, y_train, x_test, y_test = (_array(path, archive, name) for name in ARRAYS)
        _refuse_unread_ids(path, archive, {len(np.atleast_1d(y)) for y in (y_train, y_test)})
        x_train = _masked(path, archive, x_train, "mask_train")
        x_test = _masked(path, archive, x_test, "mask_test")
        classes = _names(path, archive, "classes", "U")
        ids, test_ids = (_names(path, archive, f"ids_{part}", "Uiu") for part in ("train", "test"))
        possible = {} if ids else _meant_by_ids(path, archive, len(np.atleast_1d(y_train)))
    try:
        data = from_arrays(
            x_train, y_train, x_test, y_test, classes=classes, ids=ids, test_ids=test_ids
        )
        return replace(data, id_columns=IdColumns(possible=possible))
    except CounError as error:
        raise CounError(f"{path}: {error}") from None


def _masked(path: Path, archive: np.lib.npyio.NpzFile, tokens: np.ndarray, name: str) -> np.ndarray:
    """Token ids with -1 where the mask called *name*, if there is one, is 0."""
    if name not in archive.files:
        return tokens
    mask = _array(path, archive, name)
    if mask.shape != tokens.shape or tokens.dtype.kind not in "iu":
        raise CounError(
            f"{path}: array '{name}' is {mask.shape}; expected a mask of token ids {tokens.shape}"
        )
    return np.where(mask == 0, -1, tokens.astype(np.int64))


def _check_size(path: Path, archive: np.lib.npyio.NpzFile) -> None:
    """Refuse an archive that unpacks to more than this machine's memory, before it is unpacked."""
    members = archive.zip
    assert members is not None
    unpacked = sum(info.file_size for info in members.infolist())
    for info in members.infolist():
        with contextlib.suppress(Exception), members.open(info) as member:
            version = np.lib.format.read_magic(member)
            reader = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = reader(member)
            unpacked = max(unpacked, math.prod(shape) * dtype.itemsize)
    memory = memory_of_machine()
    if memory is not None and unpacked > memory:
        raise CounError(
            f"{path} unpacks to {unpacked / 2**30:,.1f} GiB, but this machine has "
            f"{memory / 2**30:,.1f}; pass the arrays from Python as a memory-mapped dataset "
            "(coun.from_dataset with stream=True)"
        )


def _names(path: Path, archive: np.lib.npyio.NpzFile, name: str, kinds: str) -> list[str] | None:
    """An optional list of names; *kinds* are the letters of the types that serve."""
    if name not in archive.files:
        return None
    values = _array(path, archive, name)
    if values.ndim != 1 or values.dtype.kind not in kinds:
        raise CounError(
            f"{path}: array '{name}' is {values.dtype} {values.shape}; expected a list of strings"
        )
    return [str(value) for value in values]


def _refuse_unread_ids(path: Path, archive: np.lib.npyio.NpzFile, lengths: set[int]) -> None:
    """Refuse ids under another name: row numbers would serve, and 17 would mean another row.

    Args: lengths: numbers of rows of the two parts.
    """
    for name in sorted(set(archive.files) - {*ARRAYS, *OPTIONAL}):
        if not MAY_BE_IDS.fullmatch(name):
            continue
        values = _array(path, archive, name)
        if values.ndim == 1 and len(values) in lengths and len(np.unique(values)) == len(values):
            raise CounError(
                f"{path} has an array '{name}', which is not read; call the ids of the rows "
                "ids_train and ids_test, or leave it out if row numbers are to name the rows"
            )


def _meant_by_ids(
    path: Path, archive: np.lib.npyio.NpzFile, count: int
) -> dict[str, frozenset[str]]:
    """Find arrays of *count* names or numbers that ids may mean; see `IdColumns.possible`."""
    import pyarrow as pa

    from coun.data.tabular.id_columns import meant_by_ids

    columns = {}
    for name in sorted(set(archive.files) - {*ARRAYS, *OPTIONAL}):
        values = _array(path, archive, name)
        if values.shape == (count,) and values.dtype.kind in "Uiuf":
            columns[PART.sub("", name)] = pa.chunked_array([pa.array(values)])
    return meant_by_ids(columns)


def _array(path: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        return archive[name]
    except Exception as error:
        raise CounError(f"{path}: array '{name}' cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What NumPy says, in words of this project where a pickle is involved."""
    if "allow_pickle" in str(error) or "pickle" in str(error):
        return "it is pickled or no NumPy file at all; expected plain arrays"
    return first_line(error)


SOURCE = Source("npz", read, "arrays x_train, y_train, x_test, y_test and optionally classes")
