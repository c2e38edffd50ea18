"""`folder:PATH`: images in one folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from coun.data.checks import first_line
from coun.data.examples import stratified
from coun.data.images import SUFFIXES
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError

TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there counts
JUNK = ("thumbs.db", "desktop.ini")


def read(path: Path) -> Table:
    """PATH/train and PATH/test (or val, valid, validation), each with one folder per class.

    With class folders straight under PATH a fixed, stratified fifth (seed 0) is the test
    part. Classes are the sorted folder names; rows are sorted by class folder, then by file
    name. Dotfiles, Thumbs.db and desktop.ini are passed over; any other file that is no
    image, and any link that leaves PATH, is refused.
    """
    if (path / "train").is_dir() and any(e.is_dir() for e in entries(path / "train", path)):
        classes, files, labels = _classes(path / "train", path)
        held = next((path / name for name in TEST_FOLDERS if (path / name).is_dir()), None)
        if held is None:
            raise CounError(f"{path} has train/ but no {', '.join(TEST_FOLDERS)}; add one of them")
        own, test_files, test_labels = _classes(held, path, part_of=classes)
        order = [classes.index(name) for name in own]
        test = Part.of_files(test_files, [order[label] for label in test_labels])
        return Table(Part.of_files(files, labels), test, tuple(classes))
    classes, files, labels = _classes(path, path)
    sizes = np.bincount(labels)
    if sizes.min() < 2:
        lone = path / classes[int(sizes.argmin())]
        raise CounError(
            f"{lone} holds 1 image; expected 2 or more to set a fifth aside for testing"
        )
    count = max(1, round(len(files) * 0.2))
    held_rows = set(stratified(torch.tensor(labels), count, seed=0).tolist())
    kept = [row for row in range(len(files)) if row not in held_rows]
    train, test = (
        Part.of_files([files[row] for row in rows], [labels[row] for row in rows])
        for rows in (kept, sorted(held_rows))
    )
    return Table(train, test, tuple(classes))


def entries(folder: str | Path, root: Path) -> list[os.DirEntry[str]]:
    """Visible entries of *folder* sorted by name; a link that leaves *root* is refused."""
    try:
        with os.scandir(folder) as found:
            visible = [
                e for e in found if not e.name.startswith(".") and e.name.lower() not in JUNK
            ]
    except OSError as error:
        raise CounError(f"cannot read folder {folder}: {first_line(error)}") from None
    for entry in visible:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root.resolve()):
            raise CounError(f"{entry.path} is a link out of {root}; expected files inside it")
    return sorted(visible, key=lambda entry: entry.name)


def images(folder: str | Path, root: Path) -> list[str]:
    """Paths of the images in *folder*, sorted by name; anything else in it is refused."""
    found = entries(folder, root)
    for entry in found:
        if not entry.name.lower().endswith(SUFFIXES) or not entry.is_file():
            kinds = ", ".join(SUFFIXES)
            raise CounError(f"{entry.path} is not an image file; expected only {kinds} there")
    return [entry.path for entry in found]


def _classes(
    folder: Path, root: Path, part_of: list[str] | None = None
) -> tuple[list[str], list[str], list[int]]:
    """Class names, image paths and labels under *folder*; with *part_of* a class may be absent."""
    names: list[str] = []
    files: list[str] = []
    labels: list[int] = []
    for entry in entries(folder, root):
        if entry.is_dir():
            if part_of is not None and entry.name not in part_of:
                raise CounError(f"{entry.path} is a class that train/ lacks; remove it or add it")
            found = images(entry.path, root)
            if not found and part_of is None:
                raise CounError(f"class folder {entry.path} is empty; expected images in it")
            labels += [len(names)] * len(found)
            names.append(entry.name)
            files += found
        elif entry.name.lower().endswith(SUFFIXES):
            raise CounError(f"{entry.path} lies in no class folder; expected one folder per class")
    if not files:
        raise CounError(f"{folder} has no class folder with images; expected one folder per class")
    return names, files, labels


SOURCE = Source("folder", read, "image files in one folder per class")
