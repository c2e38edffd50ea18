"""The exceptions that are meant for users, and what helps to put errors into words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

# Control characters, and the marks, embeddings, overrides and isolates of bidirectional text.
_ACTING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class CounError(ValueError):
    """Bad input, described in one line: what was found, what was expected, how to mend it.

    The command line prints this line without a traceback and exits with `exit_code`.

    >>> from coun.metrics import linear_cka
    >>> try:
    ...     linear_cka([[1.0], [2.0]], [[1.0]])
    ... except CounError as error:
    ...     print(error)
    features of 2 and 1 inputs; expected the same inputs
    """

    exit_code = 2


class TamperingFound(CounError):
    """Something recorded was changed afterwards, such as a ledger, a checkpoint or a signature."""

    exit_code = 4


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest of *known*, or an empty string.

    >>> nearest("epoch", ["epochs", "lr"])
    " (did you mean 'epochs'?)"
    """
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def require_type(value: object, types: type | tuple[type, ...], what: str, expected: str) -> None:
    """Refuse an argument of another type; True and False are no numbers.

    Args:
        value: the argument.
        types: what it may be.
        what: its name.
        expected: *types* in words.

    Raises: CounError that names the type.

    >>> require_type(3, str, "data", "a source such as 'digits'")
    Traceback (most recent call last):
    ...
    coun.errors.CounError: data is an object of type int; expected a source such as 'digits'
    """
    if not isinstance(value, types) or isinstance(value, bool):
        name = type(value).__name__
        raise CounError(f"{what} is an object of type {name}; expected {expected}")


def listed(noun: str, numbers: Iterable[int]) -> str:
    """Return *noun*, in the plural unless there is one number, and the numbers.

    >>> listed("request", [3]), listed("request", [1, 2])
    ('request 3', 'requests 1, 2')
    """
    texts = [str(number) for number in numbers]
    return f"{noun}{'s' * (len(texts) != 1)} {', '.join(texts)}"


def counted(number: int, noun: str) -> str:
    """Return *number* and *noun*, in the plural unless the number is 1.

    >>> counted(1, "row"), counted(2500, "row")
    ('1 row', '2,500 rows')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def visible(text: str) -> str:
    """Return *text* with an escape in place of each character that acts on the text around it.

    Names of files may hold control characters, which a terminal obeys, and characters that change
    the direction of writing, so that a name looks like another one.

    >>> visible("photo\\u202egnp.exe")
    'photo\\\\u202egnp.exe'
    """
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def unknown(
    kind: str, word: str, known: Iterable[str], also: Mapping[str, str] | None = None
) -> CounError:
    """Return the error for an unknown name, with the known name that is meant and all of them.

    This is the name that differs in capitals and punctuation only, or else the only one that
    begins so, or else the nearest one.

    Args:
        kind: what the name should be, for example "method".
        word: the unknown name.
        known: all names.
        also: names by which people call some of them elsewhere, with the known name of each.

    >>> print(unknown("method", "cuon", ["coun", "retrain"]))
    unknown method 'cuon' (did you mean 'coun'?); known: coun, retrain
    >>> print(unknown("method", "ft", ["ct", "finetune"], {"FT": "finetune"}))
    unknown method 'ft' (did you mean 'finetune'?); known: ct, finetune
    """
    names = sorted(known)
    meant = {**(also or {}), **{name: name for name in names}}
    spelled = {_letters(text): name for text, name in meant.items()}
    letters = _letters(word)
    begun = {name for text, name in spelled.items() if letters and text.startswith(letters)}
    if letters in spelled:
        hint = f" (did you mean '{spelled[letters]}'?)"
    elif len(begun) == 1:
        hint = f" (did you mean '{begun.pop()}'?)"
    else:
        match = difflib.get_close_matches(word, meant, n=1, cutoff=0.5)
        hint = f" (did you mean '{meant[match[0]]}'?)" if match else ""
    return CounError(f"unknown {kind} '{word}'{hint}; known: {', '.join(names)}")


def _letters(text: str) -> str:
    """The letters and digits of *text*, and a plus sign, which tells NegGrad+ from NegGrad."""
    return re.sub(r"[^\w+]|_", "", text.lower())


def one_line(error: BaseException) -> str:
    """Return the type and the message of *error* in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def first_line(error: BaseException) -> str:
    """What *error* says, on one line: libraries like to add hints and memory addresses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
