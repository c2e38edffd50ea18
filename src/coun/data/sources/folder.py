"""`folder:PATH`: images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from coun.data.images import SUFFIXES, is_image_file
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError, first_line, unknown
from coun.files import expanded

TRAIN_FOLDERS = ("train", "training")
# The first that exists is the test part.
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
JUNK = ("thumbs.db", "desktop.ini", "__macosx")


def read(
    path: Path,
    *,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
    test_split: str | None = None,
    test_data: str | Path | None = None,
    follow_links: bool = False,
) -> Table:
    """Read PATH/train and PATH/test (or val, valid, validation), with one folder per class.

    These names may have capitals, and training and testing serve as well. With class folders
    directly in PATH, or in train/ alone, a part is held out for testing.
    Classes are the sorted folder names; rows are sorted by class folder, then by file name.
    Row numbers count in that order over all files, also where some are held out; train/ and
    test/ are numbered separately. The id of a row is its path below PATH. Dotfiles,
    Thumbs.db, desktop.ini and __MACOSX are ignored.

    Args:
        path: the folder.
        test_share, test_seed: share of the images to hold out and seed of the draw, by
            default a stratified fifth and 0. In train/ without a test folder they are needed.
        test_ids: ids of the images to hold out instead, or a file that lists them.
        test_split: the folder in PATH that is the test part, where it is called otherwise or
            several might be it.
        test_data: a folder of class folders elsewhere that is the test part.
        follow_links: accept links that leave PATH.

    Raises: CounError for any other file that is not an image, for a link that leaves PATH,
        and for classes that do not fit.
    """
    held_out, tree = HeldOut(test_share, test_seed, test_ids), Tree(path, follow_links)
    classes: list[str] = []
    folders = {e.name: Path(e.path) for e in tree.entries(path) if e.is_dir()}
    train_folder = _named(folders, TRAIN_FOLDERS)
    apart = test_split is not None or test_data is not None
    if apart and (held_out or None not in (test_split, test_data)):
        raise CounError(
            "--test-split, --test-data and the options that hold a part out are several ways to "
            "choose the test part; give one of them"
        )
    if train_folder is None or not any(e.is_dir() for e in tree.entries(train_folder)):
        if test_split is not None:
            raise CounError(f"{path} has no train/, so that --test-split names no other part")
        rows = _rows(tree, path, classes)
        if test_data is None:
            return tree.checked(held_out.split(rows, classes))
        return tree.checked(_with_test_data(tree, rows, test_data, classes))
    train = _rows(tree, train_folder, classes)
    if test_data is not None:
        return tree.checked(_with_test_data(tree, train, test_data, classes))
    test_folder = _named(folders, TEST_FOLDERS)
    if test_split is not None:
        if test_split not in folders:
            raise unknown(f"folder of {path} for --test-split", test_split, folders)
        test_folder = folders[test_split]
    if test_folder is None and held_out:
        return tree.checked(held_out.split(train, classes))
    if test_folder is None:
        raise CounError(
            f"{path} has {train_folder.name}/ but no test, val or validation; add one of them, "
            "name another folder with --test-split or --test-data, or hold a part of "
            f"{train_folder.name}/ out with --test-share"
        )
    if held_out:
        raise CounError(
            f"{test_folder} is the test part already; --test-share, --test-seed and --test-ids "
            "apply to a folder without one"
        )
    test = _rows(tree, test_folder, classes, training=False)
    others = [name for name, f in folders.items() if f not in (train_folder, test_folder)]
    note = f"{test_folder.name}/ is the test part; not read: {', '.join(others)}; --test-split "
    notes = (f"{note}chooses another",) if others else ()
    return tree.checked(Table(train, test, tuple(classes), notes))


def _named(folders: Mapping[str, Path], names: Sequence[str]) -> Path | None:
    """The folder that is called as the first of *names* that there is, in any case.

    Raises: CounError for two that differ only in case.
    """
    for name in names:
        hits = [folder for key, folder in folders.items() if key.casefold() == name]
        if len(hits) > 1:
            raise CounError(
                f"{hits[0]} and {hits[1]} differ only in capitals, so either may be "
                "meant; rename one"
            )
        if hits:
            return hits[0]
    return None


def _with_test_data(tree: Tree, train: Part, test_data: str | Path, classes: list[str]) -> Table:
    """The rows of one folder, with a test part from class folders elsewhere."""
    path = expanded(test_data)
    other = Tree(path, tree.follow_links)
    test = _rows(other, path, classes, training=False)
    tree.problems += other.problems
    return Table(train, test, tuple(classes))


@dataclass
class Tree:
    """A folder of images, with what is wrong with it.

    Args:
        root: the folder.
        follow_links: accept links that leave it.
        problems: what is wrong unless files were deleted on purpose, one line each.
    """

    root: Path
    follow_links: bool = False
    problems: list[str] = field(default_factory=list)

    def entries(self, folder: str | Path) -> list[os.DirEntry[str]]:
        """List the visible entries of *folder* by name, and refuse links that leave the root.

        Links that lead nowhere are left out, as pictures that were deleted, and are problems.
        """
        try:
            with os.scandir(folder) as listing:
                visible = [
                    e for e in listing if not e.name.startswith(".") and e.name.lower() not in JUNK
                ]
        except OSError as error:
            archive = str(folder).lower().endswith(ARCHIVES) and os.path.isfile(folder)
            advice = "; it is an archive, unpack it first" if archive else ""
            raise CounError(f"cannot read folder {folder}: {first_line(error)}{advice}") from None
        root = os.path.realpath(self.root)
        visible.sort(key=lambda entry: entry.name)
        for entry in list(visible):
            if not entry.is_symlink():
                continue
            if not os.path.exists(entry.path):
                self.problems.append(f"{entry.path} is a link that leads nowhere; remove it")
                visible.remove(entry)
                continue
            target = os.path.realpath(entry.path)
            if entry.is_dir() and os.path.commonpath([target, os.path.realpath(folder)]) == target:
                raise CounError(f"{entry.path} is a link to a folder that holds it; remove it")
            if not self.follow_links and os.path.commonpath([root, target]) != root:
                raise CounError(
                    f"{entry.path} is a link out of {self.root}; expected files inside it (or "
                    "accept links with --follow-links)"
                )
        return visible

    def images(self, folder: str | Path) -> list[str]:
        """List the paths of the images in *folder* by name, and refuse anything else in it."""
        files = self.entries(folder)
        below = next((e.path for e in files if e.is_dir()), None)
        if below is not None:
            raise CounError(f"{below} is a folder; expected image files in a class folder")
        other_files = [e.path for e in files if not e.is_file() or not is_image_file(e.path)]
        if other_files:
            more = f" (and {len(other_files) - 1:,} more)" if len(other_files) > 1 else ""
            kinds = ", ".join(SUFFIXES)
            raise CounError(
                f"{other_files[0]}{more} is not an image file; expected only {kinds} there"
            )
        filled = [entry.path for entry in files if entry.stat().st_size]
        empty = sorted({entry.path for entry in files} - {*filled})  # as if they were deleted
        self.problems += [f"{path} is an empty file; expected an image" for path in empty]
        return filled

    def checked(self, table: Table) -> Table:
        """*table* with the problems of the folder, and a note on classes that are numbers."""
        notes = table.notes
        if all(name.isdecimal() for name in table.classes):
            pairs = zip(table.classes, table.classes[1:], strict=False)
            if swapped := next((pair for pair in pairs if int(pair[0]) > int(pair[1])), None):
                notes += (
                    "the class folders are numbers, taken in the order of text as in torchvision: "
                    f"'{swapped[0]}' comes before '{swapped[1]}'",
                )
        return replace(table, problems=(*self.problems, *table.problems), notes=notes)


def _rows(tree: Tree, folder: Path, classes: list[str], *, training: bool = True) -> Part:
    """Images in the class folders of *folder*; names of new classes are added to *classes*."""
    paths: list[str] = []
    labels: list[int] = []
    for entry in tree.entries(folder):
        if entry.is_dir():
            if entry.name not in classes:
                classes.append(entry.name)
                if not training:
                    tree.problems.append(
                        f"{entry.path} is a class that train/ does not have; remove it or add it "
                        "there"
                    )
            files = tree.images(entry.path)
            if not files and training:
                tree.problems.append(f"class folder {entry.path} is empty; expected images in it")
            paths += files
            labels += [classes.index(entry.name)] * len(files)
        elif entry.is_file() and is_image_file(entry.path):
            raise CounError(f"{entry.path} is in no class folder; expected one folder per class")
    if not paths:
        raise CounError(f"{folder} has no class folder with images; expected one folder per class")
    return Part.of_files(paths, labels, tree.root)


SOURCE = Source("folder", read, "image files in one folder per class")
