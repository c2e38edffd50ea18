"""Writers of training curves, read back by the packages themselves, without network."""

from __future__ import annotations

from pathlib import Path

import pytest

import coun
from coun.errors import CounError
from coun.integrations import mlflow_writer, packages, tensorboard_writer, wandb_writer


@pytest.fixture(scope="module")
def data() -> coun.Data:
    return coun.load("digits", limit=40)


def trained(data: coun.Data, on_epoch) -> coun.Run:
    return coun.train(data, "mlp", epochs=3, options=coun.Options(on_epoch=on_epoch))


def test_the_function_gets_every_row_of_the_record(data) -> None:
    rows: list[dict[str, object]] = []
    run = trained(data, rows.append)
    assert rows == run.record.history
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(CounError, match="on_epoch is a str"):
        coun.Options(on_epoch="tensorboard")  # type: ignore[arg-type]


def test_what_the_function_raises_ends_the_run(data) -> None:
    def stop(row: object) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError):
        trained(data, stop)


def test_tensorboard_reads_the_curves(data, tmp_path: Path) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with tensorboard_writer(tmp_path / "logs") as on_epoch:
        run = trained(data, on_epoch)
    events = reading.EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    stage = run.record.history[0]["stage"]
    losses = events.Scalars(f"{stage}/phase 1/loss")
    assert [event.step for event in losses] == [1, 2, 3]
    expected = [row["loss"] for row in run.record.history]
    assert [event.value for event in losses] == pytest.approx(expected, rel=1e-5)


def test_mlflow_reads_the_curves(data, mlflow_store) -> None:
    mlflow = pytest.importorskip("mlflow")
    where = mlflow_store
    with mlflow_writer("march", tracking_uri=where) as on_epoch:
        run = trained(data, on_epoch)
    client = mlflow.MlflowClient(where)
    (computed,) = client.search_runs([client.get_experiment_by_name("march").experiment_id])
    assert computed.info.status == "FINISHED"
    stage = run.record.history[0]["stage"]
    losses = client.get_metric_history(computed.info.run_id, f"{stage}/phase 1/loss")
    assert [m.value for m in losses] == [row["loss"] for row in run.record.history]


def test_wandb_writes_offline(data, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    with wandb_writer("coun", dir=str(tmp_path)) as on_epoch:
        trained(data, on_epoch)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))


def test_a_missing_package_says_how_to_install_it(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name}")

    monkeypatch.setattr(packages.importlib, "import_module", missing)
    with pytest.raises(CounError, match="pip install tensorboard"), tensorboard_writer("logs"):
        pass
