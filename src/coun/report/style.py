"""One look for every picture: colour, marker, line and hatch of a method, the same everywhere."""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import dataclass, replace
from typing import Any

import matplotlib

matplotlib.use("Agg")

CLASSES = matplotlib.colormaps["tab10"]

RC: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}


@dataclass(frozen=True)
class Look:
    """How one method is drawn.

    Args:
        label: as the papers call it.
        colour: hex; marker, line, hatch: as matplotlib spells them.
        words: what a label says beyond method and module; they tell variants apart.
        Marker, line and hatch tell methods apart in black and white as well.
    """

    label: str
    colour: str
    marker: str
    line: Any
    hatch: str
    words: str = ""


# Okabe-Ito, told apart by colour-blind readers; the yellow darkened to be seen on white.
GREY, BLACK, ORANGE, SKY, GREEN = "#999999", "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PINK, BROWN = "#C9B800", "#0072B2", "#D55E00", "#CC79A7", "#7A4B1E"
SOLID, DASHED, DOTTED, MIXED = "-", "--", ":", "-."
LONG, DOUBLE, SPARSE = (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3))
VARIED = (0, (4, 1, 1, 3))

LOOKS = {
    "original": Look("Original", GREY, "o", SOLID, ""),
    "retrain": Look("Retrain", BLACK, "*", SOLID, ""),
    "retrain again": Look("Retrain again", BLACK, "x", DOTTED, ""),
    "finetune": Look("FT", ORANGE, "s", DASHED, "//"),
    "not": Look("NoT", SKY, "^", DOTTED, ".."),
    "coun": Look("CoUn", GREEN, "D", SOLID, "xx"),
    "neggrad": Look("NegGrad", RED, "v", DASHED, "\\\\"),
    "neggrad_plus": Look("NegGrad+", RED, "P", MIXED, "++"),
    "random_label": Look("RL", PINK, "<", DOTTED, "oo"),
    "amnesiac": Look("Amnesiac", BROWN, "h", DOTTED, "OO"),
    "salun": Look("SalUn", PINK, "X", LONG, "**"),
    "l1_sparse": Look("l1-sparse", BLUE, ">", MIXED, "||"),
    "prune": Look("Prune", BLUE, "d", SPARSE, "--"),
    "influence": Look("IU", BROWN, "p", DASHED, "|||"),
    "boundary_shrink": Look("BS", YELLOW, "8", MIXED, "///"),
    "boundary_expand": Look("BE", YELLOW, "H", LONG, "\\\\\\"),
    "fisher": Look("Fisher", GREY, "x", DASHED, "---"),
    "scrub": Look("SCRUB", BLUE, "s", LONG, "..."),
    "bad_teacher": Look("BadT", RED, "1", DOUBLE, "xxx"),
    "unsir": Look("UNSIR", PINK, "2", DOUBLE, "+++"),
    "ssd": Look("SSD", SKY, "D", MIXED, "ooo"),
    "cf_k": Look("CF-k", ORANGE, "<", DOUBLE, "/-"),
    "eu_k": Look("EU-k", ORANGE, ">", SPARSE, "\\-"),
    "contrastive_unlearning": Look("CU", SKY, "v", DOUBLE, "/|"),
    "laf": Look("LAF", BROWN, "^", LONG, "\\|"),
    "unrolling": Look("Unroll", YELLOW, "3", DOTTED, "/."),
    "rum": Look("RUM", BLUE, "4", DOTTED, "x."),
    "projection": Look("Projection", GREY, "P", SPARSE, "+."),
    "sisa": Look("SISA", BLACK, "o", DASHED, "o-"),
    "arcane": Look("ARCANE", BLACK, "X", MIXED, "x-"),
}
_KEYS = {look.label.lower(): key for key, look in LOOKS.items()}
_SPARE = list(
    itertools.product(
        (BROWN, YELLOW, BLUE, PINK, SKY, RED),
        ("o", "p", "h", "d", "8"),
        (DOUBLE, SPARSE, LONG, MIXED),
        ("O.", "*-", "O|", "*.", "o|", "+|"),
    )
)


def look(name: str) -> Look:
    """The look of a method, by its name or label: `look("neggrad_plus")`, `look("NegGrad+")`.

    With the contrastive module, "FT + CL" or "finetune+info_nce": the method's colour and
    marker, with a line and a hatch of its own. With settings, "CoUn weight=2": the method's
    look. With other words, "CoUn (both)": its colour and marker. A name that nobody knows
    keeps its own label and gets a look that depends on the name alone.
    """
    if settings := re.search(r"(?<=\S)\s+[\w.]+=.*$", name):
        return replace(look(name[: settings.start()]), label=name)
    key = name.strip().lower()
    key = _KEYS.get(key, key)
    if key in LOOKS:
        return LOOKS[key]
    base, plus, module = name.rpartition(" + ")
    begins = [known for known in _KEYS if key.startswith(f"{known} ")]
    if begins and not plus:
        known = max(begins, key=len)
        plain, words = LOOKS[_KEYS[known]], name.strip()[len(known) + 1 :]
        return replace(plain, label=name, line=VARIED, hatch=plain.hatch + ".", words=words)
    if not plus:
        base, plus, module = name.rpartition("+")
    if plus and base.strip() and module.strip():
        plain = look(base)
        module, _, words = module.strip().partition(" ")
        module = "CL" if module.lower() in ("cl", "info_nce") else module
        return replace(
            plain,
            label=f"{plain.label} + {module} {words}".strip(),
            line={SOLID: (0, (10, 1))}.get(plain.line, (0, (6, 1, 1, 1))),
            hatch=plain.hatch + "O",
            words=f"{plain.words} {words}".strip(),
        )
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return Look(name, *_SPARE[number % len(_SPARE)])
