"""Models: built-in ones by name, any other network through `Classifier`, and their weights."""

from coun.models.copies import copy_model, make_model
from coun.models.outputs import Classifier, Outputs
from coun.models.weights import load_weights, save_weights, weights_digest
from coun.models.zoo import MODELS, ModelEntry, build

__all__ = [
    "MODELS",
    "Classifier",
    "ModelEntry",
    "Outputs",
    "build",
    "copy_model",
    "load_weights",
    "make_model",
    "save_weights",
    "weights_digest",
]
