"""Labelled rows: where they come from, how they are split and how they are viewed.

`load("hf:data/cifar10")` reads a source, `from_dataset` and `from_arrays` take what Python
already holds; each gives a `Data`. A `Split` says which of its
training rows must be forgotten, a `RowTable` finds them again.
"""

from coun.data.adapter import from_arrays, from_dataset
from coun.data.canaries import Canaries, plant
from coun.data.content import copies, with_copies
from coun.data.data_set import Data
from coun.data.examples import Examples, TensorExamples
from coun.data.out_of_fold import OutOfFold
from coun.data.request_files import read_ids, read_index
from coun.data.row_table import RowTable, align, load_recorded
from coun.data.sources import load
from coun.data.split import Split
from coun.data.transforms import TransformViews
from coun.data.views import Views

__all__ = [
    "Canaries",
    "Data",
    "Examples",
    "OutOfFold",
    "RowTable",
    "Split",
    "TensorExamples",
    "TransformViews",
    "Views",
    "align",
    "copies",
    "from_arrays",
    "from_dataset",
    "load",
    "load_recorded",
    "plant",
    "read_ids",
    "read_index",
    "with_copies",
]
