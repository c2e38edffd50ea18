"""`tiny-imagenet:PATH`: Tiny ImageNet as it is distributed; its val is the test part."""

from __future__ import annotations

from pathlib import Path

from coun.data.checks import first_line
from coun.data.sources.folder import entries, images
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError


def read(path: Path) -> Table:
    """train/WNID/images, val/images with val/val_annotations.txt, wnids.txt and words.txt.

    Labels follow wnids.txt, or the sorted train folders without it; names are the first
    synonym of words.txt, or the WordNet id where that is missing or taken. Training rows
    are sorted by train folder, then file name; test rows follow val_annotations.txt.
    """
    folders = {e.name: e.path for e in entries(path / "train", path) if e.is_dir()}
    if not folders:
        raise CounError(f"{path / 'train'} has no class folders; expected train/WNID/images")
    wnids = list(folders)
    if (path / "wnids.txt").exists():
        wnids = [line.strip() for line in _lines(path / "wnids.txt") if line.strip()]
        odd = sorted(set(wnids) ^ set(folders))
        if odd:
            where = "train/ has no such folder" if odd[0] in wnids else "it is not in wnids.txt"
            raise CounError(f"{path}: class {odd[0]}: {where}; expected the same classes in both")
    label = {wnid: i for i, wnid in enumerate(wnids)}
    files: list[str] = []
    labels: list[int] = []
    for wnid, folder in folders.items():
        found = images(Path(folder, "images"), path)
        files += found
        labels += [label[wnid]] * len(found)
    test = Part.of_files(*_annotated(path, label))
    return Table(Part.of_files(files, labels), test, _names(path / "words.txt", wnids))


def _annotated(path: Path, label: dict[str, int]) -> tuple[list[str], list[int]]:
    file = path / "val" / "val_annotations.txt"
    held = {Path(p).name: p for p in images(path / "val" / "images", path)}
    files, labels = [], []
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        name, wnid = [*line.split("\t"), ""][:2]
        if wnid not in label:
            raise CounError(f"{file} line {number}: class '{wnid}' has no folder in train/")
        if name not in held:
            raise CounError(f"{file} line {number}: no image '{name}' left in val/images")
        files.append(held.pop(name))
        labels.append(label[wnid])
    if held:
        raise CounError(f"{file} has no line for {next(iter(held))}; expected one an image")
    return files, labels


def _names(file: Path, wnids: list[str]) -> tuple[str, ...]:
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
        return file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read {file}: {first_line(error)}") from None


SOURCE = Source("tiny-imagenet", read, "the official layout of Tiny ImageNet")
