"""`folder:PATH`: images in one folder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    follow_links: bool = False,
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
        follow_links: accept links that leave PATH.

    Raises: CounError for any other file that is not an image, for a link that leaves PATH,
        and for classes that do not fit.
    """
    held_out, tree = HeldOut(test_share, test_seed, test_ids), Tree(path, follow_links)
    classes: list[str] = []
    if not (path / "train").is_dir() or not any(e.is_dir() for e in tree.entries(path / "train")):
        rows = _rows(tree, path, classes)
        return tree.checked(held_out.split(rows, classes))
    train = _rows(tree, path / "train", classes)
    test_folder = next((path / name for name in TEST_FOLDERS if (path / name).is_dir()), None)
    if test_folder is None and held_out:
        return tree.checked(held_out.split(train, classes))
    if test_folder is None:
        raise CounError(
            f"{path} has train/ but no {', '.join(TEST_FOLDERS)}; add one of them, or hold a "
            "part of train/ out with --test-share"
        )
    if held_out:
        raise CounError(
            f"{test_folder} is the test part already; --test-share, --test-seed and --test-ids "
            "apply to a folder without one"
        )
    test = _rows(tree, test_folder, classes, training=False)
    return tree.checked(Table(train, test, tuple(classes)))


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
        """List the visible entries of *folder* by name, and refuse links that leave the root."""
        try:
            with os.scandir(folder) as listing:
                visible = [
                    e for e in listing if not e.name.startswith(".") and e.name.lower() not in JUNK
                ]
        except OSError as error:
            raise CounError(f"cannot read folder {folder}: {first_line(error)}") from None
        for entry in visible:
            is_checked = entry.is_symlink() and not self.follow_links
            if is_checked and not Path(entry.path).resolve().is_relative_to(self.root.resolve()):
                raise CounError(
                    f"{entry.path} is a link out of {self.root}; expected files inside it (or "
                    "accept links with --follow-links)"
                )
        return sorted(visible, key=lambda entry: entry.name)

    def images(self, folder: str | Path) -> list[str]:
        """List the paths of the images in *folder* by name, and refuse anything else in it."""
        files = self.entries(folder)
        strange = [e.path for e in files if not _is_image(e) or not e.is_file()]
        if strange:
            more = f" (and {len(strange) - 1:,} more)" if len(strange) > 1 else ""
            kinds = ", ".join(SUFFIXES)
            raise CounError(f"{strange[0]}{more} is not an image file; expected only {kinds} there")
        return [entry.path for entry in files]

    def checked(self, table: Table) -> Table:
        """*table* with the problems of the folder."""
        return replace(table, problems=(*self.problems, *table.problems))


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
        elif _is_image(entry):
            raise CounError(f"{entry.path} is in no class folder; expected one folder per class")
    if not paths:
        raise CounError(f"{folder} has no class folder with images; expected one folder per class")
    return Part.of_files(paths, labels, tree.root)


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.name.lower().endswith(SUFFIXES)


SOURCE = Source("folder", read, "image files in one folder per class")
