"""Files: atomic writing, JSON with a checksum, and the lock of a folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coun.errors import CounError, require_type

LOCK = ".lock"
RUN_WEIGHTS = "model.safetensors"  # the weights of a run, and of each version of a registry
# The file by which a folder is known as a registry, and the folder in it where new versions arise.
REGISTRY_DATABASE, REGISTRY_WORK = "registry.sqlite", "work"
SHA256 = "sha256"  # the key of the checksum in a sealed document
_TEMPORARY = re.compile(r"\..+\.\w{8}\.tmp")  # the names that `atomically` gives


@contextlib.contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to *path*, which replaces *path* in one step on success.

    If the block fails, *path* stays as it was.

    Raises: CounError if the file cannot be written, because the folder is read-only, full or
        not a folder.

    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomically(path) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> path.read_text()
    'whole'
    """
    handle = -1
    temporary = Path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if handle >= 0:
            temporary.unlink(missing_ok=True)


def expanded(path: str | Path) -> Path:
    """Return *path* with a leading "~" replaced by the home folder.

    Raises: CounError if it is not a path, it is empty, that user is unknown, or it is not valid
        Unicode.

    >>> expanded("runs/march")
    PosixPath('runs/march')
    """
    require_type(path, (str, os.PathLike), "a path", "text, or a pathlib.Path")
    name = os.path.expanduser(path)
    if not name:  # which pathlib takes for the current folder
        raise CounError("a path is empty; expected the name of a file or folder")
    if name.startswith("~"):
        user = name.split("/")[0]
        raise CounError(f"{name} begins with '{user}', but no such user exists; write ./{name}")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise CounError(f"the path {name!a} is not valid UTF-8; rename it") from None
    if "\0" in name:
        raise CounError(f"the path {name!a} holds a null character; choose another name")
    return Path(name)


def cannot_write(path: Path, error: OSError) -> CounError:
    """Return the error for a file that cannot be written."""
    reason = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "free some space" if full else "choose another place, or make this one writable"
    return CounError(f"cannot write {path}: {reason}; {advice}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, completely or not at all."""
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = ascii(text[max(0, error.start - 20) : error.end])
        raise CounError(
            f"cannot write {path}: {place} is not valid Unicode; rename the file or label that "
            "has this name"
        ) from error
    with atomically(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def locked(folder: Path, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of *folder* within the block, so that one process at a time changes it.

    The operating system releases the lock when the process ends, however it ends. Temporary
    files of processes that were killed while they wrote into the folder are removed.

    Args:
        folder: made if it does not exist.
        wait: seconds to wait for another process that holds the lock.

    Raises: CounError if another process holds the lock, or the folder cannot be written.

    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".a.txt.abcd1234.tmp").touch()
    >>> with locked(folder):
    ...     [path.name for path in folder.iterdir()]
    ['.lock']
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=wait)
    except Timeout:
        raise CounError(
            f"another process is writing {folder}; wait until it ends, or choose another folder"
        ) from None
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        remove_temporary(folder)
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)  # filelock notices a removed file and locks anew
        lock.release()


def check_writable(folder: Path) -> None:
    """Refuse *folder* as a place to write if it, or the folder to make it in, is not writable.

    Raises: CounError as writing there would, but before any work was done.

    >>> check_writable(Path(tempfile.mkdtemp()) / "new" / "run")
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    code = errno.ENOTDIR if not place.is_dir() else errno.EACCES
    if code == errno.ENOTDIR or not os.access(place, os.W_OK | os.X_OK):
        raise cannot_write(folder, OSError(code, os.strerror(code)))


def refuse_foreign(folder: Path, *marks: str) -> None:
    """Refuse *folder* as a place to write if it holds files of something else.

    Args:
        marks: names of files, relative to *folder*, one of which shows that coun wrote it.

    Raises: CounError if it is a file, or is not empty and holds none of *marks*.
    """
    if folder.exists() and not folder.is_dir():
        raise CounError(f"{folder} is a file; expected a folder, choose another name")
    if not folder.exists() or any((folder / mark).exists() for mark in marks):
        return
    if any(path.name != LOCK and not is_temporary(path) for path in folder.iterdir()):
        raise CounError(
            f"{folder} is not empty and holds no {marks[0]}; expected a new folder, so that "
            "nothing is overwritten"
        )


def refuse_other_text(path: Path, mark: str, what: str) -> None:
    """Refuse to overwrite *path* unless it is an earlier file of the same kind.

    Args:
        mark: text that every file of the kind holds.
        what: the kind in words.

    Raises: CounError if *path* is anything but a text with *mark*.
    """
    if not path.exists():
        return
    try:
        earlier = mark in path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        earlier = False
    if not earlier:
        raise CounError(f"{path} exists and is not {what}; move it away, or choose another place")


def remove_temporary(folder: Path) -> None:
    """Remove the temporary files that killed processes left in *folder*, which is locked."""
    for path in folder.iterdir():
        if is_temporary(path):
            path.unlink(missing_ok=True)


def is_temporary(path: Path) -> bool:
    """Return whether *path* has a name that only `atomically` and `locked` give.

    >>> is_temporary(Path("run/.run.json.x_1abc9z.tmp")), is_temporary(Path("notes.tmp"))
    (True, False)
    """
    return _TEMPORARY.fullmatch(path.name) is not None


def to_json(value: Any) -> str:
    """Return *value* as JSON; numbers that JSON does not have (nan, inf) become null.

    >>> print(to_json({"loss": float("nan")}))
    {
      "loss": null
    }
    """
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file at *path*, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write *value* to *path* as JSON, completely or not at all."""
    write_text(path, to_json(value) + "\n")


def read_json(path: Path) -> Any:
    """Read the JSON in *path*.

    Raises: CounError if the file is missing or damaged.
    """
    if not path.exists():
        raise CounError(f"{path} does not exist; expected a run folder written by coun")
    if not path.is_file():
        raise CounError(f"{path} is not a file; expected JSON that coun wrote")
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CounError(
            f"{path} cannot be read as JSON ({reason}); is the file complete?"
        ) from error


def read_small(path: Path, largest: int, what: str) -> bytes:
    """Read a file that is *what*. Raises: CounError if it is none or has over *largest* bytes."""
    if not path.is_file():
        raise CounError(f"{path} is not a file; expected {what}")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise CounError(f"{path} is larger than {largest >> 10:,} KiB; expected {what}")
    return content


def parse_json(content: bytes) -> Any:
    """Parse JSON from a file that anyone may have written.

    Raises: ValueError if it is not JSON, holds NaN or infinity, text that is not Unicode, or
        values nested too deeply.

    >>> parse_json(b"[1, 2]")
    [1, 2]
    """

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not a number of JSON")

    try:
        value = json.loads(content.decode("utf-8"), parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates raise here
    except RecursionError:
        raise ValueError("values are nested too deeply") from None
    return value


def json_digest(value: Any) -> str:
    """Return the SHA-256 of *value* as JSON, whatever the order of its keys.

    >>> json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(json.loads(to_json(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write *content* to *path* as JSON, with a checksum of it under the key `sha256`."""
    write_json(path, {**content, SHA256: json_digest(content)})


def unsealed(document: Any, path: Path, advice: str) -> tuple[Any, bool]:
    """Check a *document* that `write_sealed` wrote to *path*, and remove its checksum.

    Args:
        advice: what an error tells the reader to do.

    Returns: the content, and whether it had a checksum: files of earlier versions have none.

    Raises: CounError if the content is not that of the checksum.
    """
    if not isinstance(document, dict) or SHA256 not in document:
        return document, False
    content = {key: value for key, value in document.items() if key != SHA256}
    if document[SHA256] != json_digest(content):
        raise CounError(f"{path} was changed: its content does not match its checksum; {advice}")
    return content, True


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
