"""A registry that has fulfilled one request, made once; tests that write get a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import coun


def write_pictures(folder: Path, people=("alice", "bob", "carol"), each: int = 8) -> Path:
    """Bright and dark pictures in two class folders, with names of people."""
    rng = np.random.default_rng(0)
    for level, label in enumerate(("cat", "dog")):
        (folder / label).mkdir(parents=True)
        for person in people:
            for number in range(each):
                pixels = rng.integers(90 * level, 90 * level + 120, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{person}-{number}.png")
    return folder


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory) -> Path:
    """Photographs, and an Original that was trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    data = coun.load(f"folder:{write_pictures(folder / 'photos')}")
    coun.train(data, "mlp", epochs=8, out=folder / "original")
    return folder


@pytest.fixture(scope="session")
def fulfilled_folder(trained_folder, tmp_path_factory) -> Path:
    """A registry in which alice's pictures were forgotten by version 2; bob's are due."""
    folder = tmp_path_factory.mktemp("fulfilled") / "registry"
    registry = coun.Registry.init(folder, trained_folder / "original")
    data = registry.data()[0]
    names = [*data.ids, *data.test.ids]
    registry.add(ids=[n for n in names if "alice" in n], reason="consent", received="2026-03-01")
    registry.fulfil(method="finetune", settings={"epochs": 1}, page=False)
    registry.add(ids=[n for n in names if "bob" in n], received="2026-03-02", due="2026-04-01")
    registry.close()
    return folder


@pytest.fixture
def fulfilled(fulfilled_folder, tmp_path) -> coun.Registry:
    """A copy of that registry, to write to."""
    shutil.copytree(fulfilled_folder, tmp_path / "registry")
    return coun.Registry.open(tmp_path / "registry")


@pytest.fixture
def begun(trained_folder, tmp_path) -> coun.Registry:
    """A registry without requests."""
    return coun.Registry.init(tmp_path / "begun", trained_folder / "original")
