"""Contrastive losses: pure functions of the embeddings of two views, and CoUn's term.

All of them raise half precision to float32, keep float64, and raise ValueError for shapes and
temperatures that they cannot use. Rows are normalised inside, unless a loss says otherwise.
"""

from coun.objectives.contrastive.cross_view import Directions, info_nce, info_nce_loss
from coun.objectives.contrastive.nt_xent import debiased_loss, moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss, sce_loss
from coun.objectives.contrastive.supcon import supcon_loss

__all__ = [
    "Directions",
    "barlow_twins_loss",
    "co2_loss",
    "debiased_loss",
    "info_nce",
    "info_nce_loss",
    "moco_loss",
    "nt_xent_loss",
    "sce_loss",
    "supcon_loss",
    "vicreg_loss",
]
