"""Import an optional package, or say how to install it."""

from __future__ import annotations

import importlib
from typing import Any

from coun.errors import CounError


def optional_package(module: str, install: str) -> Any:
    """Import *module*.

    Raises: CounError if it is not installed, with the command that installs it.

    >>> optional_package("json", "json").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CounError(f"{module} cannot be imported: {error}; pip install {install}") from None


def mlflow_client(tracking_uri: str | None) -> Any:
    """Return a client of MLflow for runs and registered models.

    Raises: CounError if mlflow is not installed, or lacks what a database needs.

    >>> mlflow_client("sqlite:///mlflow.db")  # doctest: +SKIP
    <mlflow.tracking.client.MlflowClient object at 0x7f2c4c0b5b50>
    """
    mlflow = optional_package("mlflow", "mlflow")
    try:
        return mlflow.MlflowClient(tracking_uri, tracking_uri)
    except ImportError as error:
        raise CounError(
            f"MLflow cannot open {tracking_uri or 'its store'}: {error}; pip install sqlalchemy "
            "alembic, or name a server with a tracking URI"
        ) from None
