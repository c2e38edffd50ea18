"""Reading a config from a file, or by the name of one that comes with coun."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coun.bench.spec.config import ROOT, Config
from coun.bench.spec.tiny import tiny
from coun.data.sources import code_of_source
from coun.errors import CounError, nearest, unknown
from coun.files import expanded
from coun.models.zoo import code_name
from coun.trust import Trust, require_trust

SHIPPED = files("coun.bench") / "configs"


def shipped() -> list[str]:
    """List the names of the configs that come with coun.

    >>> from coun.bench import shipped
    >>> "paper/table2.toml" in shipped()
    True
    """
    with as_file(SHIPPED) as root:
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.toml"))


def read_text(name: str | Path) -> str:
    """Read the text of a config: of a file, or of a shipped config (`demo`, `cpu/cifar10.toml`).

    Raises: CounError if neither exists, or if the file cannot be read.
    """
    path = expanded(name)
    if not path.is_file():
        name_with_suffix = str(name).removesuffix(".toml") + ".toml"
        if name_with_suffix not in shipped():
            raise CounError(
                f"config '{name}' does not exist{nearest(name_with_suffix, shipped())}; expected "
                f"a file, or one of {', '.join(shipped())}"
            )
        return SHIPPED.joinpath(name_with_suffix).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read {path}: {error}; expected a TOML file in UTF-8") from error


def parse(text: str, where: str = "config", *, trust: Trust = False) -> Config:
    """Check the text of a config and return the config.

    Args:
        text: TOML. The name that version 0.1 gave to a workload, `[[bed]]`, is accepted.
        where: what error messages call the config, usually its file.
        trust: whether the config may name code, which is imported to check and to run it.

    Raises: CounError that names the table and the key at fault, or code that is not trusted.

    >>> config = parse(read_text("demo"))
    >>> [workload.name for workload in config.workload], config.metrics
    (['digits'], ('retain_accuracy', 'unlearn_accuracy', 'test_accuracy', 'mia_efficacy'))
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "too deep"
        raise CounError(f"{where} is not valid TOML: {reason}") from error
    if "bed" in document:
        document.setdefault("workload", document.pop("bed"))
    if os.environ.get(ROOT):
        document["data_root"] = [os.environ[ROOT]]
    for what, name in _code(document):
        require_trust(name, f"{where}: {what}", trust)
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        # pydantic names validators among the keys, in brackets
        place = ".".join(part for part in map(str, first["loc"]) if "[" not in part)
        message = first["msg"].removeprefix("Value error, ").replace("Input should be ", "")
        if first["type"] in ("value_error", "missing", "union_tag_invalid"):
            raise CounError(f"{where}{' at ' + place if place else ''}: {message}") from error
        raise CounError(f"{where} at {place}: {first['input']!r}; expected {message}") from error


def configured(config: Config, is_tiny: bool, data_root: str | Path | None) -> Config:
    """Return *config* in its tiny form, or with another folder of the data, where asked for."""
    if data_root is not None:
        config = config.model_copy(update={"data_root": (str(expanded(data_root)),)})
    return tiny(config) if is_tiny else config


def with_selected_workloads(config: Config, only: Sequence[str]) -> Config:
    """Keep the workloads that *only* selects, so that the data of others is not needed."""
    prefix = "workload="
    selections = [text.removeprefix(prefix).split(",") for text in only if text.startswith(prefix)]
    present = [workload.name for workload in config.workload]
    for name in (name for names in selections for name in names):
        if name not in present:
            raise unknown("workload", name, present)
    workloads = tuple(w for w in config.workload if all(w.name in names for names in selections))
    return config.model_copy(update={"workload": workloads})


def _code(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What code a config names, whether it is well-formed or not."""
    for name in _texts(document.get("metrics")):
        if (code := code_name(name)) is not None:
            yield "metric", code
    for source in _texts(list(_entries(document, "workload", "data", "source"))):
        if (code := code_of_source(source)) is not None:
            yield "data source", code
    places = (
        ("model", "workload", "model"),
        ("views", "workload", "data", "views"),
        ("method", "method", "name"),
        ("scenario", "scenario", "kind"),
        # A loss may be in any of these, as `contrast.loss`.
        *(("contrastive loss", "method", key) for key in ("contrast", "on", "vary", "search")),
    )
    for what, *keys in places:
        for text in _texts(list(_entries(document, *keys))):
            if (code := code_name(text)) is not None:
                yield what, code


def _entries(document: Mapping[str, Any], table: str, *keys: str) -> Iterator[Any]:
    """What every entry of *table* has at *keys*, one inside the other."""
    entries = document.get(table, [])
    for value in entries if isinstance(entries, list) else []:
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        yield value


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of a TOML document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def load(name: str | Path, *, trust: Trust = False) -> Config:
    """Read and check a config.

    Args:
        name: a TOML file, or the name of a shipped config.
        trust: as for `parse`.

    Raises: CounError if the config does not exist, or names the key that is wrong.

    >>> from coun.bench import load
    >>> load("demo").title
    'Forgetting handwritten digits'
    """
    return parse(read_text(name), str(name), trust=trust)
