"""What training minimises: weighted sums of terms, each a function of one step."""

from coun.objectives.contrastive import info_nce, info_nce_loss
from coun.objectives.objective import Objective, Term
from coun.objectives.step import Step
from coun.objectives.supervised import cross_entropy

__all__ = ["Objective", "Step", "Term", "cross_entropy", "info_nce", "info_nce_loss"]
