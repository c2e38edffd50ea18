"""Reading a config from a file, or by the name of one that comes with coun."""

from __future__ import annotations

import tomllib
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import ValidationError

from coun.bench.spec.config import Config
from coun.errors import CounError, nearest

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
    path = Path(name)
    if not path.is_file():
        name_with_suffix = str(name).removesuffix(".toml") + ".toml"
        if name_with_suffix not in shipped():
            raise CounError(
                f"config '{name}' does not exist{nearest(name_with_suffix, shipped())}; expected "
                f"a file, or one of {', '.join(shipped())}"
            )
        return SHIPPED.joinpath(name_with_suffix).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read {path}: {error}; expected a TOML file in UTF-8") from error


def parse(text: str, where: str = "config") -> Config:
    """Check the text of a config and return the config.

    Args:
        text: TOML. The name that version 0.1 gave to a workload, `[[bed]]`, is accepted.
        where: what error messages call the config, usually its file.

    Raises: CounError that names the table and the key at fault.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CounError(f"{where} is not valid TOML: {error}") from error
    if "bed" in document:
        document.setdefault("workload", document.pop("bed"))
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ").replace("Input should be ", "")
        if first["type"] in ("value_error", "missing", "union_tag_invalid"):
            raise CounError(f"{where}{' at ' + place if place else ''}: {message}") from error
        raise CounError(f"{where} at {place}: {first['input']!r}; expected {message}") from error


def load(name: str | Path) -> Config:
    """Read and check a config.

    Args:
        name: a TOML file, or the name of a shipped config.

    Raises: CounError if the config does not exist, or names the key that is wrong.

    >>> from coun.bench import load
    >>> load("demo").title
    'Forgetting handwritten digits'
    """
    return parse(read_text(name), str(name))
