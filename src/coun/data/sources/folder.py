"""`folder:PATH`: images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from coun.data.checks import first_line
from coun.data.images import SUFFIXES
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError

TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that exists is the test part
JUNK = ("thumbs.db", "desktop.ini")


def read(
    path: Path,
    *,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
) -> Table:
    """Read PATH/train and PATH/test (or val, valid, validation), with one folder per class.

    With class folders directly in PATH, or in train/ alone, a part is held out for testing.
    Classes are the sorted folder names; rows are sorted by class folder, then by file name.
    Row numbers count in that order over all files, also where some are held out; train/ and
    test/ are numbered separately. The id of a row is its path below PATH. Dotfiles,
    Thumbs.db and desktop.ini are ignored.

    Args:
        path: the folder.
        test_share, test_seed: share of the images to hold out and seed of the draw, by
            default a stratified fifth and 0. In train/ without a test folder they are needed.
        test_ids: ids of the images to hold out instead, or a file that lists them.

    Raises: CounError for any other file that is not an image, for a link that leaves PATH,
        and for classes that do not fit.
    """
    held_out = HeldOut(test_share, test_seed, test_ids)
    if not (path / "train").is_dir() or not any(e.is_dir() for e in entries(path / "train", path)):
        classes, rows = _classes(path, path)
        return held_out.split(rows, classes)
    classes, train = _classes(path / "train", path)
    test = next((path / name for name in TEST_FOLDERS if (path / name).is_dir()), None)
    if test is None and held_out:
        return held_out.split(train, classes)
    if test is None:
        raise CounError(
            f"{path} has train/ but no {', '.join(TEST_FOLDERS)}; add one of them, or hold a "
            "part of train/ out with --test-share"
        )
    if held_out:
        raise CounError(
            f"{test} is the test part already; --test-share, --test-seed and --test-ids apply to "
            "a folder without one"
        )
    return Table(train, _classes(test, path, classes)[1], tuple(classes))


def entries(folder: str | Path, root: Path) -> list[os.DirEntry[str]]:
    """List the visible entries of *folder* by name, and refuse a link that leaves *root*."""
    try:
        with os.scandir(folder) as listing:
            visible = [
                e for e in listing if not e.name.startswith(".") and e.name.lower() not in JUNK
            ]
    except OSError as error:
        raise CounError(f"cannot read folder {folder}: {first_line(error)}") from None
    for entry in visible:
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root.resolve()):
            raise CounError(f"{entry.path} is a link out of {root}; expected files inside it")
    return sorted(visible, key=lambda entry: entry.name)


def images(folder: str | Path, root: Path) -> list[str]:
    """List the paths of the images in *folder* by name, and refuse anything else in it."""
    files = entries(folder, root)
    for entry in files:
        if not entry.name.lower().endswith(SUFFIXES) or not entry.is_file():
            kinds = ", ".join(SUFFIXES)
            raise CounError(f"{entry.path} is not an image file; expected only {kinds} there")
    return [entry.path for entry in files]


def _classes(
    folder: Path, root: Path, classes: Sequence[str] | None = None
) -> tuple[list[str], Part]:
    """Class names and images under *folder*; with *classes* given, a class may be absent."""
    names = list(classes or ())
    paths: list[str] = []
    labels: list[int] = []
    for entry in entries(folder, root):
        if entry.is_dir():
            if classes is None:
                names.append(entry.name)
            elif entry.name not in names:
                raise CounError(
                    f"{entry.path} is a class that train/ does not have; remove it or add it there"
                )
            files = images(entry.path, root)
            if not files and classes is None:
                raise CounError(f"class folder {entry.path} is empty; expected images in it")
            paths += files
            labels += [names.index(entry.name)] * len(files)
        elif entry.name.lower().endswith(SUFFIXES):
            raise CounError(f"{entry.path} is in no class folder; expected one folder per class")
    if not paths:
        raise CounError(f"{folder} has no class folder with images; expected one folder per class")
    return names, Part.of_files(paths, labels, root)


SOURCE = Source("folder", read, "image files in one folder per class")
