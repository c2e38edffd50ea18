"""The options of the contrastive module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from coun.cli import app
from coun.errors import CounError

_option = app.option_on("Contrastive loss")


def contrast_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it receives them as one argument, `contrast`, or None."""

    @functools.wraps(command)
    def with_contrast(**values: Any) -> Any:
        apart = ("contrast_weight", "contrast_temperature", "contrast_views", "contrast_set")
        options = [values.pop(name) for name in ("contrast", *apart)]
        return command(contrast=_settings(*options), **values)

    return app.options(
        _option(
            "--contrast",
            metavar="LOSS",
            help="Add a contrastive loss, e.g. info_nce, or package.module:Class.",
        ),
        _option(
            "--contrast-weight",
            type=float,
            help="Weight of that loss.  [default: 1]",
        ),
        _option("--contrast-temperature", type=float, help="Temperature of that loss."),
        _option(
            "--contrast-views", metavar="LETTERS", help="Letters of its second view, e.g. CHJN."
        ),
        _option(
            "--contrast-set",
            multiple=True,
            metavar="KEY=VALUE",
            help="Another setting of that loss.",
        ),
    )(with_contrast)


def _settings(
    loss: str | None,
    weight: float | None,
    temperature: float | None,
    views: str | None,
    pairs: tuple[str, ...],
) -> dict[str, Any] | None:
    """Make the arguments of `coun.contrast` from the options; None where they name no loss."""
    settings = app.parse_settings(pairs)
    options = {"loss": loss, "weight": weight, "temperature": temperature, "views": views}
    chosen_options = {name: value for name, value in options.items() if value is not None}
    if loss is None:
        if settings or chosen_options:
            raise CounError("contrast options need --contrast LOSS, e.g. --contrast info_nce")
        return None
    for name in options:
        if name in settings and (name != "temperature" or temperature is not None):
            option = "--contrast" if name == "loss" else f"--contrast-{name}"
            raise CounError(f"--contrast-set has {name}, which {option} says; give it there only")
    return settings | chosen_options
