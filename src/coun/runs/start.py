"""What a run starts from, in the architecture that its method needs, and what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from coun.data import Data, Examples, OutOfFold, Split
from coun.data.data_set import blank_inputs
from coun.errors import CounError
from coun.methods import Method
from coun.models import Classifier, build
from coun.models.ensemble import FORGOTTEN, Layout, Shards
from coun.models.outputs import ONE_LOGIT
from coun.runs.record import Kind, OutOfFoldRecord, ParentRecord, StepRecord
from coun.seeds import Seeds
from coun.trust import Trust

if TYPE_CHECKING:
    from coun.runs.probing import Probe

_log = logging.getLogger(__name__)


@dataclass
class Start:
    """The model that a run starts from, how to make it again, and what is recorded of it.

    Attributes:
        model, head: the network, and the name of its last linear layer.
        name, config, build: how to make it again; *name* and *config* are None for a module that
            was passed in Python, *build* is None where nothing makes one.
        original, original_seed, parent, ancestors, retrain_share, retain_access, chosen_because,
            probe: as in the record of the run (`RunRecord`).
        out_of_fold, out_of_fold_record: predictions by models that had not seen the rows.
        held_out: rows that the start was not trained on, for methods that read such rows.
        kept_epochs: by epoch, what loads the weights that were kept of it into a model.
    """

    model: nn.Module
    name: str | None
    build: Callable[[], nn.Module] | None
    original: dict[str, Any] = field(default_factory=dict)
    original_seed: int | None = None
    parent: ParentRecord | None = None
    ancestors: list[StepRecord] = field(default_factory=list)
    head: str | None = None
    retrain_share: float | None = None
    retain_access: float | None = None
    chosen_because: str = ""
    probe: Probe | None = None
    out_of_fold: OutOfFold | None = None
    held_out: Examples | None = None
    kept_epochs: Mapping[int, Callable[[nn.Module], object]] = field(default_factory=dict)
    out_of_fold_record: OutOfFoldRecord | None = None
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunSpec:
    """What a run does: a method changes the model of a start, for the rows of a split."""

    kind: Kind
    method: Method
    data: Data
    split: Split | None
    start: Start
    seed: int


def builder(
    name: str,
    data: Data,
    *,
    trust: Trust,
    vocabulary: int | None = None,
    config: dict[str, Any] | None = None,
) -> Callable[[], nn.Module]:
    """Return the function that builds the model *name* for *data*.

    Args:
        trust, config: as for `coun.models.build`.
        vocabulary: number of token ids of texts, as a record gives it; by default that of *data*.
    """
    return partial(
        build,
        name,
        classes=len(data.classes),
        shape=data.input_shape,
        vocabulary=vocabulary or data.vocabulary,
        trust=trust,
        config=config,
    )


def shaped(start: Start, method: Method, data: Data) -> Start:
    """Return *start*, or in its place what *method* builds of the same networks.

    An ensemble that is divided anew discards its networks, but keeps which rows it had to
    forget.

    Raises: CounError if networks must be made and nothing makes them, or if a method for one
        network is to start from an ensemble.
    """
    layout, model = method.layout(data), start.model
    ensemble = model if isinstance(model, Shards) else None
    if layout == (ensemble.layout if ensemble else None):
        return start
    if layout is None and not method.exact:
        raise CounError(
            f"{method.name} changes one network, but this model is an ensemble of "
            f"{len(ensemble.members) if ensemble else 0}; expected an exact method"
        )
    parsed = Layout.parse(start.name or "")
    name, make = parsed[1] if parsed else start.name, ensemble.make if ensemble else start.build
    if make is None:
        raise CounError(
            f"{method.name} trains fresh networks; pass the function that makes one as build="
        )
    if layout is not None and name:
        name = layout.name(name)
        # Whoever made the start has asked for its code.
        make = builder(name, data, trust=True, config=start.config)
    elif layout is not None:
        make = partial(Shards, layout, make, example=blank_inputs(data), head=start.head)
    with Seeds(0).as_global("init", "shape"):  # the plan draws the weights that count
        fresh = make()
    if ensemble and isinstance(fresh, Shards) and len(fresh.place) == len(ensemble.place):
        fresh.place[ensemble.place == FORGOTTEN] = FORGOTTEN
    if start.parent is not None and not ensemble:
        _log.warning(
            "%s trains fresh networks; the weights of the model it starts from are not used",
            method.name,
        )
    return replace(start, model=fresh, name=name, build=make, head=None)


def wrap(model: nn.Module, data: Data, head: str | None) -> Classifier:
    """Wrap *model* as a classifier of *data*.

    Raises: CounError if the model does not have one output per class.
    """
    device = next(model.parameters(), torch.empty(0)).device  # a model may lack weights
    classifier = Classifier(model, head, example=blank_inputs(data).to(device))
    problem = getattr(getattr(model, "config", None), "problem_type", None)
    if problem in ("multi_label_classification", "regression"):
        raise CounError(
            f"the configuration of the model says that it is for {problem.replace('_', ' ')}; "
            "expected a classifier that gives each row one class, trained by cross entropy"
        )
    outputs = classifier.out_features
    if outputs != len(data.classes):
        advice = ONE_LOGIT if outputs == 1 else "expected the same number"
        raise CounError(
            f"the model has {outputs} output{'s' * (outputs != 1)} but the data has "
            f"{len(data.classes)} classes; {advice}"
        )
    return classifier
