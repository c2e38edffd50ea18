"""A small workload of three tasks on digits, and its Original."""

import pytest
import torch

from coun.multitask import TaskRequest, three_tasks, train


@pytest.fixture(scope="session")
def workload(small):
    return three_tasks(small, vehicles=frozenset("01234"))


@pytest.fixture(scope="session")
def start(workload):
    return train(workload, "cnn", epochs=3, batch_size=32)


@pytest.fixture(scope="session")
def request_of_a_task(workload):
    """30 rows, for the task of the class."""
    return TaskRequest(workload.data.train.numbers[20:50], ("class",))


@pytest.fixture
def weights():
    def digest(run):
        return torch.cat([p.detach().flatten() for p in run.classifier.inner.parameters()])

    return digest
