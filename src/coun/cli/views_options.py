"""Options that say what is done with images before a model sees them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from coun.cli import app
from coun.cli.data_options import VIEWS
from coun.errors import CounError

F = TypeVar("F", bound=Callable[..., Any])

_option = app.option_on("Images")
_options = app.options(
    _option(
        "--views",
        metavar="none|LETTERS|CODE",
        help="Random changes of training images: none, letters such as CHN, or "
        "package.module:factory.  [default: by shape, or as the model says]",
    ),
    _option(
        "--mean",
        metavar="NUMBERS",
        help="Mean of each channel, for pixels in 0..1, e.g. 0.485,0.456,0.406.  [default: the "
        "model's, or that of the training images]",
    ),
    _option("--std", metavar="NUMBERS", help="Deviation of each channel; with --mean."),
)


def views_options(function: F) -> F:
    """Add the options; what was given is added to `limits`. `data_options` must come before."""

    @functools.wraps(function)
    def command(*args: Any, limits: dict[str, Any], **values: Any) -> Any:
        choices = {name: values.pop(name) for name in VIEWS}
        for name in ("mean", "std"):
            choices[name] = _numbers(name, choices[name])
        choices = {name: value for name, value in choices.items() if value is not None}
        return function(*args, limits={**limits, **choices}, **values)

    return _options(cast(F, command))


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers that commas separate."""
    try:
        return None if text is None else tuple(float(word) for word in text.split(","))
    except ValueError:
        raise CounError(
            f"--{name} is '{text}'; expected numbers separated by commas, such as 0.5,0.5,0.5"
        ) from None
