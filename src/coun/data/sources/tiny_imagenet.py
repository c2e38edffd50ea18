"""`tiny-imagenet:PATH`: Tiny ImageNet as it is distributed; its val/ is the test part."""

from __future__ import annotations

from pathlib import Path

from coun.data.checks import first_line
from coun.data.sources.folder import entries, images
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError


def read(path: Path) -> Table:
    """Read train/WNID/images and val/images, with the lists that come with them.

    Labels follow wnids.txt, or the sorted folders of train/ without that file. Class names
    are the first synonyms in words.txt, or the WordNet id where that is missing or not
    unique. Training rows are sorted by folder, then by file name; test rows follow
    val/val_annotations.txt. The id of a row is its path below *path*.

    Raises: CounError for files that are missing, damaged or do not fit each other.
    """
    folders = {e.name: e.path for e in entries(path / "train", path) if e.is_dir()}
    if not folders:
        raise CounError(f"{path / 'train'} has no class folders; expected train/WNID/images")
    wnids = list(folders)
    if (path / "wnids.txt").exists():
        wnids = [line.strip() for line in _lines(path / "wnids.txt") if line.strip()]
        unpaired = sorted(set(wnids) ^ set(folders))
        if unpaired:
            wnid = unpaired[0]
            where = "train/ has no such folder" if wnid in wnids else "it is not in wnids.txt"
            raise CounError(f"{path}: class {wnid}: {where}; expected the same classes in both")
    label = {wnid: i for i, wnid in enumerate(wnids)}
    files: list[str] = []
    labels: list[int] = []
    for wnid, folder in folders.items():
        class_files = images(Path(folder, "images"), path)
        files += class_files
        labels += [label[wnid]] * len(class_files)
    test = Part.of_files(*_annotated(path, label), path)
    return Table(Part.of_files(files, labels, path), test, _names(path / "words.txt", wnids))


def _annotated(path: Path, label: dict[str, int]) -> tuple[list[str], list[int]]:
    """Paths and labels of the test images, in the order of their annotations."""
    file = path / "val" / "val_annotations.txt"
    unlisted = {Path(p).name: p for p in images(path / "val" / "images", path)}
    files, labels = [], []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        name, wnid = [*line.split("\t"), ""][:2]
        if wnid not in label:
            raise CounError(f"{file} line {number}: class '{wnid}' has no folder in train/")
        if name not in unlisted:
            raise CounError(f"{file} line {number}: no other image '{name}' in val/images")
        files.append(unlisted.pop(name))
        labels.append(label[wnid])
    if unlisted:
        raise CounError(f"{file} has no line for {next(iter(unlisted))}; expected one per image")
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
