"""Find rows by their pixels: hashes, exact copies, and rows that equal a picture."""

from __future__ import annotations

import functools
import hashlib
import weakref
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.examples import FETCH, Examples
from coun.data.images import SUFFIXES, decode, is_image_file
from coun.data.split import Split
from coun.errors import CounError
from coun.files import expanded

HASH_BYTES = 16
SHOWN = 3  # row names in a message

_hashes: weakref.WeakKeyDictionary[Examples, np.ndarray] = weakref.WeakKeyDictionary()


def row_hashes(examples: Examples) -> np.ndarray:
    """Hash the pixels of each row, without its label, reading `FETCH` images at a time.

    A colour image whose three channels are equal has the hash of the grey image, so that the
    other images of a folder do not matter.

    Returns: (N, 16) uint8, BLAKE2b of type, shape and bytes.

    >>> import coun
    >>> row_hashes(coun.load("digits", limit=20).train).shape
    (20, 16)
    """
    if examples in _hashes:
        return _hashes[examples]
    result = np.empty((len(examples), HASH_BYTES), np.uint8)
    for start in range(0, len(examples), FETCH):
        rows = torch.arange(start, min(start + FETCH, len(examples)))
        images = examples.fetch(rows).contiguous().cpu().numpy()
        result[start : start + len(rows)] = [_hash(image) for image in images]
    _hashes[examples] = result
    return result


def same_rows(first: Data, second: Data) -> bool:
    """Tell whether two data sets hold the same rows under the same numbers, in any order.

    >>> import coun
    >>> data = coun.load("digits", limit=20)
    >>> same_rows(data, coun.load("digits", limit=20)), same_rows(data, coun.load("digits"))
    (True, False)
    """
    for part in ("train", "test"):
        a, b = getattr(first, part), getattr(second, part)
        if len(a) != len(b):
            return False
        of_a, of_b = a.numbers.argsort(), b.numbers.argsort()
        same_labels = torch.equal(a.labels.cpu()[of_a], b.labels.cpu()[of_b])
        if not (same_labels and torch.equal(a.numbers[of_a], b.numbers[of_b])):
            return False
        if a is not b and not np.array_equal(row_hashes(a)[of_a], row_hashes(b)[of_b]):
            return False
    return first.classes == second.classes


def _hash(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and len(image) == 3 and image.dtype == np.uint8:
        grey = np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2])
        image = image[:1] if grey else image
    digest = hashlib.blake2b(_type_and_shape(image.dtype, image.shape), digest_size=HASH_BYTES)
    digest.update(np.ascontiguousarray(image).data)
    return np.frombuffer(digest.digest(), np.uint8)


@functools.lru_cache
def _type_and_shape(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """What precedes the bytes of an array in its hash; its text takes longer than the hash."""
    return str((dtype, shape)).encode()


class Copies(NamedTuple):
    """Rows with the same pixels as a forgotten one, by number, (n,) int64 each."""

    retained: Tensor
    test: Tensor

    def describe(self) -> str:
        """Say in one line how many copies there are; empty if there are none."""
        if not len(self.retained) and not len(self.test):
            return ""
        plural = "copy" if len(self.retained) == 1 else "copies"
        return (
            f"{len(self.retained):,} exact {plural} of forgotten rows among retained rows, "
            f"{len(self.test):,} among test rows"
        )


def copies(data: Data, split: Split) -> Copies:
    """Find exact copies of forgotten rows among the retained and the test rows.

    >>> import numpy as np
    >>> from coun.data import from_arrays
    >>> x = np.arange(4, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    >>> data = from_arrays(np.concatenate([x, x]), [0, 1] * 4, x, [0, 1] * 2)
    >>> copies(data, Split.by_index(data, [1])).describe()
    '1 exact copy of forgotten rows among retained rows, 1 among test rows'
    """
    hashes = row_hashes(data.train)
    forgotten = set(_bytes(hashes[split.rows(data, "forgotten").numpy()]))
    if data.absent is not None and data.absent.hashes is not None:
        deleted = torch.isin(data.absent.numbers, split.forget).numpy()
        forgotten |= set(_bytes(data.absent.hashes[deleted]))
    retained = split.rows(data, "retain")
    measured = split.test_rows(data)
    return Copies(
        data.train.numbers[retained[_among(hashes[retained.numpy()], forgotten)]],
        data.test.numbers[measured[_among(row_hashes(data.test)[measured.numpy()], forgotten)]],
    )


def with_copies(data: Data, split: Split) -> Split:
    """Extend *split* to the exact copies of its rows: training rows are forgotten too, test
    rows are left out of measurements.

    Raises: CounError if that leaves nothing to retain.

    >>> import numpy as np
    >>> from coun.data import from_arrays
    >>> x = np.zeros((4, 8, 8), np.uint8)
    >>> x[2:] = 1
    >>> data = from_arrays(x, [0, 1, 0, 1], x[2:], [0, 1])
    >>> with_copies(data, Split.by_index(data, [0])).forget
    tensor([0, 1])
    """
    extra = copies(data, split)
    return split.extended(data, extra.retained, extra.test) if extra.describe() else split


def rows_like(data: Data, pictures: Sequence[str | Path]) -> tuple[Tensor, Tensor]:
    """Find the rows whose pixels equal those of image files.

    Args: pictures: image files, and folders whose image files count, at any depth.

    Returns: numbers of training rows, deleted ones included, and of test rows; int64.

    Raises: CounError for a picture that equals no row, or cannot be read; names the file.
    """
    files = {
        _hash(decode(str(file), str(file), size=data.origin.get("size"))).tobytes(): file
        for file in _image_files(pictures)
    }
    train, test = row_hashes(data.train), row_hashes(data.test)
    numbers = data.train.numbers[_among(train, files)]
    present = {*_bytes(train), *_bytes(test)}
    if data.absent is not None and data.absent.hashes is not None:
        numbers = torch.cat([numbers, data.absent.numbers[_among(data.absent.hashes, files)]])
        present |= set(_bytes(data.absent.hashes))
    test_numbers = data.test.numbers[_among(test, files)]
    if data.absent_test is not None and data.absent_test.hashes is not None:
        deleted = data.absent_test.numbers[_among(data.absent_test.hashes, files)]
        test_numbers = torch.cat([test_numbers, deleted])
        present |= set(_bytes(data.absent_test.hashes))
    new_files = [str(file) for digest, file in files.items() if digest not in present]
    if new_files:
        raise CounError(
            f"{listing(new_files)}: no row has the same pixels, {tuple(data.shape)}; find similar "
            "rows with 'coun rows --like', and name them by id"
        )
    return numbers.sort().values, test_numbers


def _image_files(pictures: Sequence[str | Path]) -> Iterable[Path]:
    for picture in pictures:
        path = expanded(picture)
        if not path.is_dir():
            yield path
            continue
        files = sorted(
            file
            for file in path.rglob("*")
            if not file.name.startswith(".") and file.is_file() and is_image_file(file)
        )
        if not files:
            raise CounError(f"{path} holds no image file; expected {', '.join(SUFFIXES)}")
        yield from files


def _bytes(hashes: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in hashes]


def _among(hashes: np.ndarray, digests: Collection[bytes]) -> Tensor:
    """Positions of the hashes that are in *digests*, (n,) int64."""
    rows = [row for row, digest in enumerate(_bytes(hashes)) if digest in digests]
    return torch.tensor(rows, dtype=torch.int64)


def listing(ids: Sequence[str]) -> str:
    """The first few ids, quoted."""
    shown = ", ".join(f"'{name}'" for name in ids[:SHOWN])
    return shown + ", ..." * (len(ids) > SHOWN)
