"""What every test shares: small data, a trained net, one thread."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from prepared import prepared
from torch import nn

# Tests compare with numbers of a CPU. Those of tests/engine/test_on_a_gpu.py ask for a device.
if not os.environ.get("COUN_TEST_DEVICE"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import coun
from coun.engine import Engine, Task
from coun.errors import CounError
from coun.models import Classifier
from coun.seeds import Seeds

# What `make test-quick` leaves out: tests that start processes, train on every network, run pages.
SLOW = (
    "bench/execute", "bench/test_main.py", "cli/test_audit.py", "cli/test_startup.py", "demo",
    "docs", "engine/test_process_group.py", "methods/test_on_models.py", "models/test_plugin.py",
    "pages",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow folders and files."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            name = item.path.relative_to(here).as_posix()
            if name.startswith(SLOW):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_cache():
    """Decoded images are kept nowhere, unless a test says where."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUN_CACHE", "none")
        yield


@pytest.fixture(scope="session")
def digits() -> coun.Data:
    return coun.load("digits")


@pytest.fixture(scope="session")
def small(digits) -> coun.Data:
    """200 training and 100 test digits."""
    train, test = digits.train.take(torch.arange(200)), digits.test.take(torch.arange(100))
    return replace(digits, train=train, test=test, source="")


@pytest.fixture(scope="session")
def split(small) -> coun.Split:
    """30 of the 200 rows are to be forgotten; not the first two, which give the shape."""
    return coun.Split.by_index(small, range(20, 50))


@pytest.fixture(scope="session")
def trained_cnn(small) -> coun.Run:
    run = coun.train(small, "cnn", epochs=3)
    return prepared(run)


@pytest.fixture
def original(trained_cnn) -> coun.Run:
    """A cnn with BatchNorm, three epochs old, on `small`; every test has its own copy."""
    return replace(trained_cnn, model=copy.deepcopy(trained_cnn.model))


@pytest.fixture
def write_photos(tmp_path) -> Callable[..., Path]:
    """Write a folder of random pictures in class folders; return it."""

    def write(side=lambda number: 8, name="{number:02d}.png", **counts: int) -> Path:
        rng = np.random.default_rng(0)
        for part, count in counts.items():
            for label in ("cat", "dog"):
                folder = tmp_path / "photos" / ("" if part == "undivided" else part) / label
                folder.mkdir(parents=True)
                for number in range(count):
                    shape = (side(number), side(number), 3)
                    pixels = rng.integers(0, 255, shape, dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / name.format(label=label, number=number))
        return tmp_path / "photos"

    return write


@pytest.fixture
def refused() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """`with refused("a", "b"):` expects a one-line CounError that says a and b."""

    @contextlib.contextmanager
    def expect(*words: object) -> Iterator[None]:
        with pytest.raises(CounError) as caught:
            yield
        message = str(caught.value)
        assert "\n" not in message
        assert "Traceback" not in message
        for word in words:
            assert str(word) in message

    return expect


@pytest.fixture
def killed_at(monkeypatch) -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """`with killed_at(8):` expects training, which Ctrl-C ends at its eighth update."""

    @contextlib.contextmanager
    def expect(step: int) -> Iterator[None]:
        update, calls = Engine._update, []

        def stopping(self: Engine, *args: object) -> None:
            calls.append(1)
            if len(calls) == step:
                raise KeyboardInterrupt
            update(self, *args)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Engine, "_update", stopping)
            yield

    return expect


@pytest.fixture
def install_package(tmp_path) -> Callable[..., dict[str, str]]:
    """Install `example_package` with entry points; return an environment that can import it."""

    def install(code: str, group: str, **points: str) -> dict[str, str]:
        (tmp_path / "example_package.py").write_text(code)
        info = tmp_path / "example_package-1.0.dist-info"
        info.mkdir()
        metadata = "Metadata-Version: 2.1\nName: example-package\nVersion: 1.0\n"
        (info / "METADATA").write_text(metadata)
        lines = [f"{name} = example_package:{value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        }

    return install


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """A task for the engine: data and a bare module are all it takes."""

    def make(data, model, split=None, *, reads=("retain",), seed=0, build=None) -> Task:
        example = data.views.evaluate(data.train.fetch(torch.arange(2)))
        classifier = Classifier(model, example=example)
        seeds, device = Seeds(seed), torch.device("cpu")
        return Task(data, split, seeds, frozenset(reads), classifier, build, device)

    return make


class Dropping(nn.Sequential):
    """A perceptron without BatchNorm whose forward draws random numbers."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 10)
        )


@pytest.fixture(scope="session")
def dropping() -> type[nn.Module]:
    return Dropping


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the specification and real data, beside the checkout."""
    folder = Path(os.environ.get("COUN_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip("no shared folder beside the checkout")
    return folder
