"""Why a method works: alignment of views, steepness of features, the loss nearby, relearning."""

from coun.analysis.alignment import ViewSpread, jacobian_norms, view_spread
from coun.analysis.bounds import theory
from coun.analysis.loss_landscape import Slice, filter_directions, landscape
from coun.analysis.relearning import Relearned, relearn

__all__ = [
    "Relearned",
    "Slice",
    "ViewSpread",
    "filter_directions",
    "jacobian_norms",
    "landscape",
    "relearn",
    "theory",
    "view_spread",
]
