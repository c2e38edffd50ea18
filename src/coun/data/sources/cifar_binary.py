"""`cifar-binary:PATH`: the official binary files of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coun.data.adapter import from_arrays
from coun.data.checks import regular_file
from coun.data.data_set import Data
from coun.data.sources.source import Source
from coun.errors import CounError, first_line

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The files of one release.

    Args:
        folder: name of the folder that the release unpacks to.
        train, test, names: files of training records, test records and class names.
        labels: bytes of labels at the start of each record, before its pixels; the last of
            them is the label.
        classes: number of classes.
    """

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: int
    classes: int


LAYOUTS = (
    Layout(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test_batch.bin",
        "batches.meta.txt",
        labels=1,
        classes=10,
    ),
    # The first byte of a CIFAR-100 record is the coarse label, the second the fine one.
    Layout(
        "cifar-100-binary",
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        labels=2,
        classes=100,
    ),
)


def read(path: Path) -> Data:
    """Read rows in file order, (3, 32, 32) uint8; CIFAR-100 has its fine labels.

    Args:
        path: the folder with the .bin files, or the one above it.

    Raises: CounError for missing or truncated files and for labels out of range.
    """
    releases = [
        (folder, layout)
        for layout in LAYOUTS
        for folder in (path, path / layout.folder)
        if any((folder / name).exists() for name in (*layout.train, layout.test))
    ]
    if not releases:
        raise CounError(
            f"{path} has no CIFAR .bin files; expected {' or '.join(x.test for x in LAYOUTS)} "
            "in it or one folder below"
        )
    if len(releases) > 1:
        places = ", ".join(str(folder) for folder, _ in releases)
        raise CounError(f"{path} holds more than one data set; choose one of {places}")
    folder, layout = releases[0]
    classes = _names(folder / layout.names, layout.classes)
    parts = [_records(folder / name, layout) for name in layout.train]
    x_train, y_train = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    x_test, y_test = _records(folder / layout.test, layout)
    return from_arrays(x_train, y_train, x_test, y_test, classes=classes)


def _records(file: Path, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,) of one file."""
    record = layout.labels + PIXELS
    try:
        raw = np.fromfile(regular_file(file), np.uint8)
    except OSError as error:
        raise CounError(f"cannot read {file}: {first_line(error)}") from None
    if len(raw) == 0 or len(raw) % record:
        raise CounError(
            f"{file} has {len(raw)} bytes; expected a multiple of {record} "
            f"({layout.labels} label + {PIXELS} pixel bytes); is it truncated?"
        )
    raw = raw.reshape(-1, record)
    labels = raw[:, layout.labels - 1].astype(np.int64)
    wrong = np.flatnonzero(labels >= layout.classes)
    if len(wrong):
        raise CounError(
            f"{file} record {wrong[0]} has label {labels[wrong[0]]}; "
            f"expected 0..{layout.classes - 1}"
        )
    return raw[:, layout.labels :].reshape(-1, 3, 32, 32), labels


def _names(file: Path, count: int) -> list[str]:
    """Class names from a text file with one of them on each line."""
    try:
        names = [line.strip() for line in file.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read class names {file}: {first_line(error)}") from None
    if len(names) != count:
        raise CounError(f"{file} has {len(names)} names; expected {count}, one per line")
    return names


SOURCE = Source("cifar-binary", read, "official binary files of CIFAR-10 or CIFAR-100")
