"""Execute the plan of a method: record, checkpoint, train, write the run folder."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from coun.data import Data, Split
from coun.data.data_set import blank_inputs
from coun.data.row_table import RowTable
from coun.data.split_rows import without
from coun.data.subsets import stratified
from coun.engine import Checkpoint, Compute, Cost, Engine, Task, forward_flops
from coun.engine.device import keep_freed_memory
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError, require_type
from coun.files import file_digest
from coun.methods import Method
from coun.methods.retrain import Retrain
from coun.models import Classifier, copy_model, load_weights, save_weights
from coun.runs.answers import with_answers
from coun.runs.folder import (
    CHECKPOINT,
    OUT_OF_FOLD,
    ROWS,
    WEIGHTS,
    expanded,
    read_record,
    reserved,
    write_record,
)
from coun.runs.kept_epochs import EpochKeeper, kept_in
from coun.runs.new_records import completed_record, new_record
from coun.runs.options import Options
from coun.runs.prepared import carried, with_digest_of_predictions, with_predictions_of
from coun.runs.record import RunRecord
from coun.runs.run import Run, check_weights
from coun.runs.start import RunSpec, shaped, wrap
from coun.seeds import Seeds


def execute(spec: RunSpec, out: str | Path | None, options: Options) -> Run:
    """Run the plan of *spec*'s method, or return the finished run that *out* holds.

    Raises: CounError if split, method, start or folder do not fit together, or training fails.
    """
    spec = _checked(spec)
    model = copy_model(spec.start.model)
    classifier = wrap(model, spec.data, spec.start.head)
    spec.method.check(classifier, spec.data, spec.split)
    example = blank_inputs(spec.data)[:1].to(next(model.parameters()).device)
    flops = forward_flops(classifier, example)
    compute = Compute.choose(
        options.device,
        options.precision,
        flops=flops,
        compile=options.compile,
        memory_format=options.memory_format,
    )
    record = new_record(spec, classifier, compute)
    folder = expanded(out) if out is not None else None
    with reserved(folder, record) as finished:
        if folder is not None and finished:
            if options.progress and ProcessGroup.current().is_main:
                print(
                    f"{folder} holds this run already; nothing is computed again", file=sys.stderr
                )
            return _finished(spec, model, folder)
        task = _task(spec, classifier, compute.device, flops)
        return _computed(spec, task, compute, record, folder, options)


def _checked(spec: RunSpec) -> RunSpec:
    """Refuse parts that do not fit together; the start gets the architecture of the method."""
    method, data, split = spec.method, spec.data, spec.split
    if split is not None:
        split.check(data)
        _require_rows(method, data, split)
    start = shaped(spec.start, method, data)
    if spec.kind == "retrain" and start.build is None:
        raise CounError("Retrain needs a fresh model; pass the function that makes one as build=")
    require_type(spec.seed, (int, np.integer), "seed", "an integer")
    if method.needs_out_of_fold:
        start = with_digest_of_predictions(start)
    return replace(spec, start=start, seed=int(spec.seed))


def _finished(spec: RunSpec, model: nn.Module, folder: Path) -> Run:
    """The run that *folder* holds, with its weights in *model*."""
    load_weights(model, folder / WEIGHTS)
    record = read_record(folder)
    check_weights(folder, record, model)
    model.eval()
    run = Run(model, spec.data, spec.split, record, folder, spec.start.build)
    run.out_of_fold = carried(folder, record, spec.data)
    run.kept_epochs = kept_in(folder, record)
    return run


def _task(spec: RunSpec, classifier: Classifier, device: torch.device, flops: float) -> Task:
    """What the plan of *spec*'s method may use."""
    method, start = spec.method, spec.start
    # FT and CoUn share a stream, so that CoUn at weight 0 is FT to the bit; a shard has its
    # own, so that it is the same whether it is trained with the others or alone.
    seeds = Seeds(spec.seed).fork(method.name if method.layout(spec.data) else spec.kind)
    original = {"settings": start.original, "seed": start.original_seed}
    task = Task(
        spec.data,
        spec.split,
        seeds,
        method.reads,
        classifier,
        start.build,
        device,
        flops,
        {} if start.original_seed is None else original,
        start.probe.cost if start.probe else Cost(),
        out_of_fold=start.out_of_fold,
        held_out=start.held_out,
        kept_epochs=start.kept_epochs,
    )
    if start.retain_access is None:
        return task
    readable = readable_rows(spec.data, spec.split, start.retain_access, spec.seed)
    return task.with_rows(retain=readable)


def _computed(
    spec: RunSpec,
    task: Task,
    compute: Compute,
    record: RunRecord,
    folder: Path | None,
    options: Options,
) -> Run:
    """Run the plan, or what an interruption left of it, and write the folder."""
    method, model = spec.method, task.classifier.inner
    checkpoint = None
    if folder is not None:
        every = options.checkpoint_every
        checkpoint = Checkpoint(folder / CHECKPOINT, record.identity, every=every)
    keeper = None
    if options.keep_every and ProcessGroup.current().is_main:
        keeper = _keeper(method, model, folder, options.keep_every)
    engine = Engine(
        task,
        compute,
        checkpoint=checkpoint,
        progress=options.progress,
        title=method.name,
        workers=options.workers,
        profile=options.profile,
        after_epoch=keeper or (lambda epochs: None),
        on_epoch=options.on_epoch,
    )
    if options.keep_freed_memory and compute.device.type == "cpu":
        keep_freed_memory()
    log = engine.run(method.plan(model, task))
    compute.to_cpu(model)
    model.eval()
    record = completed_record(record, log, model)
    if keeper:
        record = record.model_copy(update={"kept_epochs": keeper.digests()})
    run = Run(model, spec.data, spec.split, record, folder, spec.start.build)
    run = with_predictions_of(spec.start, run)
    if keeper:
        run.kept_epochs = keeper.loaders if folder is None else kept_in(folder, record)
    if folder is not None and checkpoint is not None and ProcessGroup.current().is_main:
        run.record = _save(folder, run)
        checkpoint.clear()
    return run


def readable_rows(data: Data, split: Split | None, share: float, seed: int) -> torch.Tensor:
    """Return the positions of a seeded *share* of the retain rows, the same share of each class."""
    assert split is not None
    retain = split.rows(data, "retain")
    count = max(1, round(share * len(retain)))
    return retain[stratified(data.train.labels[retain], count, seed)]


def _keeper(method: Method, model: nn.Module, folder: Path | None, every: int) -> EpochKeeper:
    """Make what keeps the weights of every so many epochs.

    Raises: CounError if *method* does not train one network in one stage.
    """
    if not isinstance(method, Retrain):
        raise CounError(
            f"epochs of {method.name} cannot be kept; keep_every is for plain training, which is "
            "the method retrain"
        )
    if every > method.epochs:
        raise CounError(
            f"keep_every is {every}, but the training has {method.epochs} epochs, so none would be "
            "kept; expected fewer"
        )
    return EpochKeeper(model, every, method.epochs, folder)


def _save(folder: Path, run: Run) -> RunRecord:
    """Write a finished run; the record comes last, because it says that the rest is complete."""
    save_weights(run.model, folder / WEIGHTS)
    RowTable.of(run.data, run.split).save(folder / ROWS)
    if run.out_of_fold is not None:
        run.out_of_fold.save(folder / OUT_OF_FOLD)
    rows = {"rows_sha256": file_digest(folder / ROWS)}
    record = run.record.model_copy(update={"data": run.record.data.model_copy(update=rows)})
    record = with_answers(record, run.model, run.data.input_shape)
    write_record(folder, record)
    return record


def _require_rows(method: Method, data: Data, split: Split) -> None:
    """Refuse a method that reads forgotten rows where some of them are deleted."""
    missing = without(split.new, data.train.numbers)
    if "forget" in method.reads and len(missing):
        raise CounError(
            f"{method.name} reads the rows to forget, and {len(missing):,} of {len(split.new):,} "
            "are deleted from the data; restore them, or use a method that reads retained rows "
            "only, such as finetune, coun or retrain (column 'reads' of coun methods)"
        )
