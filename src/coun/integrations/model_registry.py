"""Versions in the model registry of MLflow, where an alias moves only if the audit passes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from coun.audit import Audit
from coun.audit.verdict import CLEAR
from coun.errors import CounError
from coun.integrations.audits import verdict_about
from coun.integrations.packages import mlflow_client
from coun.runs import Run, export


class Registered(NamedTuple):
    """A version in MLflow.

    Attributes: name, version: as MLflow has them; served: whether the alias points to it.
    """

    name: str
    version: str
    served: bool


def to_mlflow(
    run: Run | str | Path,
    name: str,
    audit: Audit | str | Path,
    *,
    alias: str = "served",
    tracking_uri: str | None = None,
    trust: bool = False,
) -> Registered:
    """Register an unlearned model in MLflow, and serve it if its audit clears it.

    The version holds the weights as safetensors and the numbers of the preprocessing, the method,
    the cost and the verdict. The alias moves to it if the verdict is "equivalent" or "no
    difference found"; otherwise it stays where it is. Programs that load `models:/NAME@served`
    then never get a model that the audit did not clear.

    Args:
        run: a run, or its folder.
        name: of the registered model; it is made if there is none.
        audit: of this model, or the folder that `coun audit --out` wrote.
        alias: that points to the version in service.
        tracking_uri: where MLflow is, such as "sqlite:///mlflow.db".
        trust: as for `Run.open`.

    Raises: CounError if the audit is of another model, or mlflow is not installed.

    >>> made = to_mlflow("unlearned", "digits", "audit")  # doctest: +SKIP
    >>> made.version  # doctest: +SKIP
    1
    """
    if not isinstance(run, Run):
        run = Run.open(run, allow_missing=True, trust=trust)
    record = run.record
    label = verdict_about(record.weights_sha256, audit).label
    quoted = _quoted(name)  # a wrong name is refused before anything is written
    client = mlflow_client(tracking_uri)
    forgotten = 0 if run.split is None else len(run.split.forget)
    tags = {
        "coun.method": record.method.name,
        "coun.verdict": label,
        "coun.forgotten_rows": str(forgotten),
        "coun.weights_sha256": record.weights_sha256,
    }
    with tempfile.TemporaryDirectory() as folder:
        exported = export(run, Path(folder) / "model")
        experiment = client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else client.create_experiment(name)
        number_of_run = client.create_run(number).info.run_id
        client.log_artifacts(number_of_run, str(exported), "model")
    client.log_metric(number_of_run, "flops", record.cost.flops)
    client.set_terminated(number_of_run)
    if not client.search_registered_models(f"name = '{quoted}'"):
        client.create_registered_model(name)
    source = f"{client.get_run(number_of_run).info.artifact_uri}/model"
    made = client.create_model_version(name, source, run_id=number_of_run, tags=tags)
    served = label in CLEAR
    if served:
        client.set_registered_model_alias(name, alias, made.version)
    return Registered(name, str(made.version), served)


def _quoted(name: str) -> str:
    if "'" in name or "/" in name or ":" in name:
        raise CounError(f"the name {name!r} has a quote, slash or colon; expected none of them")
    return name
