"""Plug-ins: what other installed packages add to coun, by entry point."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from coun.errors import CounError, one_line


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """List the entry points that installed packages register in *group*, by name.

    A package adds, for example, a method by one line in its `pyproject.toml`:

        [project.entry-points."coun.methods"]
        my_method = "my_package.my_module:MyMethod"

    Nothing is imported here, so a broken plug-in costs nothing until its name is used.

    Args:
        group: "coun.methods", "coun.models", "coun.sources", "coun.metrics" or "coun.requests".

    Returns: entry points by name, sorted by name.

    >>> sorted(registered("coun.methods")) == list(registered("coun.methods"))
    True
    """
    points = {point.name: point for point in entry_points(group=group)}
    return dict(sorted(points.items()))


def load_plugins(group: str, built_in: Collection[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Import every plug-in of *group*, and keep those that fail apart from those that work.

    Args:
        group: as for `registered`.
        built_in: names that a plug-in must not take, because coun itself has them.

    Returns: the loaded objects by name, and, by name as well, one line that says why a
        plug-in was left out.

    >>> load_plugins("coun.methods", built_in=())[1]
    {}
    """
    loaded: dict[str, Any] = {}
    refused: dict[str, str] = {}
    for name, point in registered(group).items():
        if name in built_in:
            refused[name] = f"plug-in {point.value} would replace coun's own '{name}'; rename it"
            continue
        try:
            loaded[name] = load_plugin(point)
        except CounError as error:
            refused[name] = str(error)
    return loaded, refused


def load_plugin(point: EntryPoint) -> Any:
    """Import what *point* names.

    Raises: CounError if importing it fails, or if the object calls itself by another name
        than its entry point does.
    """
    try:
        value = point.load()
    except Exception as error:  # a stranger's module may raise anything
        reason = one_line(error)
        raise CounError(
            f"plug-in '{point.name}' ({point.value}) cannot be imported: {reason}"
        ) from error
    own_name = getattr(value, "name", point.name)
    if own_name != point.name:
        raise CounError(
            f"plug-in {point.value} is registered as '{point.name}' but calls itself "
            f"'{own_name}'; give both one name"
        )
    return value
