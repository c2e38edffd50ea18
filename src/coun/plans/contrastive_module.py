"""CoUn's contrastive module, for any method that trains on retain rows."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from coun.data import Data, Split, Views
from coun.data.row_views import TableViews, TokenViews
from coun.data.views import Transform
from coun.engine import Stage, Task, with_term
from coun.errors import CounError
from coun.models import Classifier, Outputs
from coun.objectives import Objective, labels_of_second_view
from coun.objectives.context import BatchContext
from coun.objectives.contrastive.registry import ContrastiveLoss, find_loss
from coun.objectives.objective import Term
from coun.plans.method import Method, from_settings

EQUAL_VIEWS = 8  # rows whose views are compared
SHARE = re.compile(r"0?\.\d+")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContrastiveModule:
    """A contrastive loss between two views of each retain batch, added to a plan's stages.

    Args:
        loss: the contrastive loss.
        weight: its weight, lambda.
        letters: transforms of the second view alone, or the share of columns or tokens that
            it changes; None means those of the data.
        second_view_labels: weight of the second view's own cross entropy.
        per_batch: whether all images of a batch share one crop and one flip.
        both_views: whether both views of the loss are drawn by *letters*, apart from the view
            whose labels are learned. This costs a third forward pass.
    """

    loss: ContrastiveLoss
    weight: float = 1.0
    letters: str | None = None
    second_view_labels: float = 0.0
    per_batch: bool = False
    both_views: bool = False

    def add_to(self, stages: Iterable[Stage], task: Task) -> Iterator[Stage]:
        """Yield *stages*, with the loss in every phase that reads retain rows.

        At weight 0 the loss is left out, so the result is that of *stages* to the last bit.
        """
        term, state, views = Objective(()), (), self.views(task.data)
        if self.weight:
            self._warn_of_equal_views(task, views)
            generator = task.seeds.torch("contrast", self.loss.name)
            state = self.loss.state(task.teacher, generator)
            loss = self.loss.objective(state)
            term = self.weight * (_of_later_views(loss) if self._is_apart(task.data) else loss)
        term += labels_of_second_view(self.second_view_labels, self.loss.second_view_gradient)
        yield from with_term(stages, term, views, state)

    @property
    def has_state(self) -> bool:
        """Whether modules beside the model are trained or followed, such as a queue of keys."""
        return self.weight > 0 and type(self.loss).state is not ContrastiveLoss.state

    def views(self, data: Data) -> Transform | Mapping[int, Transform] | None:
        """Return the transforms that are not those of *data*; None where all of them are.

        Raises: CounError for views that do not fit the data.
        """
        if isinstance(data.views, TableViews | TokenViews) and not self.per_batch:
            return {1: data.views.second_view(self._share(data))}
        if self.letters is None and not self.per_batch:
            return None
        if not isinstance(data.views, Views):
            setting = "per_batch" if self.per_batch else "contrast views by letters"
            raise CounError(
                f"{setting} needs coun's own views, but this data has its own transform; "
                "leave the setting out"
            )
        if self.letters is None:
            return replace(data.views, per_batch=True)
        views = replace(data.views, letters=self.letters)
        if self.per_batch:
            return {0: replace(data.views, per_batch=True), 1: replace(views, per_batch=True)}
        return {1: views, 2: views} if self.both_views else {1: views}

    def _is_apart(self, data: Data) -> bool:
        """Whether the loss has two views of its own: where they are not drawn as the first is."""
        views = data.views
        return self.both_views and isinstance(views, Views) and self.letters != views.letters

    def _share(self, data: Data) -> float | None:
        """The share of a row that the second view changes, where rows are not images."""
        if self.letters is None:
            return None
        try:
            return float(self.letters)
        except ValueError:
            raise CounError(
                f"contrast views are '{self.letters}', letters for images, but this data holds "
                f"{data.noun}s; expected the share to change, such as 0.3"
            ) from None

    def _warn_of_equal_views(
        self, task: Task, views: Transform | Mapping[int, Transform] | None
    ) -> None:
        """Say that two views of a row are the same, so that the loss cannot pull them together."""
        rows = task.indices("retain")[:EQUAL_VIEWS]
        images = task.data.train.fetch(rows)
        pair = [
            (
                views.get(number, task.data.views)
                if isinstance(views, Mapping)
                else views or task.data.views
            )(images, task.seeds.torch("equal views", number))
            for number in (0, 1)
        ]
        if torch.equal(*pair):
            letters = second_view_letters(task.data)
            _log.warning(
                "the two views of each %s are identical, so the contrastive loss only pushes "
                "different %ss apart; choose %s",
                task.data.noun,
                task.data.noun,
                f"a second view that changes something, such as {letters} (--set "
                f"second_view_letters={letters} for coun, --contrast-views {letters} for others)"
                if letters
                else "views of the data that change something (views=...)",
            )


def second_view_letters(data: Data) -> str | None:
    """Letters of the second view that images need whose own views change nothing; else None.

    Colour images are flipped, which came nearer to Retrain than a crop as well
    (docs/results/nearest-experiments.md). Grey images are cropped: the mirror image of a digit is
    another symbol. They are normalised if the views of the data are.

    >>> import coun
    >>> from coun.data.preprocessing import with_views
    >>> second_view_letters(with_views(coun.load("digits", limit=20), "none"))
    'CN'
    """
    views = data.views
    if not isinstance(views, Views) or set(views.letters) - {"N"} or len(data.shape) != 3:
        return None
    change = "H" if "H" in Views.for_images(tuple(data.shape)).letters else "C"
    return change + "N" * ("N" in views.letters)


class _LaterViews:
    """A batch context in which view 0 is view 1 of another one, view 1 its view 2, and so on."""

    def __init__(self, context: BatchContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def inputs(self, role: str, view: int = 0) -> Tensor:
        return self._context.inputs(role, view + 1)

    def outputs(self, role: str, view: int = 0, **options: Any) -> Outputs:
        return self._context.outputs(role, view + 1, **options)


def _of_later_views(objective: Objective) -> Objective:
    """Return the same terms of the second and third view of each batch."""

    def shifted(term: Term) -> Term:
        return lambda context: term(cast(BatchContext, _LaterViews(context)))

    return Objective(tuple((weight, shifted(term)) for weight, term in objective.parts))


@dataclass(frozen=True)
class Contrasted(Method):
    """A method with CoUn's contrastive module added; `contrast` makes it."""

    method: Method
    module: ContrastiveModule

    def __post_init__(self) -> None:
        # A frozen dataclass refuses assignments, so the values go past it.
        self.__dict__["name"] = f"{self.method.name}+{self.module.loss.name}"
        self.__dict__["contrast_of"] = self.method.name
        capabilities = ("needs_original", "needs_out_of_fold", "needs_kept_epochs")
        for key in ("source", "reads", "trains", *capabilities):
            self.__dict__[key] = getattr(self.method, key)

    @classmethod
    def contrast_refusal(cls) -> str:
        return "it has one already"

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        self.method.check(classifier, data, split)
        self.module.views(data)

    def with_defaults_from(self, original: Mapping[str, Any]) -> Contrasted:
        return replace(self, method=self.method.with_defaults_from(original))

    def further_retrains(self) -> int:
        return self.method.further_retrains()

    def settings(self) -> dict[str, Any]:
        module = {
            "loss": self.module.loss.name,
            "weight": self.module.weight,
            "views": self.module.letters,
            "second_view_labels": self.module.second_view_labels,
            # Left out where it is not set, so that records and hashes of 0.1 stay as they are.
            **({"both_views": True} if self.module.both_views else {}),
        }
        return {**self.method.settings(), "contrast": {**module, **asdict(self.module.loss)}}

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        return self.module.add_to(self.method.plan(model, task), task)


def contrast(
    method: Method,
    loss: str = "info_nce",
    weight: float = 1.0,
    views: str | None = None,
    second_view_labels: float = 0.0,
    both_views: bool = False,
    **settings: Any,
) -> Contrasted:
    """Add CoUn's contrastive module to *method*.

    The module adds *weight* times a contrastive loss to every phase that reads retain rows. Only
    retain rows enter the loss, even where a phase reads forget rows as well.

    Args:
        method: a method that trains on retain rows and is not exact.
        loss: the name of a contrastive loss, see `coun.objectives.contrastive.registry.LOSSES`, or
            `package.module:Class` or `./file.py:Class` for one of your own.
        weight: weight of the loss, lambda in the paper; at 0 the result is that of *method*, to
            the last bit.
        views: letters of the second view's transforms, for example "CHJN"; for tables and
            texts the share of the columns or tokens that it changes, for example "0.3". None
            means those of the data.
        second_view_labels: weight of the second view's own cross entropy, which needs no further
            forward pass. It is not in the paper, and suits methods that learn the retain labels.
        both_views: draw both views of the loss as *views* says, apart from the view whose labels
            are learned, as in the paper's Figure 9. A step then has three forward passes, unless
            *views* are those of the data.
        settings: settings of the loss, for example `temperature=0.1`.

    Returns: the method with the module, called for example "not+info_nce".

    Raises: CounError for a method that does not accept the module, an unknown loss or setting,
        or a value out of range.

    Source: CoUn (Khalil et al., NeurIPS 2025), section 4.3, which adds the module to NegGrad+,
        l1-sparse and NoT. Added to fine-tuning it is CoUn.

    >>> from coun.methods import contrast, make
    >>> contrast(make("not"), temperature=0.1).name
    'not+info_nce'
    """
    # Whoever passes the name asks to run its code; a config is asked for trust when it is read.
    kind = find_loss(loss, trust=True)
    if reason := method.contrast_refusal():
        raise CounError(f"{method.name} does not accept the contrastive module: {reason}")
    if not isinstance(both_views, bool):
        raise CounError(f"the contrastive both_views is {both_views!r}; expected true or false")
    if both_views and views is None:
        raise CounError("both_views needs views: letters of the two views, for example CHJGN")
    weight = _non_negative("weight", weight)
    labels = _non_negative("second_view_labels", second_view_labels)
    chosen = from_settings(kind, kind.name, settings)
    # Both calls only check, so that a mistake is reported now and not at the first batch.
    check_second_view(views)
    labels_of_second_view(labels, chosen.second_view_gradient)
    return Contrasted(
        method, ContrastiveModule(chosen, weight, views, labels, both_views=both_views)
    )


def check_second_view(letters: str | None) -> None:
    """Refuse a second view that is neither letters of `Views` nor a share such as "0.3"."""
    if letters is not None and not SHARE.fullmatch(letters):
        Views(letters=letters)


def _non_negative(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < math.inf:
        raise CounError(f"the contrastive {name} is {value}; expected a number, 0 or more")
    return number
