"""What a run starts from, in the architecture that its method needs, and what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from coun.data import Data, Examples, OutOfFold, Split
from coun.errors import CounError
from coun.methods import Method
from coun.models import Classifier, build
from coun.models.ensemble import FORGOTTEN, Layout, Shards
from coun.models.inputs import run
from coun.models.modes import in_eval_mode, layers_put_into_eval_mode
from coun.models.outputs import ONE_LOGIT, candidates
from coun.runs.record import Kind, OutOfFoldRecord, ParentRecord, StepRecord
from coun.seeds import Seeds, restored_generator
from coun.trust import Trust

if TYPE_CHECKING:
    from coun.runs.probing import Probe

_log = logging.getLogger(__name__)


@dataclass
class Start:
    """The model that a run starts from, how to make it again, and what is recorded of it."""

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
        make = partial(Shards, layout, make, example=blank(data), head=start.head)
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


def require_trainable(model: nn.Module) -> None:
    """Refuse a model without a real weight that may change, and `torch.inference_mode`."""
    if torch.is_inference_mode_enabled():
        raise CounError(
            "nothing can be trained inside torch.inference_mode(); call coun outside of it"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise CounError(
            f"all weights of {type(model).__name__} are frozen (requires_grad is False), so that "
            "it can neither learn nor forget; call requires_grad_(True) on what may change"
        )
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.is_complex():
            raise CounError(
                f"'{name}' of {type(model).__name__} holds complex numbers, which no method "
                "changes; keep them as real ones, torch.view_as_real(weight), and make them "
                "complex in the forward, or freeze them"
            )


def warn_of_modes(model: nn.Module) -> None:
    """Say which layers in eval mode training will set to train mode."""
    if layers := layers_put_into_eval_mode(model):
        named = f"layer {layers[0]} is" if len(layers) == 1 else f"layers {_first(layers)} are"
        _log.warning(
            "%s in eval mode in a network in train mode, and will be trained like all others; to "
            "keep the statistics of a BatchNorm or a dropout off, give the network a method "
            "train that leaves these layers in eval mode",
            named,
        )


def warn_of_random_answers(model: nn.Module, example: Tensor) -> None:
    """Say that a network answers at random in eval mode, as with dropout that is never off.

    Args: example: a batch of inputs; of images, random ones of its shape are run.
    """
    with restored_generator(), torch.no_grad(), in_eval_mode(model):
        if example.is_floating_point():  # a blank image hides what is random in an image
            example = torch.randn_like(example)
        try:
            answers = [candidates(run(model, example)) for _ in range(2)]
        except Exception:  # whatever it raises, the classifier that is made next says why
            return
    pairs = zip(*answers, strict=True)
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs):
        _log.warning(
            "%s answers the same row differently each time, also in eval mode, so that its "
            "metrics hold for one draw only; if that is dropout, turn it off by "
            "F.dropout(x, p, self.training)",
            type(model).__name__,
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)


def wrap(model: nn.Module, data: Data, head: str | None) -> Classifier:
    """Wrap *model* as a classifier of *data*.

    Raises: CounError if the model does not have one output per class.
    """
    device = next(model.parameters(), torch.empty(0)).device  # a model may lack weights
    classifier = Classifier(model, head, example=blank(data).to(device))
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


def blank(data: Data) -> Tensor:
    """Make a batch of two blank images, as the model sees them, without reading a row.

    Of texts, it has the largest token id, so that a model that takes fewer is found at once.
    """
    rows = torch.zeros((2, *data.shape), dtype=data.dtype)
    if data.vocabulary:
        rows[1, 0] = data.vocabulary - 1
    return data.views.evaluate(rows)
