"""CoUn: make a trained classifier forget, and prove it.

>>> import coun
>>> data = coun.load("digits")
>>> split = coun.Split.random(data, 0.1, seed=0)
>>> original = coun.train(data, "cnn", epochs=1)
>>> unlearned = coun.unlearn(original, split, "coun", epochs=1)
>>> sorted(coun.evaluate(unlearned))[0]
'counts'
"""

from coun.audit import audit
from coun.data import Data, Split, Views, from_arrays, from_dataset, load, read_index
from coun.errors import CounError
from coun.methods import Method, contrast
from coun.models import MODELS
from coun.runs import Options, Run, evaluate, train, unlearn

__version__ = "0.1.0"

__all__ = [
    "MODELS",
    "CounError",
    "Data",
    "Method",
    "Options",
    "Run",
    "Split",
    "Views",
    "audit",
    "contrast",
    "evaluate",
    "from_arrays",
    "from_dataset",
    "load",
    "read_index",
    "train",
    "unlearn",
]
