"""Train, retrain and unlearn: the functions that the command line, the demo and a user call."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coun.data import Data, Split, load
from coun.engine import Checkpoint, Compute, Engine, Task, forward_flops
from coun.engine.ranks import Ranks
from coun.errors import CounError
from coun.files import write_json
from coun.methods import Method, make
from coun.methods import contrast as add_contrast
from coun.methods.retrain import Retrain
from coun.models import Classifier, build, load_weights, save_weights, weights_digest
from coun.runs.folder import CHECKPOINT, RECORD, WEIGHTS, claim, read_record
from coun.runs.options import Options
from coun.runs.recipes import recipe
from coun.runs.record import begin
from coun.seeds import Seeds


@dataclass(eq=False)
class Run:
    """A model, and everything needed to say where it came from.

    Attributes:
        model: the trained or unlearned module, in eval mode.
        data, split: what it was made with; split is None for an Original.
        record: the content of `run.json`: settings, seed, cost, environment, parent.
        folder: where it was written, if anywhere.
        build: makes the model afresh, if that is known.
    """

    model: nn.Module
    data: Data
    split: Split | None
    record: dict[str, Any]
    folder: Path | None = None
    build: Callable[[], nn.Module] | None = None

    @property
    def classifier(self) -> Classifier:
        """The model wrapped to give logits and features."""
        return wrap(self.model, self.data, self.record["model"]["head"])

    @classmethod
    def open(cls, folder: str | Path, *, data: Data | None = None) -> Run:
        """The finished run in *folder*; its data is loaded again unless given.

        Raises: CounError if the folder is no finished run, the data changed since (its
            fingerprint differs), or the weights do not fit the model.
        """
        folder = Path(folder)
        record = read_record(folder)
        known = record["data"]
        if data is None:
            if not known["source"]:
                raise CounError(
                    f"{folder} was made from data passed in Python; pass data=... again"
                )
            data = load(known["source"], limit=known["limit"], **known["origin"])
        if data.fingerprint != known["fingerprint"]:
            raise CounError(
                f"the data of {folder} changed: its fingerprint was {known['fingerprint'][:12]}, "
                f"now it is {data.fingerprint[:12]}; restore the data or train again"
            )
        name = record["model"]["name"]
        if name is None:
            raise CounError(f"{folder} holds a module passed in Python; load its weights there")
        make_model = partial(build, name, classes=len(data.classes), shape=data.shape)
        model = make_model()
        load_weights(model, folder / WEIGHTS)
        split = Split.from_json(data, record["split"]) if record["split"] else None
        return cls(model.eval(), data, split, record, folder, make_model)


@dataclass
class _Start:
    """Where a run begins: a model, how to make it again, and what is on record of it."""

    model: nn.Module
    name: str | None
    build: Callable[[], nn.Module] | None
    original: dict[str, Any] = field(default_factory=dict)
    original_seed: int | None = None
    parent: dict[str, Any] | None = None
    head: str | None = None


def train(
    data: Data,
    model: str | nn.Module | Callable[[], nn.Module],
    *,
    split: Split | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Run:
    """Train an Original on all of *data*, or, with a *split*, a Retrain on its retain rows.

    Args:
        model: a name (`coun.MODELS`, or "package.module:factory"), a function that makes a
            fresh module, or (without *split*) a module, whose own weights are the start.
        seed: fixes initialisation, order and views. An Original and a Retrain of one seed
            start from different weights.
        out: a run folder to write; an interrupted run in it is resumed, a finished one returned.
        settings: of the recipe (`Retrain`), e.g. epochs=30, lr=0.1.

    Raises: CounError for bad settings, or a folder that holds another run.
    """
    options = options or Options()
    name = model if isinstance(model, str) else None
    method = recipe(name, settings)
    parent = None
    if isinstance(model, str):
        maker: Callable[[], nn.Module] = partial(
            build, model, classes=len(data.classes), shape=data.shape
        )
    elif isinstance(model, nn.Module):
        if split is not None:
            raise CounError(
                "a Retrain must not start from given weights; pass the function that makes it"
            )
        maker = partial(copy.deepcopy, model)
        parent = {"folder": None, "method": None, "weights_sha256": weights_digest(model)}
    else:
        maker = model
    with Seeds(seed).as_global("init", "shape"):
        start = _Start(maker(), name, maker, parent=parent, head=options.head)
    return _execute(method, data, split, start, seed, out, options)


def unlearn(
    start: Run | str | Path | nn.Module,
    split: Split | None = None,
    method: str | Method = "coun",
    *,
    data: Data | None = None,
    build: Callable[[], nn.Module] | None = None,
    name: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    options: Options | None = None,
    contrast: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Make *start* forget the forget rows of *split*; *start* itself is not changed.

    Args:
        start: a `Run`, a run folder, or any trained nn.Module (then *data* is needed).
        split: which rows to forget; by default the one on *start*'s record.
        method: a name that `coun methods` lists, with *settings*, or a `Method`.
        build: makes a fresh model, for methods that need one from a bare module.
        name: what the record calls a bare module, if it can be built by that name again.
        seed: fixes order, views and whatever the method draws.
        out: a run folder to write; an interrupted run in it is resumed, a finished one returned.
        contrast: arguments of `coun.contrast`, to add the contrastive module to the method.

    Returns: the unlearned run. Its model is a new object.

    Raises: CounError for bad settings, a missing split, or a folder that holds another run.
    """
    options = options or Options()
    if isinstance(start, (str, Path)):
        start = Run.open(start, data=data)
    if isinstance(start, Run):
        data, split = start.data, split or start.split
        record = start.record
        origin = _Start(
            start.model,
            record["model"]["name"],
            start.build,
            record["original"],
            record["original_seed"],
            {
                "folder": str(start.folder) if start.folder else None,
                "method": record["method"]["name"],
                "weights_sha256": record["weights_sha256"],
            },
            options.head or record["model"]["head"],
        )
    else:
        if data is None:
            raise CounError("a bare module does not know its data; pass data=...")
        digest = {"folder": None, "method": None, "weights_sha256": weights_digest(start)}
        origin = _Start(start, name, build, parent=digest, head=options.head)
    if split is None:
        raise CounError(
            "no forget request: give --forget-fraction, --forget-class or --forget-index"
        )
    if isinstance(method, str):
        inherited = origin.original if method == Retrain.name else {}
        method = make(method, {**inherited, **settings})
    elif settings:
        raise CounError("settings go into the Method object, or pass the method by name")
    if contrast is not None:
        method = add_contrast(method, **contrast)
    if isinstance(method, Retrain):
        origin.parent = None  # it starts afresh
    return _execute(method.resolved(origin.original), data, split, origin, seed, out, options)


def _execute(
    method: Method,
    data: Data,
    split: Split | None,
    start: _Start,
    seed: int,
    out: str | Path | None,
    options: Options,
) -> Run:
    if split is not None:
        split.check(data)
    exact = isinstance(method, Retrain)
    if exact and start.build is None:
        raise CounError("Retrain needs a fresh model; pass the function that makes one as build=")
    if method.needs_original and start.original_seed is None:
        raise CounError(
            f"{method.name} needs to know how the Original was trained, and bare weights do not "
            "tell; start from a run folder that coun train wrote"
        )
    kind = ("original" if split is None else "retrain") if exact else "unlearned"
    model = copy.deepcopy(start.model)
    classifier = wrap(model, data, start.head)
    flops = forward_flops(classifier, _example(data, model)[:1])
    compute = Compute.choose(
        options.device, options.precision, macs=flops / 2, compile=options.compile
    )
    record = begin(
        kind,
        method,
        data,
        split,
        classifier,
        compute,
        name=start.name,
        seed=seed,
        original=method.settings() if exact else start.original,
        original_seed=seed if kind == "original" else start.original_seed,
        parent=start.parent,
    )
    folder = Path(out) if out is not None else None
    if folder is not None and claim(folder, record):
        return (
            Run.open(folder, data=data)
            if start.name
            else _reopen(folder, model, data, split, start)
        )
    checkpoint = None
    if folder is not None:
        every = options.checkpoint_every
        checkpoint = Checkpoint(folder / CHECKPOINT, record["identity"], every=every)
    # FT and CoUn share a stream, so that CoUn at weight 0 is FT to the bit.
    seeds = Seeds(seed).fork(kind)
    task = Task(
        data,
        split,
        seeds,
        method.reads,
        classifier,
        start.build,
        compute.device,
        flops,
        {}
        if start.original_seed is None
        else {"settings": start.original, "seed": start.original_seed},
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
    log = engine.run(method.plan(model, task))
    compute.bring_back(model)
    model.eval()
    record |= {
        "status": "complete",
        "stages": log.stages,
        "history": log.history,
        "cost": log.cost.to_json(),
        **({"profile": log.profile} if log.profile else {}),
        "weights_sha256": weights_digest(model),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if folder is not None and Ranks.current().leads:
        save_weights(model, folder / WEIGHTS)
        write_json(folder / RECORD, record)
        assert checkpoint
        checkpoint.clear()
    return Run(model, data, split, record, folder, start.build)


def _reopen(folder: Path, model: nn.Module, data: Data, split: Split | None, start: _Start) -> Run:
    load_weights(model, folder / WEIGHTS)
    return Run(model.eval(), data, split, read_record(folder), folder, start.build)


def wrap(model: nn.Module, data: Data, head: str | None) -> Classifier:
    """*model* as a classifier of *data*. Raises: CounError if it has not K outputs."""
    classifier = Classifier(model, head, example=_example(data, model))
    outputs = classifier.head.out_features
    if outputs != len(data.classes):
        raise CounError(
            f"the model has {outputs} outputs but the data has {len(data.classes)} classes; "
            "expected the same number"
        )
    return classifier


def _example(data: Data, model: nn.Module) -> Tensor:
    """A batch of two blank images, as the model sees them; no sample is read for it."""
    blank = torch.zeros((2, *data.shape), dtype=data.dtype)
    return data.views.evaluate(blank).to(next(model.parameters()).device)
