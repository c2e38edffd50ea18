"""Writers of training curves for `Options(on_epoch=...)`: TensorBoard, Weights & Biases, MLflow.

All of them work without network: the files that they write can be looked at or sent later.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coun.files import expanded
from coun.integrations.packages import mlflow_client, optional_package

Writer = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def tensorboard_writer(folder: str | Path) -> Iterator[Writer]:
    """Write loss and learning rate of every epoch for TensorBoard.

    Args: folder: of the event files, for `tensorboard --logdir`.

    Yields: a function for `Options(on_epoch=...)`.

    Raises: CounError if the package tensorboard is not installed.

    >>> import coun
    >>> data = coun.load("digits", limit=40)
    >>> with tensorboard_writer("logs") as on_epoch:  # doctest: +SKIP
    ...     run = coun.train(data, "mlp", options=coun.Options(on_epoch=on_epoch))
    """
    module = optional_package("torch.utils.tensorboard", "tensorboard")
    writer = module.SummaryWriter(str(expanded(folder)))
    try:
        yield _on_curves(writer.add_scalar)
    finally:
        writer.close()


@contextlib.contextmanager
def wandb_writer(project: str, *, mode: str = "offline", **settings: Any) -> Iterator[Writer]:
    """Write loss and learning rate of every epoch for Weights & Biases.

    Args:
        project: its name there.
        mode: "offline" writes files for `wandb sync`; "online" sends them.
        settings: of `wandb.init`, such as dir="logs" or name="march".

    Yields: a function for `Options(on_epoch=...)`.

    Raises: CounError if the package wandb is not installed.

    >>> import coun
    >>> data = coun.load("digits", limit=40)
    >>> with wandb_writer("forgetting") as on_epoch:  # doctest: +SKIP
    ...     run = coun.train(data, "mlp", options=coun.Options(on_epoch=on_epoch))
    """
    run = optional_package("wandb", "wandb").init(project=project, mode=mode, **settings)
    try:
        yield lambda row: run.log(_values(row))
    finally:
        run.finish()


@contextlib.contextmanager
def mlflow_writer(experiment: str, *, tracking_uri: str | None = None) -> Iterator[Writer]:
    """Write loss and learning rate of every epoch as one run of MLflow.

    Args:
        experiment: its name; it is made if there is none.
        tracking_uri: where MLflow writes, such as "sqlite:///mlflow.db"; by default where
            MLflow itself would.

    Yields: a function for `Options(on_epoch=...)`.

    Raises: CounError if the package mlflow is not installed.

    >>> import coun
    >>> data = coun.load("digits", limit=40)
    >>> with mlflow_writer("forgetting") as on_epoch:  # doctest: +SKIP
    ...     run = coun.train(data, "mlp", options=coun.Options(on_epoch=on_epoch))
    """
    client = mlflow_client(tracking_uri)
    present = client.get_experiment_by_name(experiment)
    number = present.experiment_id if present else client.create_experiment(experiment)
    run = client.create_run(number).info.run_id
    status = "FAILED"
    try:
        yield _on_curves(lambda name, value, step: client.log_metric(run, name, value, step=step))
        status = "FINISHED"
    finally:
        client.set_terminated(run, status)


def _on_curves(write: Callable[[str, float, int], object]) -> Writer:
    """A writer that counts the rows of each stage and phase, which have a curve of their own.

    Args: write: takes the name of a value, the value, and the number of its row, from 1 on.
    """
    counts = Counter[str]()

    def on_epoch(row: Mapping[str, Any]) -> None:
        counts[_curve(row)] += 1
        for name, value in _values(row).items():
            write(name, value, counts[_curve(row)])

    return on_epoch


def _curve(row: Mapping[str, Any]) -> str:
    return f"{row['stage']}/phase {row['phase']}"


def _values(row: Mapping[str, Any]) -> dict[str, float]:
    return {f"{_curve(row)}/{name}": float(row[name]) for name in ("loss", "lr")}
