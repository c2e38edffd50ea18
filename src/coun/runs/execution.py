"""Execute the plan of a method: record, checkpoint, train, write the run folder."""

from __future__ import annotations

import datetime
from pathlib import Path

import torch
from torch import nn

from coun.data import Data, Split
from coun.data.row_table import RowTable
from coun.engine import Checkpoint, Compute, Engine, Log, Task, environment, forward_flops
from coun.engine.device import keep_freed_memory
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import file_digest
from coun.methods import Method
from coun.models import Classifier, copy_model, load_weights, save_weights, weights_digest
from coun.runs.folder import (
    CHECKPOINT,
    ROWS,
    WEIGHTS,
    abandon_folder,
    expanded,
    read_record,
    reserve_folder,
    write_record,
)
from coun.runs.options import Options
from coun.runs.record import (
    ComputeRecord,
    DataRecord,
    Kind,
    MethodRecord,
    ModelRecord,
    RunRecord,
)
from coun.runs.run import Run
from coun.runs.start import Start, blank, shaped, wrap
from coun.seeds import Seeds


def execute(
    kind: Kind,
    method: Method,
    data: Data,
    split: Split | None,
    start: Start,
    seed: int,
    out: str | Path | None,
    options: Options,
) -> Run:
    """Run the plan of *method* from *start*, or return the finished run that *out* holds.

    Raises: CounError if split, method, start or folder do not fit together, or training fails.
    """
    if split is not None:
        split.check(data)
        _require_rows(method, data, split)
    start = shaped(start, method, data)
    if kind == "retrain" and start.build is None:
        raise CounError("Retrain needs a fresh model; pass the function that makes one as build=")
    if method.needs_original and start.original_seed is None:
        raise CounError(
            f"{method.name} needs to know how the Original was trained, and bare weights do not "
            "tell; start from a run folder that coun train wrote"
        )
    model = copy_model(start.model)
    classifier = wrap(model, data, start.head)
    flops = forward_flops(classifier, blank(data)[:1].to(next(model.parameters()).device))
    compute = Compute.choose(
        options.device, options.precision, macs=flops / 2, compile=options.compile
    )
    record = _new_record(kind, method, data, split, start, seed, classifier, compute)
    folder = expanded(out) if out is not None else None
    checkpoint = None
    if folder is not None:
        if reserve_folder(folder, record):
            load_weights(model, folder / WEIGHTS)
            return Run(model.eval(), data, split, read_record(folder), folder, start.build)
        every = options.checkpoint_every
        checkpoint = Checkpoint(folder / CHECKPOINT, record.identity, every=every)
    # FT and CoUn share a stream, so that CoUn at weight 0 is FT to the bit; a shard has its
    # own, so that it is the same whether it is trained with the others or alone.
    seeds = Seeds(seed).fork(method.name if method.layout(data) else kind)
    original = {"settings": start.original, "seed": start.original_seed}
    task = Task(
        data,
        split,
        seeds,
        method.reads,
        classifier,
        start.build,
        compute.device,
        flops,
        {} if start.original_seed is None else original,
    )
    engine = Engine(
        task,
        compute,
        checkpoint=checkpoint,
        progress=options.progress,
        title=method.name,
        workers=options.workers,
        profile=options.profile,
    )
    if options.keep_freed_memory and compute.device.type == "cpu":
        keep_freed_memory()
    try:
        log = engine.run(method.plan(model, task))
    except CounError:
        if folder is not None:
            abandon_folder(folder)
        raise
    compute.to_cpu(model)
    record = _completed(record, log, model.eval())
    if folder is not None and checkpoint is not None and ProcessGroup.current().is_main:
        save_weights(model, folder / WEIGHTS)
        RowTable.of(data, split).save(folder / ROWS)
        rows = {"rows_sha256": file_digest(folder / ROWS)}
        record = record.model_copy(update={"data": record.data.model_copy(update=rows)})
        write_record(folder, record)
        checkpoint.clear()
    return Run(model, data, split, record, folder, start.build)


def _require_rows(method: Method, data: Data, split: Split) -> None:
    """Refuse a method that reads forgotten rows where some of them are deleted."""
    missing = split.new[~torch.isin(split.new, data.train.numbers)]
    if "forget" in method.reads and len(missing):
        raise CounError(
            f"{method.name} reads the rows to forget, and {len(missing):,} of {len(split.new):,} "
            "are deleted from the data; restore them, or use a method that reads retained rows "
            "only, such as finetune, coun or retrain (column 'reads' of coun methods)"
        )


def _new_record(
    kind: Kind,
    method: Method,
    data: Data,
    split: Split | None,
    start: Start,
    seed: int,
    classifier: Classifier,
    compute: Compute,
) -> RunRecord:
    """Make the record of a run that is about to start."""
    return RunRecord(
        kind=kind,
        data=describe_data(data),
        model=ModelRecord(
            name=start.name,
            head=classifier.head_name,
            parameters=sum(p.numel() for p in classifier.inner.parameters()),
        ),
        split=split.to_json() if split else None,
        method=MethodRecord(name=method.name, settings=method.settings()),
        original=start.original if kind == "unlearned" else method.settings(),
        original_seed=seed if kind == "original" else start.original_seed,
        seed=seed,
        compute=ComputeRecord(
            device=compute.device.type,
            precision=compute.precision,
            compile=compute.compile,
            ranks=ProcessGroup.current().count,
        ),
        parent=start.parent,
        ancestors=start.ancestors,
        environment=environment(),
    ).identified()


def _completed(record: RunRecord, log: Log, model: nn.Module) -> RunRecord:
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


def describe_data(data: Data) -> DataRecord:
    """Record of *data* what is needed to load and check it again."""
    return DataRecord(
        source=data.source,
        limit=data.limit,
        origin=data.origin,
        fingerprint=data.fingerprint,
        classes=list(data.classes),
        shape=list(data.shape),
        train=len(data.train),
        test=len(data.test),
        views=_printed(data.views),
    )


def _printed(views: object) -> str:
    """Return how a transform prints, or its class where that would show an address."""
    text = repr(views)
    return f"{type(views).__module__}.{type(views).__qualname__}" if " at 0x" in text else text
