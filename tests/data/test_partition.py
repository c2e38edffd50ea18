"""Partitions of rows among clients: what must hold of any draw, and that it never moves."""

from dataclasses import replace

import pytest
import torch

import coun
from coun.data.data_set import AbsentRows
from coun.data.partition import SMALLEST, Partition
from coun.data.requests import Client, parse
from coun.errors import CounError


def shares(client, labels, clients):
    """How many rows of each class every client has."""
    classes = int(labels.max()) + 1
    counts = (client * classes + labels).bincount(minlength=clients * classes)
    return counts.view(clients, classes).double()


@pytest.fixture(scope="module")
def labels():
    return torch.arange(2000) % 10


@pytest.mark.parametrize("clients", [1, 3, 7])
def test_iid_parts_are_of_equal_size(labels, clients):
    sizes = Partition(clients=clients).assign(labels).bincount(minlength=clients)
    assert sizes.sum() == 2000
    assert sizes.max() - sizes.min() <= 1


def test_iid_parts_are_random_and_seeded(labels):
    first, again, other = (Partition(partition_seed=s).assign(labels) for s in (0, 0, 1))
    assert torch.equal(first, again)
    # Two independent draws agree in a tenth of the rows.
    assert (first == other).double().mean() == pytest.approx(0.1, abs=0.03)
    table = shares(first, labels, 10)
    assert (table.sum(1) == 200).all()
    assert table.max() < 40  # 20 expected, standard deviation 4.2


def test_alpha_says_how_uneven_the_classes_are(labels):
    def largest(alpha):
        """The mean share of a client's rows that its largest class has."""
        values = []
        for seed in range(5):
            how = Partition(spread="dirichlet", alpha=alpha, partition_seed=seed)
            table = shares(how.assign(labels), labels, 10)
            assert table.sum() == 2000
            assert table.sum(1).min() >= SMALLEST
            assert (table.sum(0) == 200).all()
            values.append((table.max(1).values / table.sum(1)).mean())
        return float(torch.stack(values).mean())

    assert largest(0.1) > 0.5
    assert 0.1 < largest(1000.0) < 0.15


def test_dirichlet_shares_have_the_moments_of_the_distribution(labels):
    """The share of one client in one class has mean 1/K and variance (K-1) / (K^2 (K alpha + 1)).

    With 2 clients of 1000 rows, the condition on the smallest client hardly ever applies.
    """
    values = []
    for seed in range(40):
        client = Partition(clients=2, spread="dirichlet", alpha=2.0, partition_seed=seed)
        values.append(shares(client.assign(labels), labels, 2)[0] / 200)
    drawn = torch.cat(values)
    assert drawn.mean() == pytest.approx(0.5, abs=0.04)
    assert drawn.var() == pytest.approx(1 / (4 * 5), rel=0.2)


def test_impossible_partitions_are_refused(labels):
    with pytest.raises(CounError, match="5 clients share 3 rows"):
        Partition(clients=5).assign(labels[:3])
    with pytest.raises(CounError, match="fewer than 10 rows; use fewer clients"):
        Partition(spread="dirichlet", alpha=0.01).assign(labels[:100])


def test_a_client_request_names_the_rows_of_the_client(small):
    partition = Partition(clients=4)
    split = coun.Split.of(small, Client(client=2, partition=partition))
    rows = [r for r, c in enumerate(partition.clients_of(small).tolist()) if c == 2]
    assert split.forget.tolist() == small.train.numbers[rows].tolist()
    assert split.describe() == "client 2 of 4 clients, iid"
    assert parse(split.request[0].model_dump(mode="json")) == split.request[0]


def test_client_requests_that_do_not_fit_are_refused(small):
    with pytest.raises(CounError, match="not how rows are divided"):
        coun.Split.of(small, Client(client=2))
    with pytest.raises(CounError, match="names client 4; expected 0 to 3"):
        coun.Split.of(small, Client(client=4, partition=Partition(clients=4)))


def test_a_deleted_row_keeps_its_client_and_moves_no_other(small):
    partition = Partition(clients=4, spread="dirichlet", alpha=1.0)
    whole = partition.clients_of(small)
    rest, lost = torch.arange(5, 200), torch.arange(5)
    train = small.train
    absent = AbsentRows(train.numbers[lost], train.labels[lost], tuple(train.ids[r] for r in lost))
    smaller = replace(small, train=train.take(rest), absent=absent)
    assert torch.equal(partition.clients_of(smaller), whole[rest])
    assert partition.digest(smaller) == partition.digest(small)
    client = int(whole[0])
    numbers = Client(client=client, partition=partition).numbers(smaller)
    assert int(train.numbers[0]) in numbers.tolist()
