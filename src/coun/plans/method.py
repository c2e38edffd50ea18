"""The base classes of all methods: frozen settings, capabilities and a plan."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.data import Data, Split
from coun.engine import Fit, Optimizer, Phase, Stage, Task
from coun.errors import CounError, nearest
from coun.models import Classifier
from coun.models.ensemble import Layout
from coun.objectives import Objective

FROZEN = ConfigDict(extra="forbid", allow_inf_nan=False)
PAPER_SHARE = 50 / 182  # unlearning epochs over training epochs, in the CoUn paper

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
T = TypeVar("T")

# Settings of several methods, which differ in their defaults only. A method writes `Field(0.1)`,
# not `0.1`, because mypy expects plain defaults after all fields with a `Field`.
RetainEpochs = Annotated[Positive | None, Field(description="Passes over the retain rows.")]
LearningRate = Annotated[float, Field(gt=0, description="Peak learning rate.")]
Schedule = Annotated[
    Literal["cosine", "multistep", "constant"],
    Field(
        description="Learning-rate schedule: cosine decay to lr_floor; multistep, x0.1 at 50% and "
        "75% of the run; or constant."
    ),
]
OptimizerKind = Annotated[
    Literal["sgd", "adamw"], Field(description="Optimizer: SGD with momentum, or AdamW.")
]
LrFloor = Annotated[
    float, Field(ge=0, description="Learning rate at the end of the cosine schedule.")
]
WeightDecay = Annotated[float, Field(ge=0, description="Weight decay, on all parameters.")]
# Of methods that push the loss of forget rows up.
MaxLoss = Annotated[
    float | None,
    Field(
        gt=0,
        description="Loss, in nats, above which a row no longer contributes. Default: ln C, the "
        "loss of a uniform guess among C classes.",
    ),
]


@dataclass(frozen=True, config=FROZEN)
class Method:
    """Base class of every way to make a model forget.

    The dataclass fields of a subclass are its Python arguments, its `--set` options and its
    record in a run folder, all at once. `plan` yields stages, which the engine carries out.

    Class attributes:
        name: the name of the method on the command line and in records.
        source: the publication that the method comes from.
        reads: the roles of data that `plan` may read, "retain" and "forget"; others are refused.
        trains: whether the method trains, rather than only edits weights.
        exact: whether the result is that of a training without the forget rows.
        trains_from_scratch: whether `plan` starts from fresh weights, so that it can also train
            an Original.
        needs_original: whether the method needs the settings and seed of the Original's training.
        edits_first: whether training repairs what an edit of weights has broken.
        changes_inputs: whether the method moves inputs along gradients, which token ids have not.
        changes_features: whether all that the method trains is before the head.
        prepares: whether a model that the method did not train itself is first trained in a
            special way, before requests; this is charged as `preparation_cost`.
        all_forget_rows: whether each forget row comes up in each epoch, however many there are.
        needs_out_of_fold: whether the method needs out-of-fold predictions (`coun prepare`).
        needs_kept_epochs: whether the method needs weights of earlier epochs (`--keep-every`).
        contrast_of: the method that this one equals if the contrastive module is added to it.

    >>> from coun.methods import make
    >>> method = make("finetune", {"epochs": 3})
    >>> method.name, sorted(method.reads), method.epochs
    ('finetune', ['retain'], 3)
    """

    name: ClassVar[str]
    source: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset({"retain"})
    trains: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    trains_from_scratch: ClassVar[bool] = False
    needs_original: ClassVar[bool] = False
    edits_first: ClassVar[bool] = False
    changes_inputs: ClassVar[bool] = False
    changes_features: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    all_forget_rows: ClassVar[bool] = False
    needs_out_of_fold: ClassVar[bool] = False
    needs_kept_epochs: ClassVar[bool] = False
    contrast_of: ClassVar[str | None] = None

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        """Yield the stages that turn *model* into the unlearned model.

        A plan reads *model* but never changes it; only the engine does, by running the stages.
        """
        raise NotImplementedError

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        """Refuse a model, data or a request that the method cannot work with.

        A run calls it before anything is computed or written, and a bench when it is planned, so
        both refuse the same. A subclass that needs more adds to it.

        Args:
            classifier: the model, of which only the architecture matters.
            split: the request; None where the method trains on all rows, or while the request is
                not known yet.

        Raises: CounError that says what does not fit, and what to use instead.
        """
        if self.changes_inputs and data.noun == "text":
            raise CounError(
                f"{self.name} moves inputs along gradients, which token ids do not have; use a "
                "method that does not, such as finetune, coun or scrub"
            )
        if self.changes_features and not _has_encoder(classifier):
            raise CounError(
                f"{self.name} trains the layers before the head, and the model has none that may "
                "change; use a method that trains the head, such as finetune"
            )

    def doubts(self, split: Split) -> list[str]:
        """Say in one line each what in the settings does not suit the request; a run warns of it.

        The settings are complete (`with_defaults_from`).
        """
        return []

    def layout(self, data: Data) -> Layout | None:
        """Describe the ensemble that the method needs; None if the result is one network."""
        return None

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        """Return the method with unset values taken from the *original*'s training settings."""
        return self

    def further_retrains(self) -> int:
        """Return how many Retrains the plan trains on the way, for an estimate of its cost."""
        return 0

    def settings(self) -> dict[str, Any]:
        """Return every setting with its value, ready for JSON."""
        return asdict(self)

    @classmethod
    def summary(cls) -> str:
        """Return one line about the method, from its docstring.

        `python -OO` removes docstrings, and `dataclass` would write a signature in their place; the
        line is then the name.
        """
        if sys.flags.optimize > 1 or not cls.__doc__:
            return cls.name
        return cls.__doc__.strip().splitlines()[0]

    @classmethod
    def needs(cls) -> dict[str, bool]:
        """Return what a user must have to run the method.

        "retain" and "forget" are the rows that it reads; "held_out" are rows that no model has
        trained on; "original_training" is the record of the Original's training; "preparation"
        is a special training, out-of-fold predictions or kept epochs, before the request.
        """
        roles = {role: role in cls.reads for role in ("retain", "forget", "held_out")}
        return {
            **roles,
            "original_training": cls.needs_original,
            "preparation": cls.prepares or cls.needs_out_of_fold or cls.needs_kept_epochs,
        }

    @classmethod
    def contrast_refusal(cls) -> str:
        """Say why CoUn's contrastive module cannot be added to the method; "" if it can."""
        if cls.contrast_of:
            return "it has one already"
        if not cls.trains:
            return "it edits weights and does not train"
        if "retain" not in cls.reads:
            return "it never reads retain rows, the only data that the module may use"
        if cls.exact:
            return "it is exact, and with the module it would no longer be"
        return ""

    @classmethod
    def accepts_contrast(cls) -> bool:
        """Return whether `coun.contrast` can add CoUn's contrastive module to the method."""
        return not cls.contrast_refusal()


@dataclass(frozen=True, config=FROZEN)
class Training(Method):
    """Base class of methods that train; its fields are the settings that they share.

    >>> from coun.methods import make
    >>> method = make("finetune", {"epochs": 3, "batch_size": 32})
    >>> isinstance(method, Training), method.budget()
    (True, (3, 32))
    """

    epochs: Positive | None = Field(
        None,
        description="Passes over the retain rows. Default: 50/182 of the Original's epochs, the "
        "ratio in the CoUn paper.",
    )
    batch_size: Positive | None = Field(
        None, description="Retain rows per step. Default: inherited from the Original."
    )
    lr: float = Field(
        0.05, gt=0, description="Peak learning rate. The CoUn paper tunes it in 0.01..0.1."
    )
    schedule: Schedule = Field("cosine")
    lr_floor: LrFloor = Field(1e-4)
    warmup: Share = Field(
        0.0, description="Fraction of the run in which the learning rate rises linearly from 0."
    )
    optimizer: OptimizerKind = Field("sgd")
    momentum: Share = Field(0.9, description="Momentum of SGD.")
    weight_decay: WeightDecay = Field(5e-4)
    unaugmented_epochs: int = Field(
        0,
        ge=0,
        description="Last epochs in which the labels are learned on images without random "
        "changes, so that the training rows are fitted as they are.",
    )

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        # Left out where it is not set, so that records and hashes of 0.1 stay as they are.
        if not self.unaugmented_epochs:
            del settings["unaugmented_epochs"]
        return settings

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        epochs = self.epochs or max(1, round(PAPER_SHARE * original.get("epochs", 182)))
        return replace(
            self, epochs=epochs, batch_size=self.batch_size or original.get("batch_size", 256)
        )

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if self.epochs and self.unaugmented_epochs > self.epochs:
            raise CounError(
                f"unaugmented_epochs of {self.name} is {self.unaugmented_epochs}, and it has "
                f"{self.epochs} epochs; expected at most as many; lower it, or raise epochs"
            )

    def budget(self) -> tuple[int, int]:
        """Return epochs and batch size; `with_defaults_from` must have filled them in."""
        assert self.epochs
        assert self.batch_size
        return self.epochs, self.batch_size

    def optimization(self) -> Optimizer:
        """Return the optimizer that the settings describe."""
        return Optimizer(
            kind=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            lr_floor=self.lr_floor,
            warmup=self.warmup,
        )

    def fit(
        self,
        *phases: Phase | Objective,
        name: str = "",
        epochs: int | None = None,
        optimizer: Optimizer | None = None,
        mask: Mapping[str, Tensor | bool] | None = None,
        modules: tuple[nn.Module, ...] = (),
    ) -> Fit:
        """Make the stage that trains *phases* with the settings of the method.

        Args:
            phases: what every epoch does, in this order. An `Objective` stands for a phase that
                minimises it over retain batches of the method's batch size.
            name: the name of the stage in the record; by default the method's name.
            epochs: number of epochs; by default the method's.
            optimizer: how weights move; by default as the settings say.
            mask, modules: as in `Fit`.
        """
        own_epochs, size = self.budget()
        return Fit(
            tuple(Phase(p, {"retain": size}) if isinstance(p, Objective) else p for p in phases),
            own_epochs if epochs is None else epochs,
            optimizer or self.optimization(),
            name or self.name,
            mask,
            modules,
            unaugmented_epochs=self.unaugmented_epochs,
        )


@dataclass(frozen=True, config=FROZEN)
class FromScratch(Training):
    """Base class of methods that train fresh weights on the retain rows, which is exact.

    Source: the recipe of CoUn, section 4.1, and of SalUn: SGD, learning rate 0.1, batches of
        256, 182 epochs, x0.1 at 50% and 75%.
    """

    exact: ClassVar[bool] = True
    trains_from_scratch: ClassVar[bool] = True

    epochs: Positive = Field(182, description="Passes over the training rows.")
    batch_size: Positive = Field(256, description="Rows per step.")
    lr: LearningRate = Field(0.1)
    schedule: Schedule = Field("multistep")
    lr_floor: LrFloor = Field(0.0)

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        return self


def _has_encoder(classifier: Classifier) -> bool:
    """Whether a weight outside the head may change; of an ensemble, in its first network."""
    first = getattr(classifier.inner, "members", [classifier])[0]
    head = {id(p) for p in first.head.parameters()}
    return any(p.requires_grad and id(p) not in head for p in first.inner.parameters())


def from_settings(kind: type[T], name: str, settings: Mapping[str, Any]) -> T:
    """Build the pydantic dataclass *kind*, called *name* in messages, from *settings*.

    Raises: CounError for an unknown setting, or for a value that is out of range.
    """
    accepted = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in settings:
        if key not in accepted:
            raise CounError(
                f"unknown setting '{key}' of {name}{nearest(key, accepted)}; "
                f"known: {', '.join(sorted(accepted))}"
            )
    hints = get_type_hints(kind, include_extras=True)
    for key, value in settings.items():  # pydantic would take True for 1
        if isinstance(value, bool) and _takes(hints[key], int, float):
            raise CounError(f"setting {key} of {name} is {value}; expected a number")
    values = {
        key: _split(value) if isinstance(value, str) and _takes(hints[key], tuple, list) else value
        for key, value in settings.items()
    }
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        expected = first["msg"].replace("Input should be ", "").replace("Input", "a value that")
        raise CounError(
            f"setting {key} of {name} is {first['input']!r}; expected {expected}"
        ) from error


def _split(text: str) -> tuple[str, ...]:
    """Split the text of a setting that has several values, as `--set key=a,b` gives it."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _takes(hint: Any, *kinds: type) -> bool:
    """Whether a field of the type *hint* takes a value of one of *kinds*."""
    origin = get_origin(hint) or hint
    if origin in (Annotated, Union, UnionType):
        return any(_takes(each, *kinds) for each in get_args(hint))
    return origin in kinds
