"""The card of a method: what it does, what it needs, what it costs and when it fails."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from textwrap import dedent
from typing import Any

from pydantic import TypeAdapter

from coun.plans.method import Method

HEADINGS = {
    "idea": "Idea",
    "formula": "Formula",
    "reads": "Reads",
    "cost": "Cost",
    "limits": "When it fails",
    "source": "Source",
    "differences": "Differences",
    "module": "Contrastive module",
}
_SECTION = re.compile(r"^(Formula|Cost|Limits|Source|Differences): ", re.M)


@dataclass(frozen=True)
class Setting:
    """One setting of a method, in words.

    Args:
        name: the name in Python and after `--set`.
        default: the default as text; "automatic" if it follows from the Original.
        allowed: which values are accepted, for example "0 <= x < 1".
        description: what the setting is for.
    """

    name: str
    default: str
    allowed: str
    description: str


@dataclass(frozen=True)
class Card:
    """Everything that a user should know of a method before choosing it.

    The card is made from the docstring of the method, whose sections begin with "Formula:",
    "Cost:", "Limits:", "Source:" and "Differences:", and from its class attributes and fields.
    `coun methods NAME` and the page of the method show the same card.

    Args:
        name: the name of the method on the command line.
        title: one sentence.
        parts: the text of each part, by a key of `HEADINGS`, in this order; parts for which the
            docstring has no section are left out.
        settings: the settings in the order of the fields.
        share: what the method costs at its defaults, as a share of a Retrain (`default_share`).
    """

    name: str
    title: str
    parts: dict[str, str]
    settings: tuple[Setting, ...]
    share: float | None = None

    @classmethod
    def of(cls, kind: type[Method]) -> Card:
        """Make the card of the method *kind*.

        >>> from coun.methods import find
        >>> Card.of(find("coun")).parts["reads"]
        'retain rows'
        """
        sections = {**_sections(kind), "reads": _reads(kind), "module": _module(kind)}
        share = default_share(kind.name)
        if share is not None:
            about = (
                f"At its defaults it costs {share:.2g} of a Retrain where 10% of the rows are "
                "forgotten and the Original was trained for 182 epochs."
            )
            sections["cost"] = " ".join(filter(None, (sections.get("cost"), about)))
        parts = {key: sections[key] for key in HEADINGS if sections.get(key)}
        properties = TypeAdapter(kind).json_schema()["properties"]
        settings = (
            Setting(
                name,
                "automatic" if field["default"] is None else str(field["default"]),
                allowed_values(field),
                field.get("description", ""),
            )
            for name, field in properties.items()
        )
        return cls(kind.name, kind.summary(), parts, tuple(settings), share)


def default_share(name: str) -> float | None:
    """Return what the method *name* costs at its defaults, as a share of a Retrain.

    The shares are those of executed operations, for a request of 10% of the rows and an Original of
    182 epochs. `benchmarks/method_costs.py` counts them; None for a method that it did not count.

    >>> default_share("retrain")
    1.0
    """
    return _shares().get(name)


@cache
def _shares() -> dict[str, float]:
    shares: dict[str, float] = json.loads(
        files(__package__).joinpath("costs.json").read_text("utf-8")
    )
    return shares


def _sections(kind: type[Method]) -> dict[str, str]:
    """Split the docstring of *kind* into its sections; `python -OO` leaves none."""
    source = {"source": kind.source}
    if sys.flags.optimize > 1 or not kind.__doc__:
        return source
    _, _, text = kind.__doc__.strip().partition("\n")
    idea, *rest = _SECTION.split(dedent(text).strip())
    sections = {
        name.lower(): _one_line(body) for name, body in zip(rest[::2], rest[1::2], strict=True)
    }
    paragraphs = [_one_line(paragraph) for paragraph in idea.split("\n\n")]
    return {**source, "idea": "\n\n".join(paragraphs).strip(), **sections}


def _one_line(text: str) -> str:
    """Join the lines of *text*, and start it with a capital letter."""
    line = " ".join(text.split())
    return line if re.match(r"\w+( \w*)? ?[=(<]", line) else line[:1].upper() + line[1:]


def _reads(kind: type[Method]) -> str:
    roles = [f"{role.replace('_', '-')} rows" for role in sorted(kind.reads, reverse=True)]
    if kind.needs_original:
        roles.append("the settings and the seed of the Original's training")
    if kind.needs_out_of_fold:
        roles.append("the out-of-fold predictions of `coun prepare`")
    if kind.prepares:
        roles.append("networks that `coun train --method` trained on parts of the rows")
    if kind.needs_kept_epochs:
        roles.append("the epochs that `coun train --keep-every` kept")
    return ", ".join(roles)


def _module(kind: type[Method]) -> str:
    if reason := kind.contrast_refusal():
        return f"Cannot be added: {reason}."
    return "Can be added with `--contrast info_nce`."


def allowed_values(field: dict[str, Any]) -> str:
    """Say in words what a JSON schema allows.

    >>> allowed_values({"type": "number", "exclusiveMinimum": 0})
    '> 0'
    """
    kinds = [field, *field.get("anyOf", [])]
    merged = {key: value for kind in kinds for key, value in kind.items()}
    if "enum" in merged:
        return ", ".join(merged["enum"])
    bounds = (
        ("exclusiveMinimum", ">"),
        ("minimum", ">="),
        ("exclusiveMaximum", "<"),
        ("maximum", "<="),
    )
    limits = [f"{sign} {merged[word]:g}" for word, sign in bounds if word in merged]
    return ", ".join(limits) or field.get("type", "")
