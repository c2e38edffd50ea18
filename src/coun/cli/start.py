"""The model that a command starts from: a run folder, a weights file or a Hugging Face folder."""

from __future__ import annotations

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
        help="For a weights file: a built-in name, timm:NAME, torchvision:NAME, hf:FOLDER, or "
        "module:factory.",
    ),
)


def open_start(
    path: Path,
    source: str | None,
    model: str | None,
    limits: dict[str, Any],
    *,
    head: str | None = None,
    allow_missing: bool = False,
    trust: bool = False,
) -> Run:
    """Open the run folder, the weights file or the Hugging Face folder that a command is given.

    Args:
        source, model, limits: the values of --data, --model, the limits, columns and views; of
            these a run folder takes --data, and --model where its record names that code.
        allow_missing, trust: as for `Run.open`.

    Raises: CounError if *path* is neither, or an option does not apply to it.
    """
    from coun.models import name_of_folder, preprocessing
    from coun.runs import Run
    from coun.runs.folder import RECORD, refuse_weights_of_run

    if not path.exists():
        called = f" (--model {path} names code)" * is_code(str(path))
        raise CounError(
            f"{path} does not exist{called}; expected a run folder, a file of weights or a folder "
            "of a Hugging Face model"
        )
    trained = None if (path / RECORD).exists() else name_of_folder(path)
    if not path.is_file() and trained is None:
        named = frozenset([model] if model and is_code(model) else [])
        if limits or (model and not named):
            raise CounError(
                f"--model, the limits, the columns and the views come from the record of {path}; "
                "leave them out"
            )
        return Run.open(path, data=source, allow_missing=allow_missing, trust=trust or named)
    refuse_weights_of_run(path)
    if trained is not None:
        if source is None or model is not None:
            raise CounError(f"{path} is a Hugging Face model; say --data, and no --model")
    elif source is None or model is None:
        raise CounError(f"{path} is a weights file; say --data and --model as well")
    limits = sized(source, limits, preprocessing(trained or model))
    run = Run.from_weights(path, load_data(source, limits), model, head=head)
    say_views(run.data)
    click.echo(
        f"{path}: its training is not recorded; if test rows of {source} were among its training "
        "rows, test accuracy and audits are too favourable",
        err=True,
    )
    return run


def served_version(folder: Path) -> Path:
    """Return the run folder that a registry in *folder* serves, or *folder* if it is another one.

    Raises: CounError if the registry cannot be read.
    """
    from coun.registry.layout import DATABASE
    from coun.registry.reading import RegistryReader

    return RegistryReader(folder).served if (folder / DATABASE).is_file() else folder


def sized(source: str, limits: dict[str, Any], expected: Preprocessing | None) -> dict[str, Any]:
    """Return *limits* with the size that a model expects, for photographs of any size."""
    if expected is None or expected.size is None or "size" in limits:
        return limits
    if source.partition(":")[0] != "folder" or expected.size[0] != expected.size[1]:
        return limits
    return {**limits, "size": expected.size[0]}


def say_views(data: Data) -> None:
    """Print what is done with colour images, whose mean and deviation matter to a model."""
    from coun.data import Views

    if isinstance(data.views, Views) and len(data.shape) == 3 and data.shape[0] == 3:
        click.echo(data.views.in_words(), err=True)
