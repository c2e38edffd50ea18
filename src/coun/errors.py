"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CounError(ValueError):
    """Bad input. One line that says what was found, what was expected and how to mend it.

    The command line prints it without a traceback and exits with code 2.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of *known*, or an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def unknown(kind: str, word: str, known: Iterable[str]) -> CounError:
    """The error for a name that is in no table: what it is, the nearest, and all of them."""
    names = sorted(known)
    return CounError(f"unknown {kind} '{word}'{nearest(word, names)}; known: {', '.join(names)}")
