"""Which parquet files make up the training and the test part, and whether they are complete."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from coun.errors import CounError

KINDS = ("train", "test", "val")
COUNTED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)-of-(?P<total>\d+)(?P<suffix>.*)")
NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)")


def find_files(path: Path, test_split: str | None = None) -> tuple[list[Path], list[Path]]:
    """Return the training and the test files at *path*, each in name order.

    Args:
        path: a folder, or one training file with its test file beside it.
        test_split: how the names of the test files, or of their folder, begin; test by
            default, or val.

    Returns: the files of both parts; those of the test part may be none.

    Raises: CounError for several data sets in one folder, and for shards that are missing,
        repeated or named in different ways: each would change the row numbers unnoticed.
    """
    root = path if path.is_dir() else path.parent
    files = sorted(file for file in root.rglob("*.parquet") if _visible(file, root))
    if not path.is_dir():
        files = [file for file in files if file.parent == root]
    train, test = ([f for f in files if _is(f, root, kind)] for kind in ("train", "test"))
    if not test:
        test = [f for f in files if _is(f, root, "val")]
    if test_split is not None:
        test = [f for f in files if f not in train and _is_called(f, root, test_split)]
        if not test:
            names = ", ".join(f.name for f in files if f not in train) or "no others"
            raise CounError(f"hf: no file of {path} is called {test_split}*; it has {names}")
    if not path.is_dir():
        train, test = [path], [] if path in test else test
    if not train:
        names = ", ".join(f.name for f in files[:4]) or "no .parquet file at all"
        raise CounError(f"hf: {path} has no train*.parquet; it has {names}")
    for part in (train, test):
        folders = sorted({str(f.parent.relative_to(root)) for f in part})
        if len(folders) > 1:
            raise CounError(
                f"hf: {path} holds several data sets ({', '.join(folders)}); give the folder of one"
            )
        _check_shards(part)
    return train, test


def misordered(files: list[Path]) -> tuple[Path, Path] | None:
    """The first two neighbours in name order whose numbers fall: train-10 before train-2."""
    for first, second in pairwise(files):
        a, b = (NUMBERED.fullmatch(file.stem) for file in (first, second))
        if a and b and int(a["number"]) > int(b["number"]):
            return first, second
    return None


def _check_shards(files: list[Path]) -> None:
    """Refuse shards of one part whose names show that one is missing or there twice."""
    counted, other = _by_prefix(files, COUNTED)
    if len(counted) + len(other) > 1 and counted:
        _refuse_mixture(*(other + [next(iter(shards)) for shards in counted.values()])[:2])
    for shards in counted.values():
        totals = {int(match["total"]): file for file, match in shards.items()}
        if len(totals) > 1:
            _refuse_mixture(*list(totals.values())[:2])
        total, last = max(totals), max(int(match["number"]) for match in shards.values())
        start = int(last == total)  # numbers that start at 1 end at the total
        _check_numbers(shards, range(start, start + total))
    if counted:
        return
    numbered, other = _by_prefix(files, NUMBERED)
    for prefix, shards in numbered.items():
        for file in other:
            if file.stem == prefix.rstrip("-_."):
                _refuse_mixture(file, next(iter(shards)))
        numbers = [int(match["number"]) for match in shards.values()]
        if min(numbers) <= 1:  # larger ones may be dates
            _check_numbers(shards, range(min(numbers), max(numbers) + 1))


def _by_prefix(
    files: list[Path], pattern: re.Pattern[str]
) -> tuple[dict[str, dict[Path, re.Match[str]]], list[Path]]:
    """Files whose names match *pattern*, by the text before the number, and all others."""
    groups: dict[str, dict[Path, re.Match[str]]] = {}
    other = []
    for file in files:
        if match := pattern.fullmatch(file.stem):
            groups.setdefault(match["prefix"], {})[file] = match
        else:
            other.append(file)
    return groups, other


def _refuse_mixture(first: Path, second: Path) -> None:
    raise CounError(
        f"hf: {first.name} and {second.name} are named as shards of different data sets; "
        "expected one data set in a folder"
    )


def _check_numbers(matches: dict[Path, re.Match[str]], expected: range) -> None:
    by_number: dict[int, Path] = {}
    for file, match in matches.items():
        other = by_number.setdefault(int(match["number"]), file)
        if other != file:
            raise CounError(f"hf: {other.name} and {file.name} are the same shard; remove one")
    missing = next((number for number in expected if number not in by_number), None)
    if missing is not None:
        file, match = next(iter(matches.items()))
        start, end = match.span("number")
        name = f"{file.stem[:start]}{missing:0{end - start}d}{file.stem[end:]}{file.suffix}"
        raise CounError(
            f"hf: shard {name} is missing in {file.parent}; without it later rows would have "
            "other numbers (put it back, or rename the files)"
        )


def _visible(file: Path, root: Path) -> bool:
    return file.is_file() and not any(p.startswith(".") for p in file.relative_to(root).parts)


def _is_called(file: Path, root: Path, name: str) -> bool:
    parts = file.relative_to(root).parts
    return any(part.lower().startswith(name.lower()) for part in parts)


def _is(file: Path, root: Path, kind: str) -> bool:
    """Whether the file's name, or else its folder below *root*, starts with *kind*."""
    names = [file.name, *reversed(file.relative_to(root).parts[:-1])]
    deciding = next((name for name in names if name.lower().startswith(KINDS)), "")
    return deciding.lower().startswith(kind)
