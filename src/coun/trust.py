"""The one place that imports code by name: a user's own model, method, data source and so on.

A name such as `package.module:factory` or `./file.py:Class` may come from the user, who asks to
run that code, or from a file, such as the record of a run folder or the config of a benchmark.
A file may be a stranger's, so the code that it names runs only where the user says so.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from coun.errors import CounError, nearest, one_line

# True: the user gave the name, or trusts the file that holds it. A set: these names only.
Trust = bool | frozenset[str]

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MODULE = r".+?\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"  # a file, or a module with a dot in its name
_CODE_AND_ARGUMENT = re.compile(rf"((?:{_MODULE}):[A-Za-z_]\w*)(?::(.*))?", re.S)


def is_code(name: str) -> bool:
    """Return whether *name* is of the form `package.module:attribute` or `file.py:attribute`.

    Names with a prefix of their own, such as `timm:resnet18`, have this form as well; whoever
    accepts such a prefix looks for it first.

    >>> is_code("my_models.nets:small"), is_code("./nets.py:small"), is_code("resnet18")
    (True, True, False)
    """
    module, _, attribute = name.rpartition(":")
    return _NAME.fullmatch(attribute) is not None and (
        module.endswith(".py") or _NAME.fullmatch(module) is not None
    )


def code_and_argument(text: str) -> tuple[str, str] | None:
    """Divide `./file.py:NAME:ARGUMENT` or `package.module:NAME:ARGUMENT` into code and argument.

    The code ends with NAME; all that follows the next colon is the argument, so that it may hold
    colons of its own. A module needs a dot in its name, because the form of `word:text` is that
    of a kind and its argument, such as `folder:photos`.

    Returns: the code and the argument, "" if there is none; None for text of another form.

    >>> code_and_argument("./svhn.py:SVHN:D:/data")
    ('./svhn.py:SVHN', 'D:/data')
    >>> code_and_argument("my_data.images:SVHN"), code_and_argument("folder:photos")
    (('my_data.images:SVHN', ''), None)
    """
    parts = _CODE_AND_ARGUMENT.fullmatch(text)
    return None if parts is None else (parts[1], parts[2] or "")


def import_extension(
    name: str,
    what: str,
    expected: str,
    *,
    fits: Callable[[Any], bool],
    catalogue: Mapping[str, Any],
    trust: Trust,
) -> Any:
    """Import what a user adds to a catalogue without a package: a method, a data source, a metric.

    Args:
        name, what, trust: as for `import_code`.
        expected: what the object must be, such as "a subclass of coun.Method with a name".
        fits: whether an object is that.
        catalogue: the objects of this kind by name; no other one may take the name of one of them.

    Raises: CounError as `import_code` does, and for an object that does not fit.

    >>> from coun.metrics import Metric, catalogue
    >>> import_extension(
    ...     "fractions:Fraction", "metric", "a Metric", trust=True, catalogue=catalogue(),
    ...     fits=lambda value: isinstance(value, Metric))
    Traceback (most recent call last):
    ...
    coun.errors.CounError: metric 'fractions:Fraction': expected a Metric
    """
    value = import_code(name, what, trust=trust)
    if not fits(value):
        raise CounError(f"{what} '{name}': expected {expected}")
    if catalogue.get(value.name, value) is not value:
        raise CounError(
            f"{what} '{name}' calls itself '{value.name}', as another {what} does; rename it"
        )
    return value


def import_code(name: str, what: str, *, trust: Trust) -> Any:
    """Import the object that *name* names.

    Args:
        name: `package.module:attribute`, whose module may be in the current folder, or
            `path/to/file.py:attribute`; the attribute may be dotted.
        what: how messages call it, for example "model" or "method".
        trust: True if the user gave the name or said to trust the file that holds it; False if
            the name comes from a file; or the set of names that the user gave.

    Raises: CounError if the name is not trusted (nothing is imported then), has another form,
        cannot be imported, or does not exist.

    >>> import_code("fractions:Fraction", "number", trust=True)(1, 2)
    Fraction(1, 2)
    >>> import_code("fractions:Fraction", "number", trust=False)
    Traceback (most recent call last):
    ...
    coun.errors.CounError: number 'fractions:Fraction' is code that a file names, and coun runs \
none that you did not ask for; if you trust that file, add --trust (in Python trust=True)
    """
    require_trust(name, what, trust)
    module_name, _, attribute = name.rpartition(":")
    if not is_code(name):
        raise CounError(
            f"{what} '{name}': expected 'package.module:factory' or './file.py:factory'"
        )
    with importable(name):
        try:
            module = _import(module_name)
        except SystemExit as error:  # a script whose parser read the arguments of coun
            raise CounError(
                f"{what} '{name}': {module_name} ends the program when it is imported; put what it "
                "runs as a script below the line: if __name__ == '__main__'"
            ) from error
        except Exception as error:  # the user's module may raise anything
            raise CounError(f"{what} '{name}': cannot import it: {one_line(error)}") from error
    try:
        return attrgetter(attribute)(module)
    except AttributeError as error:
        public = [word for word in vars(module) if not word.startswith("_")]
        raise CounError(
            f"{what} '{name}': no '{attribute}' in '{module_name}'{nearest(attribute, public)}"
        ) from error


def require_trust(name: str, what: str, trust: Trust) -> None:
    """Refuse *name*, which a file gave, unless it is trusted.

    Raises: CounError that says how to trust it.

    >>> require_trust("nets:small", "model", frozenset({"nets:small"}))
    """
    if trust is not True and from_anywhere(name) not in map(from_anywhere, trust or ()):
        raise CounError(
            f"{what} '{name}' is code that a file names, and coun runs none that you did not ask "
            "for; if you trust that file, add --trust (in Python trust=True)"
        )


@contextmanager
def importable(name: str) -> Iterator[None]:
    """Make the modules beside the code called *name* importable within the block.

    `import_code` does this while it imports. A factory that imports modules beside its own when
    it is called needs it around the call as well.
    """
    module_name = name.rpartition(":")[0]
    of_file = module_name.endswith(".py")
    folder = str(Path(os.path.expanduser(module_name)).resolve().parent) if of_file else os.getcwd()
    importlib.invalidate_caches()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def from_anywhere(name: str) -> str:
    """Return the code *name* as it can be imported from any working folder: a file's path whole.

    >>> from_anywhere("package.module:Class")
    'package.module:Class'
    """
    module, _, attribute = name.rpartition(":")
    if not module.endswith(".py"):
        return name
    return f"{os.path.abspath(os.path.expanduser(module))}:{attribute}"


def source_digest(value: Any) -> str:
    """Return the SHA-256 of the source that defines the class or function *value*.

    That is the file of its module or, for a module of a package, all Python files of the package.

    Raises: CounError if *value* has no source file.
    """
    name = getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        raise CounError(f"{value!r} has no source file; define it in a module")
    folders = getattr(sys.modules.get(name.partition(".")[0]), "__path__", None)
    return _digest_of_files(Path(file) if folders is None else Path(next(iter(folders))))


def _digest_of_files(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(path.parent)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _import(module_name: str) -> ModuleType:
    """Import a module by its dotted name, or the file at a path that ends in `.py`."""
    if not module_name.endswith(".py"):
        return importlib.import_module(module_name)
    path = Path(os.path.expanduser(module_name)).resolve()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    # Dataclasses look their module up in sys.modules, so the file needs a name of its own there.
    key = f"coun_code_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module
