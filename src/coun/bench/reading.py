"""From a file, or a shipped config's name, to a checked config."""

from __future__ import annotations

import tomllib
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import ValidationError

from coun.bench.config import Config
from coun.errors import CounError, nearest

SHIPPED = files("coun.bench") / "configs"
# What pydantic puts into a place's path for the kind of a scenario.
_KINDS = ("random", "class", "subclass", "sequential", "memorisation", "worst")


def shipped() -> list[str]:
    """Names of the configs that come with the package, e.g. `paper/table2.toml`."""
    with as_file(SHIPPED) as root:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*.toml"))


def read_text(name: str | Path) -> str:
    """The text of a config: a file, or the name of a shipped one (`demo`, `cpu/cifar10.toml`).

    Raises: CounError if there is neither, or the file cannot be read.
    """
    path = Path(name)
    if not path.is_file():
        word = str(name).removesuffix(".toml") + ".toml"
        if word not in shipped():
            raise CounError(
                f"no config '{name}'{nearest(word, shipped())}: expected a file, or one of "
                f"{', '.join(shipped())}"
            )
        return SHIPPED.joinpath(word).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read {path}: {error}; expected a TOML file in UTF-8") from error


def parse(text: str, where: str = "config") -> Config:
    """The config that *text* says. Raises: CounError naming the table and key at fault."""
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CounError(f"{where} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in _KINDS)
        message = first["msg"].removeprefix("Value error, ").replace("Input should be ", "")
        if first["type"] in ("value_error", "missing", "union_tag_invalid"):
            raise CounError(f"{where}{' at ' + place if place else ''}: {message}") from error
        raise CounError(f"{where} at {place}: {first['input']!r}; expected {message}") from error


def load(name: str | Path) -> Config:
    """Read and check a config: a file, or a shipped one by name."""
    return parse(read_text(name), str(name))
