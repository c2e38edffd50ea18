"""What the tests of run folders share: a finished Original and a copy of it."""

import shutil

import pytest

import coun


@pytest.fixture(scope="session")
def digits200():
    """Digits cut by their own loader, so that a folder can load them again."""
    return coun.load("digits", limit=200)


@pytest.fixture(scope="session")
def finished(digits200, tmp_path_factory):
    """A finished Original. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "original"
    coun.train(digits200, "mlp", epochs=1, out=folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the finished Original, which may be changed."""
    return shutil.copytree(finished, tmp_path / "run")
