"""Averages of models beside numpy's, and their size in bytes."""

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from coun.federated.averaging import average, state_bytes, state_of


def networks(count):
    torch.manual_seed(0)
    for _ in range(count):
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        net(torch.randn(8, 3))  # moves BatchNorm's statistics
        yield state_of(net)


def test_an_average_is_that_of_numpy_buffers_included():
    states, weights = list(networks(3)), [5, 1, 4]
    mean = average(states, weights)
    for name, value in mean.items():
        expected = np.average([s[name].double().numpy() for s in states], axis=0, weights=weights)
        assert value.dtype == states[0][name].dtype
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-7)
    assert mean["1.running_mean"].abs().sum() > 0


def test_integers_are_rounded():
    states = [{"count": torch.tensor(n)} for n in (1, 2)]
    assert average(states, [1, 3])["count"] == 2  # of 1.75


def test_the_average_of_one_model_is_that_model_to_the_bit():
    (state,) = networks(1)
    mean = average([state], [12345])
    assert all(torch.equal(mean[name], value) for name, value in state.items())


def test_a_model_has_the_size_of_its_file_without_the_header():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    data = save(net.state_dict())
    assert state_bytes(net) == len(data) - 8 - int.from_bytes(data[:8], "little")
