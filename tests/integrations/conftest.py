"""A tracking store of MLflow, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import coun_command as coun_command


@pytest.fixture
def mlflow_store(tmp_path: Path) -> str:
    """Where MLflow writes; its small package has no database."""
    try:
        import sqlalchemy  # noqa: F401
    except ImportError:
        return (tmp_path / "mlruns").as_uri()
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
