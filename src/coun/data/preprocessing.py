"""Views as a user spells them, on the command line or in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from coun.data.data_set import Data
from coun.data.examples import RenamedExamples
from coun.data.transforms import ViewsLike, as_views
from coun.data.views import Transform, Views
from coun.errors import CounError, one_line
from coun.trust import Trust, from_anywhere, import_code, importable, is_code


def with_views(
    data: Data,
    views: ViewsLike | str | None = None,
    *,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
) -> Data:
    """Return *data* with other views than the default ones.

    Args:
        views: "none" for no random changes; letters, as for `Views`; the name of a function that
            returns views, `package.module:factory`; or views. Letters keep mean and deviation.
        mean, std: of each channel, for pixels in 0..1, or one number for all; both or none.

    Raises: CounError for a spelling, or numbers, that do not fit.

    >>> import coun
    >>> with_views(coun.load("digits", limit=20), "none", mean=0.5, std=0.2).views.letters
    'N'
    """
    code = from_anywhere(views) if isinstance(views, str) and is_code(views) else ""
    if code:
        data = replace(data, views=imported_views(code, trust=True), views_code=code)
    elif isinstance(views, str):
        if not isinstance(data.views, Views):
            raise CounError(f"views '{views}' are letters, but this data has its own transform")
        letters = "N" * ("N" in data.views.letters) if views == "none" else views
        data = replace(data, views=replace(data.views, letters=letters))
    elif views is not None:
        data = replace(data, views=as_views(views), views_code="")
    if mean is None and std is None:
        return data
    if mean is None or std is None:
        raise CounError("--mean and --std belong together; give both (in Python mean= and std=)")
    if not isinstance(data.views, Views):
        raise CounError("--mean and --std change coun's own views, but this data has a transform")
    numbers = [
        (value,) if isinstance(value, int | float) else tuple(value) for value in (mean, std)
    ]
    channels = data.views.channels or data.shape[0]
    for values in numbers:
        if len(values) not in (1, channels):
            raise CounError(
                f"--mean and --std have {len(values)} numbers for images of {channels} "
                "channel(s); expected one, or one for each channel"
            )
    letters = "".join(dict.fromkeys(data.views.letters + "N"))
    changed = replace(data.views, letters=letters, mean=numbers[0], std=numbers[1], origin="")
    return replace(data, views=changed)


def imported_views(code: str, *, trust: Trust) -> Transform:
    """Call the function that *code* names, and return the views that it gives.

    Raises: CounError if it is not trusted, fails, or gives something else.
    """
    factory = import_code(code, "views", trust=trust)
    if not callable(factory):
        raise CounError(f"views '{code}' are a {type(factory).__name__}; expected a function")
    with importable(code):
        try:
            made = factory()
        except Exception as error:  # the user's code may raise anything
            raise CounError(
                f"views '{code}': calling it failed: {one_line(error)}; expected a function "
                "without arguments that returns views"
            ) from error
    return as_views(made)


def with_class_order(data: Data, names: Sequence[str]) -> Data:
    """Return *data* with its classes in the order of *names*, which are the same names.

    >>> import coun
    >>> data = coun.load("digits", limit=20)
    >>> with_class_order(data, data.classes[::-1]).classes[0]
    '9'
    """
    if tuple(names) == data.classes:
        return data
    import torch

    place = torch.tensor([list(names).index(name) for name in data.classes])
    parts: dict[str, Any] = {}
    for part in ("train", "test"):
        examples = getattr(data, part)
        own_names = getattr(examples, "names", None)
        parts[part] = RenamedExamples(examples, place[examples.labels], examples.numbers, own_names)
    return replace(data, classes=tuple(names), **parts)
