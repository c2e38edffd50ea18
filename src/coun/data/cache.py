"""Decoded images that are kept on the disk, so that a source is decoded once.

An entry is a pair of files: `KEY.npy` with the pixels and `KEY.json` with a checksum and the
files that they were decoded from. The key is a hash of these files, with sizes and times of
change, and of how they were decoded; a change of the source therefore leads to another entry.
Entries of files that were changed or deleted are removed when their source is next read, so
that no picture outlives its file for longer than that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coun.data.image_stack import limit_from_environment
from coun.data.lazy import DecodedFile
from coun.errors import CounError
from coun.files import atomically, expanded, file_digest, write_text

VERSION = 1
SMALLEST = 256  # images; fewer are decoded each time
GIB = 2**30
LIMIT = 20.0  # GiB of all entries
SPARE = 1.0  # GiB that stay free on the disk
ABANDONED = 86_400  # seconds after which nobody writes to a temporary file any more

Files = list[tuple[str, int, int]]  # path, bytes and time of change in nanoseconds


def cache_folder() -> Path | None:
    """Return the folder of decoded images; None if there shall be none.

    The environment variable COUN_CACHE names it, or is "none". By default it is `coun` in the
    user's cache folder of this system.
    """
    chosen = os.environ.get("COUN_CACHE", "")
    if chosen.lower() == "none":
        return None
    if chosen:
        return expanded(chosen).absolute()
    with contextlib.suppress(RuntimeError):  # a user without a home folder
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home(), "coun", "cache")
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "coun"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coun"
    return None


@dataclass(frozen=True)
class Entry:
    """One entry of the cache.

    Args:
        path: the file of pixels.
        about: the content of its `.json` file.
    """

    path: Path
    about: dict[str, Any]

    @property
    def source(self) -> str:
        """The absolute path of the source."""
        return str(self.about["source"])

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.about["shape"][0])

    @property
    def bytes(self) -> int:
        """Size on the disk."""
        return sum(f.stat().st_size for f in (self.path, self.path.with_suffix(".json")))

    def is_stale(self) -> bool:
        """Tell whether a file that was decoded is changed or deleted by now."""
        return any(
            _stamp(path) != (path, size, changed) for path, size, changed in self.about["files"]
        )

    def remove(self) -> None:
        """Delete the entry; another process may be deleting it as well."""
        for file in (self.path.with_suffix(".json"), self.path):
            file.unlink(missing_ok=True)


def entries(source: str | Path | None = None) -> list[Entry]:
    """List the entries of the cache, or those of the source at a path, damaged ones left out."""
    root = cache_folder()
    if root is None or not root.is_dir():
        return []
    folders = sorted(root.iterdir()) if source is None else [_place(root, source)]
    listing = []
    for folder in folders:
        for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                entry = Entry(file.with_suffix(".npy"), json.loads(file.read_text("utf-8")))
                if entry.about["version"] == VERSION and entry.images and entry.bytes:
                    listing.append(entry)
    return listing


def clear(source: str | Path | None = None) -> int:
    """Delete all entries, or those of the source at a path, and return the bytes that were freed.

    Raises: CounError if the folder cannot be changed.
    """
    root = cache_folder()
    if root is None or not root.is_dir():
        return 0
    folders = _folders(root) if source is None else [_place(root, source)]
    freed = 0
    for folder in folders:
        for file in list(folder.iterdir()) if folder.is_dir() else ():
            try:
                freed += file.stat().st_size
                file.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CounError(f"cannot delete {file}: {error.strerror}; delete it") from None
    return freed


@dataclass(frozen=True)
class Cache:
    """The entries of one source.

    Args:
        folder: where they are.
        source: the absolute path of the source.
    """

    folder: Path
    source: str

    @classmethod
    def of(cls, path: Path) -> Cache | None:
        """The cache of the source at *path*; None where nothing is to be cached."""
        root = cache_folder()
        return None if root is None else cls(_place(root, path), str(path.absolute()))

    def key(self, files: Sequence[str], rows: np.ndarray, how: str) -> tuple[str, Files] | None:
        """The key of images decoded from *files* at *rows*; None if a file is not there."""
        stamps = [_stamp(file) for file in dict.fromkeys(files)]
        listed = [stamp for stamp in stamps if stamp is not None]
        if len(listed) < len(stamps):
            return None
        digest = hashlib.sha256(json.dumps([VERSION, how, listed]).encode())
        digest.update(np.ascontiguousarray(rows, np.int64).tobytes())
        return digest.hexdigest()[:32], listed

    def find(self, key: str) -> DecodedFile | None:
        """The entry with this key; a damaged one is deleted."""
        path, about = self._paths(key)
        if not about.exists():
            return None
        try:
            content = json.loads(about.read_text("utf-8"))
            decoded = DecodedFile(path)
            whole = content["sha256"] == file_digest(path) and content["version"] == VERSION
            if whole and [*decoded.shape] == content["shape"][1:]:
                with contextlib.suppress(OSError):
                    os.utime(about)  # the entry that was not used for longest goes first
                return decoded
        except (OSError, ValueError, KeyError, TypeError, AssertionError):
            pass
        with contextlib.suppress(OSError):
            Entry(path, {}).remove()
        return None

    def write(
        self, key: str, files: Files, blocks: Iterator[np.ndarray], shape: tuple[int, ...]
    ) -> DecodedFile | None:
        """Write an entry, and make room for it; None if it does not fit.

        Args:
            blocks: the pixels, (n, C, H, W) uint8 each.
            shape: of all of them together.
        """
        path, about = self._paths(key)
        if not self._make_room(int(np.prod(shape))):
            return None
        record = {"version": VERSION, "source": self.source, "shape": shape, "files": files}
        try:
            with atomically(path) as temporary:
                with open(temporary, "wb") as file:
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_2_0(file, header)
                    for block in blocks:
                        file.write(np.ascontiguousarray(block).data)
                record["sha256"] = file_digest(temporary)
            write_text(about, json.dumps(record))
        except CounError as error:
            if not isinstance(error.__cause__, OSError):
                raise  # what is wrong with the images
            return None  # a full or read-only disk: the images are decoded each time
        return DecodedFile(path)

    def remove_stale(self) -> None:
        """Delete the entries of this source that were decoded from files that changed since, and
        what killed processes left behind."""
        for file in self.folder.glob(".*.tmp") if self.folder.is_dir() else ():
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > ABANDONED:
                    file.unlink()
        for entry in entries(self.source):
            with contextlib.suppress(OSError):
                if entry.is_stale():
                    entry.remove()

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"

    def _make_room(self, size: int) -> bool:
        """Delete the entries that were not used for longest; whether *size* bytes fit now."""
        limit = limit_from_environment("COUN_CACHE_GIB", LIMIT) * GIB
        if size > limit:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            by_use = sorted(entries(), key=lambda e: e.path.with_suffix(".json").stat().st_mtime)
            used = sum(entry.bytes for entry in by_use)
            while by_use and used + size > limit:
                used -= by_use[0].bytes
                by_use.pop(0).remove()
            return shutil.disk_usage(self.folder).free > size + SPARE * GIB
        except OSError:
            return False


def _place(root: Path, source: str | Path) -> Path:
    """The folder of the entries of one source."""
    return root / hashlib.sha256(os.fsencode(os.path.abspath(source))).hexdigest()[:16]


def _folders(root: Path) -> list[Path]:
    """Folders in *root* that have names as `_place` gives them."""
    return [f for f in sorted(root.iterdir()) if len(f.name) == 16 and f.is_dir()]


def _stamp(path: str) -> tuple[str, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return path, status.st_size, status.st_mtime_ns
