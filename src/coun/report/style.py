"""One look for every picture: the same colour and hatch for a method everywhere."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")

# Okabe-Ito: told apart by colour-blind readers and, with the hatches, in black and white.
COLOURS = {
    "Original": "#999999",
    "Retrain": "#000000",
    "FT": "#E69F00",
    "NoT": "#56B4E9",
    "CoUn": "#009E73",
}
HATCHES = {"Original": "", "Retrain": "", "FT": "//", "NoT": "..", "CoUn": "xx"}
CLASSES = matplotlib.colormaps["tab10"]

RC: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 110,
}
