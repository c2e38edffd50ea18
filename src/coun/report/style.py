"""One style for all pictures: a method always has the same colour, marker, line and hatch."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The ten colours of classes: matplotlib's "tab10", written out so that it is not imported here.
CLASS_COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
    "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
)  # fmt: skip

RC: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}

# The value of one seed: a circle that can be seen on a bar, on an error bar and on white.
SEED: Any = {
    "linestyle": "",
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
    "zorder": 3,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in coun's style within the block or decorated function; matplotlib's settings and
    backend are afterwards as they were."""
    import matplotlib

    with matplotlib.rc_context(RC):
        yield


def without_mathtext(figure: Figure) -> None:
    """Draw the labels of *figure* as they are: a $ in the name of a class begins no formula.

    Numbers on the axes keep theirs, such as powers of ten.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    numbers: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter | ScalarFormatter):
                numbers.update(map(id, axis.get_ticklabels(which="both")))
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in numbers:
            text.set_parse_math(False)


def short_names(names: Sequence[str], most: int = 16) -> list[str]:
    """Names that fit into a figure: the middle of a longer one is left out.

    Names that would become the same get their position.

    >>> short_names(["cat", "customers without orders"], most=11)
    ['cat', 'custo…rders']
    """
    half = (most - 1) // 2
    short = {n: n if len(n) <= most else f"{n[:half]}…{n[-half:]}" for n in names}
    taken = list(short.values())
    for i, (name, text) in enumerate(short.items()):
        if taken.count(text) > 1:
            short[name] = f"{name[:half]}… {i}"
    return [short[name] for name in names]


@dataclass(frozen=True)
class MethodStyle:
    """How one method is drawn.

    Marker, line and hatch tell methods apart in black and white as well.

    Args:
        label: as the papers call the method.
        colour: in hexadecimal.
        marker, line, hatch: as matplotlib spells them.
        words: what a label adds to the names of method and module; it tells variants apart.
    """

    label: str
    colour: str
    marker: str
    line: Any
    hatch: str
    words: str = ""


# The colours of Okabe and Ito, which colour-blind readers can tell apart; the yellow is darker
# than theirs, to be seen on white.
GREY, BLACK, ORANGE, SKY, GREEN = "#999999", "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, RED, PINK, BROWN = "#C9B800", "#0072B2", "#D55E00", "#CC79A7", "#7A4B1E"
SOLID, DASHED, DOTTED, MIXED = "-", "--", ":", "-."
LONG, DOUBLE, SPARSE = (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3))
VARIED = (0, (4, 1, 1, 3))

STYLES = {
    "original": MethodStyle("Original", GREY, "o", SOLID, ""),
    "retrain": MethodStyle("Retrain", BLACK, "*", SOLID, ""),
    "retrain again": MethodStyle("Retrain again", BLACK, "x", DOTTED, ""),
    "finetune": MethodStyle("FT", ORANGE, "s", DASHED, "//"),
    "not": MethodStyle("NoT", SKY, "^", DOTTED, ".."),
    "coun": MethodStyle("CoUn", GREEN, "D", SOLID, "xx"),
    "neggrad": MethodStyle("NegGrad", RED, "v", DASHED, "\\\\"),
    "neggrad_plus": MethodStyle("NegGrad+", RED, "P", MIXED, "++"),
    "random_label": MethodStyle("RL", PINK, "<", DOTTED, "oo"),
    "amnesiac": MethodStyle("Amnesiac", BROWN, "h", DOTTED, "OO"),
    "salun": MethodStyle("SalUn", PINK, "X", LONG, "**"),
    "l1_sparse": MethodStyle("l1-sparse", BLUE, ">", MIXED, "||"),
    "prune": MethodStyle("Prune", BLUE, "d", SPARSE, "--"),
    "influence": MethodStyle("IU", BROWN, "p", DASHED, "|||"),
    "boundary_shrink": MethodStyle("BS", YELLOW, "8", MIXED, "///"),
    "boundary_expand": MethodStyle("BE", YELLOW, "H", LONG, "\\\\\\"),
    "fisher": MethodStyle("Fisher", GREY, "x", DASHED, "---"),
    "scrub": MethodStyle("SCRUB", BLUE, "s", LONG, "..."),
    "bad_teacher": MethodStyle("BadT", RED, "1", DOUBLE, "xxx"),
    "unsir": MethodStyle("UNSIR", PINK, "2", DOUBLE, "+++"),
    "ssd": MethodStyle("SSD", SKY, "D", MIXED, "ooo"),
    "cf_k": MethodStyle("CF-k", ORANGE, "<", DOUBLE, "/-"),
    "eu_k": MethodStyle("EU-k", ORANGE, ">", SPARSE, "\\-"),
    "contrastive_unlearning": MethodStyle("CU", SKY, "v", DOUBLE, "/|"),
    "laf": MethodStyle("LAF", BROWN, "^", LONG, "\\|"),
    "unrolling": MethodStyle("Unroll", YELLOW, "3", DOTTED, "/."),
    "rum": MethodStyle("RUM", BLUE, "4", DOTTED, "x."),
    "projection": MethodStyle("Projection", GREY, "P", SPARSE, "+."),
    "sisa": MethodStyle("SISA", BLACK, "o", DASHED, "o-"),
    "arcane": MethodStyle("ARCANE", BLACK, "X", MIXED, "x-"),
    "out_of_fold": MethodStyle("Out-of-fold matching", GREEN, "o", LONG, "o/"),
    "calibrated_out_of_fold": MethodStyle("Calibrated matching", GREEN, "X", DASHED, "oo-"),
    "held_out": MethodStyle("Held-out matching", GREEN, "s", DOTTED, "o\\"),
    "class_matching": MethodStyle("Class matching", GREEN, "P", DASHED, "o*"),
    "oracle": MethodStyle("Oracle matching", GREEN, "^", MIXED, "o+"),
    "amun": MethodStyle("AMUN", SKY, "8", SPARSE, "*/"),
    "delete": MethodStyle("DELETE", RED, "H", DOTTED, "*|"),
    "sfron": MethodStyle("SFR-on", BLUE, "o", DOTTED, "/o"),
    "munba": MethodStyle("MUNBa", ORANGE, "o", MIXED, "\\o"),
    "lotus": MethodStyle("LoTUS", PINK, "o", DOUBLE, "|o"),
    "trw": MethodStyle("TRW", RED, "o", SPARSE, "-*"),
    "regun": MethodStyle("ReGUn", GREEN, "v", SOLID, "+*"),
    "mu_mis": MethodStyle("MU-Mis", BROWN, "s", SOLID, "O/"),
    "negmerge": MethodStyle("NegMerge", GREY, "s", MIXED, "O\\"),
    "ct": MethodStyle("CT", SKY, "s", DOUBLE, "O+"),
    "msg": MethodStyle("MSG", YELLOW, "s", SPARSE, "O-"),
    "rewind": MethodStyle("Rewind", ORANGE, "^", DASHED, "*o"),
    "rl_proximal": MethodStyle("RL-proximal", PINK, "^", SOLID, "..o"),
    "pgd": MethodStyle("PGD", RED, "d", DASHED, "/*"),
    "fed_eraser": MethodStyle("FedEraser", BLUE, "8", DOTTED, "xo"),
}
_KEYS = {style.label.lower(): key for key, style in STYLES.items()}
_KEYS["oof matching"] = "out_of_fold"  # its row in published benches
_SPARE = list(
    itertools.product(
        (BROWN, YELLOW, BLUE, PINK, SKY, RED),
        ("o", "p", "h", "d", "8"),
        (DOUBLE, SPARSE, LONG, MIXED),
        ("O.", "*-", "O|", "*.", "o|", "+|"),
    )
)


def method_style(name: str) -> MethodStyle:
    """Return the style of a method, by its name or its label.

    A name with the contrastive module, "FT + CL" or "finetune+info_nce", has the method's
    colour and marker with a line and a hatch of its own. A name with settings, "CoUn weight=2",
    has the method's style. A name with other words, "CoUn (both)", has its colour and marker.
    An unknown name keeps its own label and gets a style that depends on the name alone.

    >>> method_style("neggrad_plus") == method_style("NegGrad+")
    True
    >>> method_style("finetune+info_nce").label
    'FT + CL'
    """
    if settings := re.search(r"(?<=\S)\s+[\w.]+=.*$", name):
        return replace(method_style(name[: settings.start()]), label=name)
    key = name.strip().lower()
    key = _KEYS.get(key, key)
    if key in STYLES:
        return STYLES[key]
    base, plus, module = name.rpartition(" + ")
    prefixes = [label for label in _KEYS if key.startswith(f"{label} ")]
    if prefixes and not plus:
        longest = max(prefixes, key=len)
        plain, words = STYLES[_KEYS[longest]], name.strip()[len(longest) + 1 :]
        return replace(plain, label=name, line=VARIED, hatch=plain.hatch + ".", words=words)
    if not plus:
        base, plus, module = name.rpartition("+")
    if plus and base.strip() and module.strip():
        plain = method_style(base)
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
    return MethodStyle(name, *_SPARE[number % len(_SPARE)])
