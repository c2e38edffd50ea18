"""Files of out-of-fold predictions that are damaged."""

import numpy as np
import pytest
import torch

from coun.data import OutOfFold
from coun.errors import CounError


@pytest.fixture
def saved(small, tmp_path):
    """A file of predictions, and what it holds."""
    shape = (2, len(small.train), len(small.classes))
    table = torch.randn(shape, generator=torch.Generator().manual_seed(0)).log_softmax(2)
    predictions = OutOfFold(tuple(small.ids), table, small.classes)
    path = tmp_path / "out_of_fold.npz"
    predictions.save(path)
    return path, predictions


def test_a_file_that_was_cut_is_one_line(saved, small, refused):
    path, _ = saved
    whole = path.read_bytes()
    for size in (0, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with refused(f"cannot read {path}: ", "expected an npz file"):
            OutOfFold.load(path, small)


def test_a_changed_byte_is_one_line_or_changes_nothing(saved, small):
    path, predictions = saved
    whole, rng, messages = path.read_bytes(), np.random.default_rng(0), []
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            loaded = OutOfFold.load(path, small)
        except CounError as error:
            messages.append(str(error))
        else:  # a byte that nobody reads, such as the date of an entry
            assert loaded.log_probabilities.equal(predictions.log_probabilities)
    assert len(messages) > 75
    assert not any("\n" in message for message in messages)
