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
import torch._dynamo  # by torch with its first optimizer; it sets an environment variable
from torch import nn

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


@pytest.fixture
def defaults_of_torch():
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.usefixtures("defaults_of_torch")
def test_another_default_of_torch_is_refused_with_how_to_restore_it(small, split, original):
    calls = (
        lambda: coun.load("digits", limit=20),
        lambda: coun.from_dataset([], []),
        lambda: coun.from_arrays([], [], [], []),
        lambda: coun.train(small, "mlp", epochs=1),
        lambda: coun.unlearn(original, split, "finetune", epochs=1),
        lambda: coun.Run.from_weights(original.model, small),
    )
    torch.set_default_dtype(torch.float64)
    for call in calls:
        with pytest.raises(CounError, match=r"type is float64.*set_default_dtype\(torch.float32"):
            call()
    torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        for call in calls:
            with pytest.raises(CounError, match="default device is meta.*--device"):
                call()
    with torch.device("cuda"), pytest.raises(CounError, match="default device is .*--device"):
        coun.load("digits", limit=20)  # also where torch has no CUDA


def test_autocast_of_the_host_is_refused_because_results_would_depend_on_it(small, split, original):
    calls = (
        lambda: coun.train(small, "mlp", epochs=1),
        lambda: coun.unlearn(original, split, "finetune", epochs=1),
        lambda: coun.evaluate(original),
    )
    for call in calls:
        with (
            torch.autocast("cpu", torch.bfloat16),
            pytest.raises(CounError, match=r"autocast is on.*Options\(precision"),
        ):
            call()
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        coun.evaluate(original)


class Fourier(nn.Module):
    """A network with a complex weight."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(64, 16, dtype=torch.complex64))
        self.layer = nn.Linear(16, 10)

    def forward(self, x):
        return self.layer((x.flatten(1).to(torch.complex64) @ self.mix).abs())


def test_complex_weights_are_refused_unless_they_are_frozen(small, split):
    with pytest.raises(CounError, match="'mix' of Fourier holds complex numbers.*view_as_real"):
        coun.unlearn(Fourier(), split, "finetune", data=small, epochs=1)
    with pytest.raises(CounError, match="'mix' of Fourier holds complex numbers.*view_as_real"):
        coun.train(small, Fourier, epochs=1)
    network = Fourier()
    network.mix.requires_grad_(False)
    run = coun.unlearn(network, split, "finetune", data=small, epochs=1, lr=0.01)
    assert torch.equal(run.model.mix, network.mix)
    assert not torch.equal(run.model.layer.weight, network.layer.weight)


def test_methods_that_read_one_row_work_beside_batch_norm(small):
    def network():
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)
        )

    one = coun.Split.by_index(small, small.train.numbers[:1])
    for method in ("neggrad", "neggrad_plus", "scrub"):
        run = coun.unlearn(network(), one, method, data=small, epochs=1, lr=0.01)
        assert all(value.isfinite().all() for value in run.model.state_dict().values())
    others = coun.Split.by_index(small, small.train.numbers[1:])
    coun.unlearn(network(), others, "finetune", data=small, epochs=1, lr=0.01)
    coun.train(small, network, epochs=1, batch_size=1)


def test_numbers_of_numpy_are_numbers(small):
    run = coun.train(small, "mlp", epochs=np.int64(1), seed=np.int32(3), lr=np.float32(0.1))
    assert (run.record.seed, type(run.record.seed)) == (3, int)


def test_an_embedding_with_sparse_gradients_is_trained_as_a_dense_one(small):
    class Embeds(nn.Module):
        def __init__(self, sparse=True):
            super().__init__()
            self.e, self.fc = nn.Embedding(9, 2, sparse=sparse), nn.Linear(128, 10)

        def forward(self, x):
            return self.fc(self.e(x.flatten(1).long().clamp(0, 8)).flatten(1))

    runs = [coun.train(small, make, epochs=1) for make in (Embeds, lambda: Embeds(False))]
    split = coun.Split.random(small, 0.1)
    runs += [coun.unlearn(run, split, "retrain", epochs=1) for run in runs]
    sparse, dense = runs[::2], runs[1::2]
    assert [run.record.weights_sha256 for run in sparse] == [
        run.record.weights_sha256 for run in dense
    ]
    assert Embeds().e.sparse
