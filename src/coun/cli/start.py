"""The model that a command starts from: a run folder, a weights file or a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coun.cli import app
from coun.cli.data_options import load_data
from coun.errors import CounError
from coun.trust import is_code

if TYPE_CHECKING:
    from coun.data import Data
    from coun.models import Preprocessing
    from coun.runs import Run

start_options = app.options(
    click.option(
        "--data", "source", metavar="SRC", help="Where the data is now; a weights file needs it."
    ),
    click.option(
        "--model",
        help="For a weights file: a built-in name, timm:NAME, torchvision:NAME, hf:FOLDER, "
        "package.module:factory or ./file.py:factory.",
    ),
)


def open_start(path: Path, source: str | None, model: str | None, *args: Any, **named: Any) -> Run:
    """Open the one model that a command is given; the arguments are those of `open_together`."""
    return open_together((path,), source, model, *args, **named)[0]


def open_together(
    paths: Sequence[Path],
    source: str | None,
    model: str | None,
    limits: dict[str, Any],
    *,
    id_column: str | None = None,
    head: str | None = None,
    allow_missing: bool = False,
    trust: bool = False,
) -> list[Run]:
    """Open run folders, weights files and Hugging Face folders on the same data.

    Args:
        source, model, limits: the values of --data, --model, the limits, columns and views. They
            describe the weights files; of these a run folder takes --data, and --model where its
            record names that code.
        id_column: the value of --id-column, for a source with columns.
        head: the last linear layer of the weights files, where it cannot be found.
        allow_missing, trust: as for `Run.open`.

    Raises: CounError if a path is none of the three, or an option does not apply to any of them.
    """
    from coun.data import Data
    from coun.models import preprocessing
    from coun.runs import Run

    trained = {path: _name_of_model(path, model) for path in paths}
    weights = [path for path in paths if path.is_file() or trained[path] is not None]
    for path in weights:
        _check_weights(path, trained[path], source, model)
    named = frozenset([model] if model and is_code(model) else [])
    if not weights and (limits or (model and not named)):
        raise CounError(
            f"--model, the limits, the columns and the views come from the record of {paths[0]}; "
            "leave them out"
        )
    data: Data | str | None = source
    if weights and source is not None:
        expected = preprocessing(trained[weights[0]] or model)
        data = load_data(source, sized(source, limits, expected), id_column)
    runs = []
    for path in paths:
        if path in weights:
            assert isinstance(data, Data)
            run = Run.from_weights(path, data, model, head=head)
        else:
            accepted = trust or named
            run = Run.open(path, data=data, allow_missing=allow_missing, trust=accepted)
        if not isinstance(data, Data) or path.is_file():
            data = run.data  # what a network needs of the images is found, and said, once
        runs.append(run)
    if weights:
        say_views(runs[list(paths).index(weights[0])].data)
        whose = "its" if len(weights) == 1 else "their"
        click.echo(
            f"{', '.join(map(str, dict.fromkeys(weights)))}: {whose} training is not recorded; if "
            f"test rows of {source} were among {whose} training rows, test accuracy and audits are "
            "too favourable",
            err=True,
        )
    return runs


def _name_of_model(path: Path, model: str | None) -> str | None:
    """The name of the model in a Hugging Face folder; None for a run folder or a weights file.

    The file of weights in such a folder names it as well, unless *model* says whose they are.

    Raises: CounError if nothing is at *path*.
    """
    from coun.models import name_of_folder
    from coun.runs.folder import RECORD

    if not path.exists():
        called = f" (--model {path} names code)" * is_code(str(path))
        raise CounError(
            f"{path} does not exist{called}; expected a run folder, a file of weights or a folder "
            "of a Hugging Face model"
        )
    if (path / RECORD).exists() or (path.is_file() and model is not None):
        return None
    return name_of_folder(path)


def _check_weights(path: Path, trained: str | None, source: str | None, model: str | None) -> None:
    """Refuse weights of a run, and weights without the options that describe them."""
    from coun.runs.folder import refuse_weights_of_run

    refuse_weights_of_run(path)
    if trained is not None:
        if source is None or model is not None:
            raise CounError(f"{path} is a Hugging Face model; give --data, and leave out --model")
    elif source is None or model is None:
        raise CounError(f"{path} is a weights file; give --data and --model as well")


def served_version(folder: Path) -> Path:
    """Return the run folder that a registry in *folder* serves, or *folder* if it is another one.

    Raises: CounError if the registry cannot be read.
    """
    from coun.registry.layout import DATABASE
    from coun.registry.reading import RegistryReader

    return RegistryReader(folder).served if (folder / DATABASE).is_file() else folder


def sized(source: str, limits: dict[str, Any], expected: Preprocessing | None) -> dict[str, Any]:
    """Return *limits* with the size that a model expects, for photographs of any size.

    The size is printed, because a model that runs at any size may have been trained at another.
    """
    if expected is None or expected.size is None or "size" in limits:
        return limits
    if source.partition(":")[0] != "folder" or expected.size[0] != expected.size[1]:
        return limits
    size = expected.size[0]
    click.echo(
        f"size: the middle square of each image is scaled to {size}x{size} pixels "
        f"({expected.origin}); if the model has another size, give --size PIXELS",
        err=True,
    )
    return {**limits, "size": size}


def say_views(data: Data) -> None:
    """Print what is done with colour images, whose mean and deviation matter to a model."""
    from coun.data import Views

    if isinstance(data.views, Views) and len(data.shape) == 3 and data.shape[0] == 3:
        click.echo(data.views.in_words(), err=True)
