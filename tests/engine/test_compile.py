"""Compiled training equals eager training within rounding, and repeats to the same bits."""

import pytest
import torch

import coun
from coun.engine import Compute
from coun.models import weights_digest


def test_compiled_training_follows_eager_training(small, split, original):
    def run(compile):
        options = coun.Options(compile=compile)
        return coun.unlearn(original, split, "coun", epochs=1, lr=0.02, options=options)

    eager, one, two = run(False), run(True), run(True)
    assert weights_digest(one.model) == weights_digest(two.model)
    for (name, a), b in zip(
        eager.model.state_dict().items(), one.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4, msg=name)
    assert one.record["compute"]["compile"] is True
    assert one.record["identity"] != eager.record["identity"]


def test_a_missing_compiler_is_reported_in_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(coun.CounError, match=r"C\+\+ compiler"):
        Compute.choose("cpu", compile=True)
