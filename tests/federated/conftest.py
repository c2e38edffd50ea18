"""What tests of federations share: a federation of four clients and its Original."""

import pytest

import coun
from coun.federated import Federation

FEDERATION = Federation(clients=4, spread="dirichlet", alpha=1.0)


@pytest.fixture(scope="session")
def federation() -> Federation:
    return FEDERATION


@pytest.fixture(scope="session")
def start(small) -> coun.Run:
    """A small cnn with BatchNorm, trained by four clients for three rounds."""
    return coun.train(small, "cnn", federation=FEDERATION, epochs=3)


@pytest.fixture(scope="session")
def client_split(small) -> coun.Split:
    """The rows of client 1."""
    from coun.data.requests import Client

    return coun.Split.of(small, Client(client=1, partition=FEDERATION.partition))
