"""The library changes nothing in the process that uses it."""

import importlib
import os
import random
import signal
import sys
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import coun
from coun.errors import CounError
from coun.models import save_weights, weights_digest


def state():
    """What a library call could change in the process, as values that can be compared."""
    return (
        plt.get_backend(),
        dict(matplotlib.rcParams),
        list(sys.path),
        list(warnings.filters),
        dict(os.environ),
        [signal.getsignal(number) for number in signal.valid_signals()],
        torch.initial_seed(),
        torch.get_num_interop_threads(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),
    )


def test_training_unlearning_and_evaluation_leave_the_process_as_it_was(small, split):
    before = state()
    run = coun.unlearn(coun.train(small, "cnn", epochs=1), split, "coun", epochs=1)
    coun.evaluate(run)
    importlib.import_module("coun.report")
    importlib.import_module("coun.audit")
    assert state() == before


def test_opening_a_run_leaves_the_process_as_it_was(original, small, split, tmp_path):
    folder = coun.unlearn(original, split, "finetune", epochs=1, out=tmp_path / "u").folder
    save_weights(original.model, tmp_path / "given.safetensors")
    before = state()
    run = coun.Run.open(folder, data=small)
    coun.load_model(folder)
    coun.export(folder, tmp_path / "served", "safetensors")
    coun.Run.from_weights(tmp_path / "given.safetensors", small, "cnn")
    coun.audit.audit([run], [])
    assert state() == before


def test_training_works_where_gradients_are_switched_off(original, split):
    expected = coun.unlearn(original, split, "salun", epochs=1)
    with torch.no_grad():
        run = coun.unlearn(original, split, "salun", epochs=1)
    assert weights_digest(run.model) == weights_digest(expected.model)
    with torch.inference_mode(), pytest.raises(CounError, match="inside torch.inference_mode"):
        coun.unlearn(original, split, "finetune", epochs=1)


@pytest.mark.parametrize("asked", [False, True])
def test_the_allocator_is_changed_only_by_an_option(small, monkeypatch, asked):
    calls = []
    monkeypatch.setattr("coun.runs.execution.keep_freed_memory", lambda: calls.append(1))
    coun.train(small, "mlp", epochs=1, options=coun.Options(keep_freed_memory=asked))
    assert bool(calls) == asked
