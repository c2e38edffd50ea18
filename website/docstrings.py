"""An extension of Griffe that reads the docstrings of this project as they are written.

Sections such as `Raises: CounError if ...` and `Source: ...` begin on the line of their name, and
examples begin with `>>>` without a heading.
"""

from __future__ import annotations

import re
from textwrap import dedent, indent
from typing import Any

import griffe

SECTION = re.compile(
    r"^(Args|Attributes|Returns|Raises|Yields|Source|Formula|Cost|Limits|Differences|Note): "
    r"(.*(?:\n[ ]+\S.*)*)",
    re.M,
)
NAMES = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)+): (.*(?:\n {5,}\S.*)*)", re.M)
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.M)


class Sections(griffe.Extension):
    """Rewrite every docstring into the form that the Google style expects."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(docstring: str) -> str:
    """Put sections on lines of their own, and examples into blocks of code.

    >>> print(rewritten("Raises: CounError for bad input."))
    Raises:
        CounError: for bad input.
    """
    text = docstring.replace("Class attributes:\n", "Attributes:\n")
    text = NAMES.sub(_one_by_one, SECTION.sub(_section, text))
    return EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", text)


def _one_by_one(match: re.Match[str]) -> str:
    """Describe each of several names that share a description."""
    return "\n".join(f"    {name}: {match[2]}" for name in match[1].split(", "))


def _section(match: re.Match[str]) -> str:
    name, body = match[1], " ".join(dedent(match[2]).split())
    if name == "Raises":
        error, _, rest = body.partition(" ")
        if re.fullmatch(r"\w+(Error|Exception)", error.rstrip(",")):
            body = f"{error.rstrip(',')}: {rest}"
        return f"Raises:\n{indent(body, '    ')}"
    if name in ("Args", "Attributes"):
        body = re.sub(r"; (?=\w+(, \w+)*: )", "\n", body)
        return f"{name}:\n{indent(body, '    ')}"
    return f"\n**{name}.** {body}\n"
