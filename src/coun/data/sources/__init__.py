"""Data sources, written `KIND` or `KIND:PATH` in Python and on the command line.

Every module of this folder that declares a `SOURCE`, and every package that registers one as
an entry point of the group `coun.sources`, is found without any other edit. A `Source` in a file
of the user is a kind as well: `./file.py:NAME` or `./file.py:NAME:PATH`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from coun.data.cache import Cache
from coun.data.canaries import plant
from coun.data.data_set import Data
from coun.data.sources.source import RECORDED, Source
from coun.data.sources.table import Table
from coun.data.subsets import limited
from coun.errors import CounError, first_line, one_line, require_type, unknown
from coun.plugins import load_plugins
from coun.seeds import check_defaults_of_torch
from coun.trust import (
    Trust,
    code_and_argument,
    from_anywhere,
    import_extension,
    require_trust,
)

__all__ = [
    "OpenedSource",
    "Source",
    "Table",
    "argument_of",
    "catalogue",
    "code_of_source",
    "describe_sources",
    "load",
    "open_source",
    "require_trusted_source",
    "takes",
]


@cache
def _catalogue() -> tuple[dict[str, Source], dict[str, str]]:
    """Sources by name, and one line about each plug-in that was left out."""
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    built_in = {m.SOURCE.name: m.SOURCE for m in modules if hasattr(m, "SOURCE")}
    plugins, refused = load_plugins("coun.sources", built_in)
    return dict(sorted({**built_in, **plugins}.items())), refused


def catalogue() -> dict[str, Source]:
    """Return every kind of data source by name, sorted.

    >>> catalogue()["folder"].spelling
    'folder:PATH'
    """
    return _catalogue()[0]


def describe_sources() -> str:
    """Return a table of all kinds for people: spelling, what is read, further options.

    >>> print(describe_sources().splitlines()[0])  # doctest: +NORMALIZE_WHITESPACE
    cifar-binary:PATH   official binary files of CIFAR-10 or CIFAR-100
    """
    width = max(len(source.spelling) for source in catalogue().values()) + 2
    lines = []
    for source in catalogue().values():
        options = ", ".join(_flag(o) for o in source.options if o not in RECORDED)
        lines.append(f"{source.spelling:<{width}}{source.summary}")
        lines += [f"{'':<{width}}({options})"] if options else []
    return "\n".join(lines)


def load(
    spec: str,
    *,
    limit: int | None = None,
    test_limit: int | None = None,
    size: int | None = None,
    partial: bool = False,
    canaries: int | None = None,
    stream: bool = False,
    **options: Any,
) -> Data:
    """Load the data set that *spec* names.

    Args:
        spec: `KIND` or `KIND:PATH`; `describe_sources()` lists all kinds. A kind of your own
            is `./file.py:NAME` or `package.module:NAME`, which names a `Source`.
        limit: keep a seeded, class-balanced subset of this many training rows. Only those are
            decoded, and they keep their row numbers in the whole source.
        test_limit: the same for the test rows.
        size: for sources of encoded images: cut the largest square out of the middle of each
            image and scale it to this many pixels. Images of different sizes need it.
        partial: accept a source that lost rows since they were recorded, also all of a class.
            `coun.data.align` then says which ones.
        canaries: mark this many rows for audits, of which a coin leaves about half in training
            (`coun.data.plant`).
        stream: for sources of encoded images: leave them on the disk until they are needed, so
            that memory does not grow with the number of rows. The pixels are the same.
        options: further arguments of this kind of source, by keyword; None means that it is
            not given. The keyword-only parameters of its `read` function say which there are.

    Returns: the data; `load(data.source, limit=data.limit, **data.origin)` loads the same again.

    Raises:
        CounError: bad spelling, missing or damaged files, labels that do not fit; one line.

    >>> load("digits", limit=100).shape
    (1, 8, 8)
    """
    check_defaults_of_torch()
    if size is not None and not (isinstance(size, int) and size > 0):
        raise CounError(f"size is {size}; expected a number of pixels, 1 or more")
    opened = open_source(spec, stream=stream, **options)
    source, path, content = opened.source, opened.path, opened.content
    try:
        if isinstance(content, Table):
            cache = Cache.of(path) if path is not None and path.exists() else None
            data = content.read(
                limit, test_limit, size=size, partial=partial, stream=stream, cache=cache
            )
        else:
            for option, is_set in (("size", size), ("stream", stream and not opened.streams)):
                if is_set:
                    raise CounError(f"--{option} applies to encoded images; {source.name} has none")
            data = limited(content, limit, test_limit)
    except OSError as error:
        raise CounError(f"cannot read {spec}: {first_line(error)}") from None
    if canaries is not None:
        data = plant(data, canaries)
    own = {"test_limit": test_limit, "size": size, "canaries": canaries, "stream": stream or None}
    origin = opened.origin | {name: value for name, value in own.items() if value is not None}
    # What a source found out, and must not find out anew once rows are deleted, comes first.
    return replace(data, source=opened.spelling, origin={**data.origin, **origin})


class OpenedSource(NamedTuple):
    """A source of which no image is decoded yet.

    Args:
        source: its kind.
        path: where it is, None for kinds that do not have a path.
        spelling: how `load` finds it again, from any working directory.
        content: what the source gave.
        origin: the further options, as records keep them.
        streams: whether the source was asked to leave its images where they are.

    >>> opened = open_source("digits")
    >>> opened.spelling, opened.path, opened.origin
    ('digits', None, {})
    """

    source: Source
    path: Path | None
    spelling: str
    content: Data | Table
    origin: dict[str, Any]
    streams: bool


def takes(spec: str, option: str) -> bool:
    """Tell whether the source *spec* takes the *option*.

    >>> takes("digits", "label_column")
    False
    """
    return option in _parse(spec)[1].options


def argument_of(spec: str) -> str:
    """Return what follows the kind in *spec*, such as a path; "" where nothing does.

    >>> argument_of("folder:photos"), argument_of("digits")
    ('photos', '')
    """
    return _parse(spec)[2]


def code_of_source(spec: str) -> str | None:
    """Return the `file.py:NAME` that reading *spec* imports; None for a source by name.

    >>> code_of_source("./svhn.py:SVHN:data"), code_of_source("folder:photos")
    ('./svhn.py:SVHN', None)
    """
    own = code_and_argument(spec)
    return None if own is None or spec.partition(":")[0] in catalogue() else own[0]


def require_trusted_source(spec: str, where: str, trust: Trust) -> None:
    """Refuse *spec*, which the file *where* gave, if it names code that is not trusted.

    Raises: CounError that says how to trust it.

    >>> require_trusted_source("digits", "run.json", trust=False)
    """
    if (code := code_of_source(spec)) is not None:
        require_trust(code, f"{where}: data source", trust)


def open_source(spec: str, *, stream: bool = False, **options: Any) -> OpenedSource:
    """Read what the source *spec* holds, but decode no image of a `Table`.

    Args: as for `load`.

    Raises: CounError as `load` does, but not for images that cannot be used.

    >>> opened = open_source("digits")
    >>> opened.spelling, type(opened.content).__name__
    ('digits', 'Data')
    """
    kind, source, argument = _parse(spec)
    set_options = {name: value for name, value in options.items() if value is not None}
    _check_options(source, set_options)
    origin = {name: source.to_record(name, value) for name, value in set_options.items()}
    path = Path(os.path.expanduser(argument)) if source.argument.startswith("PATH") else None
    arguments = [path or argument] if source.argument else []
    streams = stream and "stream" in source.options
    try:
        content = source.read(*arguments, **origin, **({"stream": True} if streams else {}))
    except OSError as error:
        # Some libraries do not say that a file is missing.
        said = path is None or path.exists() or isinstance(error, FileNotFoundError)
        missing = "" if said else f"; no file or folder is called '{path}'"
        raise CounError(f"cannot read {spec}: {first_line(error)}{missing}") from None
    except Exception as error:
        if isinstance(error, CounError) or code_of_source(spec) is None:
            raise
        raise CounError(f"data source '{kind}' failed: {one_line(error)}") from error
    # Absolute, so that a record of the run loads from another working directory.
    if path is not None and path.exists():
        argument = os.path.abspath(path)
    spelling = f"{from_anywhere(kind)}:{argument}" if argument else from_anywhere(kind)
    return OpenedSource(source, path, spelling, content, origin, streams)


def _parse(spec: str) -> tuple[str, Source, str]:
    """Return the kind that *spec* names, its source, and the argument after the colon."""
    require_type(spec, str, "the data source", "text such as 'digits' or 'folder:photos'")
    sources, refused = _catalogue()
    kind, colon, argument = spec.partition(":")
    if (code := code_of_source(spec)) is not None and kind not in refused:
        source = import_extension(
            code,
            "data source",
            "a coun.data.sources.Source",
            fits=lambda value: isinstance(value, Source),
            catalogue=sources,
            trust=True,  # whoever reads *spec* from a file asks for trust: `require_trusted_source`
        )
        kind, colon, argument = code, spec[len(code) :], spec[len(code) + 1 :]
    elif kind in sources:
        source = sources[kind]
    elif kind in refused:
        raise CounError(refused[kind])
    elif os.path.exists(os.path.expanduser(spec)):
        raise CounError(
            f"data source '{spec}' is a path without its kind; write KIND:PATH, such as "
            f"folder:{spec}; kinds: {', '.join(sorted(sources))}"
        )
    else:
        error = unknown("data source", kind, sources)
        raise error if colon else CounError(f"{error}; no file or folder has this name either")
    if colon and not source.argument:
        raise CounError(f"data source '{spec}' has an argument; expected '{kind}' alone")
    if source.argument and not argument:
        raise CounError(
            f"data source '{spec}' has no {source.argument}; expected {kind}:{source.argument}"
        )
    return kind, source, argument


def _check_options(source: Source, options: Collection[str]) -> None:
    """Refuse options that *source* does not take, and say which sources take them."""
    for option in options:
        if option in source.options:
            continue
        takers = [f"{x.name}:" for x in catalogue().values() if option in x.options]
        if not takers:
            if not source.options:
                raise CounError(f"unknown option '{option}': {source.name} takes no options")
            raise unknown(f"option of {source.name}", option, source.options)
        raise CounError(
            f"{_flag(option)} applies to {', '.join(takers)} sources only; {source.name} takes "
            f"{', '.join(map(_flag, source.options)) or 'no such options'}"
        )


def _flag(option: str) -> str:
    """Spelling of an option of `load` on the command line."""
    return "--" + option.replace("_", "-")
