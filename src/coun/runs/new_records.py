"""Make the records of runs that start, of runs that are complete, and of given weights."""

from __future__ import annotations

import datetime
from typing import Any

from torch import nn

from coun.data import Data
from coun.engine import Compute, Log, environment
from coun.engine.process_group import ProcessGroup
from coun.models import Classifier, weights_digest
from coun.runs.preprocessing import describe_views, printed
from coun.runs.record import (
    ComputeRecord,
    DataRecord,
    MethodRecord,
    ModelRecord,
    RunRecord,
)
from coun.runs.start import RunSpec, wrap


def new_record(spec: RunSpec, classifier: Classifier, compute: Compute) -> RunRecord:
    """Make the record of a run that is about to start."""
    method, split, start = spec.method, spec.split, spec.start
    return RunRecord(
        kind=spec.kind,
        data=describe_data(spec.data),
        model=_describe_model(classifier, start.name, start.config),
        split=split.to_json() if split else None,
        method=MethodRecord(name=method.name, settings=method.settings()),
        original=start.original if spec.kind == "unlearned" else method.settings(),
        original_seed=spec.seed if spec.kind == "original" else start.original_seed,
        seed=spec.seed,
        compute=ComputeRecord(
            device=compute.device.type,
            precision=compute.precision,
            compile=compute.compile,
            ranks=ProcessGroup.current().count,
            memory_format=compute.memory_format,
        ),
        parent=start.parent,
        ancestors=start.ancestors,
        retrain_share=start.retrain_share,
        retain_access=start.retain_access,
        chosen_because=start.chosen_because,
        probe=start.probe.record if start.probe else None,
        environment=environment(),
    ).identified()


def completed_record(record: RunRecord, log: Log, model: nn.Module) -> RunRecord:
    """Add to the *record* what the finished run gave."""
    apart = record.kind == "unlearned" and log.preparation.steps > 0
    return record.model_copy(
        update={
            "status": "complete",
            "stages": log.stages,
            "history": log.history,
            "cost": log.cost if record.kind == "unlearned" else log.cost + log.preparation,
            "preparation_cost": log.preparation if apart else None,
            "profile": log.profile,
            "weights_sha256": weights_digest(model),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )


def given_record(
    model: nn.Module,
    data: Data,
    name: str | None,
    head: str | None,
    config: dict[str, Any] | None = None,
) -> RunRecord:
    """Make the record of a model that coun did not train: its training is unknown."""
    return RunRecord(
        kind="given",
        status="complete",
        data=describe_data(data),
        model=_describe_model(wrap(model, data, head), name, config),
        split=None,
        method=MethodRecord(name="given", settings={}),
        original={},
        original_seed=None,
        seed=0,
        compute=ComputeRecord(device="cpu", precision="fp32"),
        parent=None,
        environment=environment(),
        weights_sha256=weights_digest(model),
    )


def _describe_model(
    classifier: Classifier, name: str | None, config: dict[str, Any] | None
) -> ModelRecord:
    parameters = sum(p.numel() for p in classifier.inner.parameters())
    return ModelRecord(name=name, head=classifier.head_name, parameters=parameters, config=config)


def describe_data(data: Data) -> DataRecord:
    """Record of *data* what is needed to load and check it again."""
    return DataRecord(
        source=data.source,
        limit=data.limit,
        origin=data.origin,
        fingerprint=data.fingerprint,
        classes=list(data.classes),
        shape=list(data.shape),
        vocabulary=data.vocabulary,
        train=len(data.train),
        test=len(data.test),
        views=printed(data.views),
        preprocessing=describe_views(data),
    )
