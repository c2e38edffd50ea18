"""What training minimises: weighted sums of terms, each a function of one batch."""

from coun.objectives.context import BatchContext
from coun.objectives.contrastive import (
    barlow_twins_loss,
    co2_loss,
    debiased_loss,
    info_nce,
    info_nce_loss,
    moco_loss,
    nt_xent_loss,
    sce_loss,
    supcon_loss,
    vicreg_loss,
)
from coun.objectives.objective import Objective, Term
from coun.objectives.supervised import cross_entropy, labels_of_second_view

__all__ = [
    "BatchContext",
    "Objective",
    "Term",
    "barlow_twins_loss",
    "co2_loss",
    "cross_entropy",
    "debiased_loss",
    "info_nce",
    "info_nce_loss",
    "labels_of_second_view",
    "moco_loss",
    "nt_xent_loss",
    "sce_loss",
    "supcon_loss",
    "vicreg_loss",
]
