"""What a classifier learns from labels: cross entropy on one view of a role, or on the second."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from coun.errors import CounError
from coun.objectives.context import BatchContext
from coun.objectives.objective import Objective


def cross_entropy(role: str = "retain", *, view: int = 0) -> Objective:
    """Return the mean cross entropy (nats) of one view of *role* against its labels.

    >>> len(cross_entropy("retain").parts)
    1
    """

    def term(context: BatchContext) -> Tensor:
        return F.cross_entropy(context.outputs(role, view).logits, context.labels(role))

    return Objective.of(term)


def labels_of_second_view(weight: float, gradient: bool = True) -> Objective:
    """Return *weight* times the cross entropy of retain view 1.

    It is for phases with a contrastive loss between views 0 and 1.

    Raises: CounError if *weight* is not 0 but *gradient* is false, because such a view cannot be
        trained.

    >>> labels_of_second_view(0.0).parts
    ()
    """
    if weight and not gradient:
        raise CounError(
            f"second_view_labels is {weight} but second_view_gradient is false, so that this view "
            "cannot be trained; leave one of them out"
        )
    return weight * cross_entropy("retain", view=1) if weight else Objective(())
