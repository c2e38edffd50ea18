"""`tiny-imagenet:PATH`: Tiny ImageNet as it is distributed; its val/ is the test part."""

from __future__ import annotations

from pathlib import Path

from coun.data.sources.folder import Tree
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError, first_line


def read(path: Path, *, follow_links: bool = False) -> Table:
    """Read train/WNID/images and val/images, with the lists that come with them.

    Labels follow wnids.txt, or the sorted folders of train/ without that file. Class names
    are the first synonyms in words.txt, or the WordNet id where that is missing or not
    unique. Training rows are sorted by folder, then by file name; test rows follow
    val/val_annotations.txt. The id of a row is its path below *path*.

    Args:
        path: the folder that the release unpacks to.
        follow_links: accept links that leave it.

    Raises: CounError for files that are missing, damaged or do not fit each other.
    """
    tree = Tree(path, follow_links)
    folders = {e.name: e.path for e in tree.entries(path / "train") if e.is_dir()}
    if not folders:
        raise CounError(f"{path / 'train'} has no class folders; expected train/WNID/images")
    wnids = list(folders)
    if (path / "wnids.txt").exists():
        wnids = [line.strip() for line in _lines(path / "wnids.txt") if line.strip()]
        both = "expected the same classes in train/ and wnids.txt"
        for wnid in sorted(set(folders) - set(wnids)):
            raise CounError(f"{path}: class {wnid} is not in wnids.txt; {both}")
        for wnid in sorted(set(wnids) - set(folders)):
            tree.problems.append(f"{path}: class {wnid} has no such folder in train/; {both}")
    label = {wnid: i for i, wnid in enumerate(wnids)}
    files: list[str] = []
    labels: list[int] = []
    for wnid, folder in folders.items():
        class_files = tree.images(Path(folder, "images"))
        files += class_files
        labels += [label[wnid]] * len(class_files)
    test = Part.of_files(*_annotated(tree, label), path)
    train = Part.of_files(files, labels, path)
    return tree.checked(Table(train, test, _names(path / "words.txt", wnids)))


def _annotated(tree: Tree, label: dict[str, int]) -> tuple[list[str], list[int]]:
    """Paths and labels of the test images, in the order of their annotations."""
    file = tree.root / "val" / "val_annotations.txt"
    unlisted = {Path(p).name: p for p in tree.images(tree.root / "val" / "images")}
    files, labels = [], []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        name, wnid = [*line.split("\t"), ""][:2]
        if wnid not in label:
            raise CounError(f"{file} line {number}: class '{wnid}' has no folder in train/")
        if name not in unlisted:
            tree.problems.append(f"{file} line {number}: no other image '{name}' in val/images")
            continue
        files.append(unlisted.pop(name))
        labels.append(label[wnid])
    if unlisted:
        tree.problems.append(f"{file} has no line for {next(iter(unlisted))}; expected one each")
    return files, labels


def _names(file: Path, wnids: list[str]) -> tuple[str, ...]:
    """Unique class names for WordNet ids."""
    words: dict[str, str] = {}
    if file.exists():
        for line in _lines(file):
            wnid, _, synonyms = line.partition("\t")
            words[wnid] = synonyms.split(",")[0].strip()
    names: list[str] = []
    for wnid in wnids:
        word = words.get(wnid, "")
        names.append(word if word and word not in names else wnid)
    return tuple(names)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read {file}: {first_line(error)}") from None


SOURCE = Source("tiny-imagenet", read, "the official layout of Tiny ImageNet")
