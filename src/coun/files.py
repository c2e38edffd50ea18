"""Writing files atomically, and JSON in the form that this project writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coun.errors import CounError


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


def cannot_write(path: Path, error: OSError) -> CounError:
    """Return the error for a file that cannot be written."""
    reason = error.strerror or str(error)
    return CounError(f"cannot write {path}: {reason}; free some space or choose another --out")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, completely or not at all."""
    with atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CounError(f"{path} does not exist; expected a run folder written by coun") from None
    except (OSError, ValueError) as error:
        raise CounError(
            f"{path} cannot be read as JSON ({error}); is the file complete?"
        ) from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
