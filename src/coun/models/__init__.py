"""Models: built-in ones by name, any other network through `Classifier`, and their weights."""

from coun.models.copies import (
    copy_model,
    gives_same_weights,
    inner_network,
    make_like,
    make_model,
    to_be_filled,
)
from coun.models.families import Preprocessing
from coun.models.outputs import Classifier, Outputs
from coun.models.weights import load_weights, save_weights, weights_digest
from coun.models.zoo import (
    MODELS,
    ModelEntry,
    build,
    check_name,
    load_trained,
    name_of_folder,
    preprocessing,
    recorded_config,
)

__all__ = [
    "MODELS",
    "Classifier",
    "ModelEntry",
    "Outputs",
    "Preprocessing",
    "build",
    "check_name",
    "copy_model",
    "gives_same_weights",
    "inner_network",
    "load_trained",
    "load_weights",
    "make_like",
    "make_model",
    "name_of_folder",
    "preprocessing",
    "recorded_config",
    "save_weights",
    "to_be_filled",
    "weights_digest",
]
