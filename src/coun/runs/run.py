"""Train, retrain and unlearn: the functions that the command line, the demo and a user call."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from coun.data import Data, Split, load
from coun.engine import Checkpoint, Compute, Engine, Task, forward_flops
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import write_json
from coun.methods import Method, make
from coun.methods import contrast as add_contrast
from coun.methods.retrain import Retrain
from coun.models import Classifier, build, load_weights, save_weights, weights_digest
from coun.runs.folder import CHECKPOINT, RECORD, WEIGHTS, claim, read_record, release
from coun.runs.options import Options
from coun.runs.recipes import inherited, recipe
from coun.runs.record import begin
from coun.runs.start import Start, blank, shaped
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


def train(
    data: Data,
    model: str | nn.Module | Callable[[], nn.Module],
    *,
    method: str = Retrain.name,
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
        method: "retrain", which is plain training, or "sisa" or "arcane", to be ready for
            their requests.
        seed: fixes initialisation, order and views. An Original and a Retrain of one seed
            start from different weights.
        out: a run folder to write; an interrupted run in it is resumed, a finished one returned.
        settings: of the method, e.g. epochs=30, lr=0.1; what is left open is its recipe's.

    Raises: CounError for bad settings, or a folder that holds another run.
    """
    options = options or Options()
    name = model if isinstance(model, str) else None
    how = recipe(name, settings, method)
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
        start = Start(maker(), name, maker, parent=parent, head=options.head)
    kind = "original" if split is None else "retrain"
    return _execute(kind, how, data, split, start, seed, out, options)


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
        origin = Start(
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
        origin = Start(start, name, build, parent=digest, head=options.head)
    if split is None:
        raise CounError(
            "no forget request: give --forget-fraction, --forget-class or --forget-index"
        )
    if isinstance(method, str):
        known = start.record if isinstance(start, Run) else {}
        method = make(method, {**inherited(method, known), **settings})
    elif settings:
        raise CounError("settings go into the Method object, or pass the method by name")
    if contrast is not None:
        method = add_contrast(method, **contrast)
    kind = "retrain" if method.name == Retrain.name else "unlearned"
    if kind == "retrain":
        origin.parent = None  # it starts afresh
    how = method.with_defaults_from(origin.original)
    return _execute(kind, how, data, split, origin, seed, out, options)


def _execute(
    kind: str,
    method: Method,
    data: Data,
    split: Split | None,
    start: Start,
    seed: int,
    out: str | Path | None,
    options: Options,
) -> Run:
    if split is not None:
        split.check(data)
    start = shaped(start, method, data)
    if kind == "retrain" and start.build is None:
        raise CounError("Retrain needs a fresh model; pass the function that makes one as build=")
    if method.needs_original and start.original_seed is None:
        raise CounError(
            f"{method.name} needs to know how the Original was trained, and bare weights do not "
            "tell; start from a run folder that coun train wrote"
        )
    model = copy.deepcopy(start.model)
    classifier = wrap(model, data, start.head)
    flops = forward_flops(classifier, blank(data)[:1].to(next(model.parameters()).device))
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
        original=start.original if kind == "unlearned" else method.settings(),
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
    # FT and CoUn share a stream, so that CoUn at weight 0 is FT to the bit; a shard has its
    # own, so that it is the same whether it is trained with the others or alone.
    seeds = Seeds(seed).fork(method.name if method.layout(data) else kind)
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
    try:
        log = engine.run(method.plan(model, task))
    except CounError:
        if folder is not None:
            release(folder)
        raise
    compute.to_cpu(model)
    model.eval()
    record |= {
        "status": "complete",
        "stages": log.stages,
        "history": log.history,
        "cost": (log.cost if kind == "unlearned" else log.cost + log.preparation).to_json(),
        **(
            {"preparation_cost": log.preparation.to_json()}
            if kind == "unlearned" and log.preparation.steps
            else {}
        ),
        **({"profile": log.profile} if log.profile else {}),
        "weights_sha256": weights_digest(model),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if folder is not None and ProcessGroup.current().is_main:
        save_weights(model, folder / WEIGHTS)
        write_json(folder / RECORD, record)
        assert checkpoint
        checkpoint.clear()
    return Run(model, data, split, record, folder, start.build)


def _reopen(folder: Path, model: nn.Module, data: Data, split: Split | None, start: Start) -> Run:
    load_weights(model, folder / WEIGHTS)
    return Run(model.eval(), data, split, read_record(folder), folder, start.build)


def wrap(model: nn.Module, data: Data, head: str | None) -> Classifier:
    """*model* as a classifier of *data*. Raises: CounError if it has not K outputs."""
    classifier = Classifier(model, head, example=blank(data).to(next(model.parameters()).device))
    outputs = classifier.head.out_features
    if outputs != len(data.classes):
        raise CounError(
            f"the model has {outputs} outputs but the data has {len(data.classes)} classes; "
            "expected the same number"
        )
    return classifier
