"""The data source of docs/adding-a-data-source.md works from a package outside this one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

import coun
from coun.errors import CounError

PAGE = "adding-a-data-source.md"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with random images in the layout of Street View House Numbers."""
    folder = tmp_path / "svhn"
    folder.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 20)):
        images = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(count)[:, None] % 10 + 1
        savemat(folder / f"{part}_32x32.mat", {"X": images, "y": labels})
    return folder


def test_the_command_line_trains_on_it(
    install: Callable[[str], Path], command: Callable[..., str], files: Path
) -> None:
    """`--data svhn:PATH` trains on the limited rows, and the record says how to load them."""
    out = install(PAGE) / "original"
    training = ("train", "--model", "mlp", "--set", "epochs=1", "--limit", 40)
    command((*training, "--data", f"svhn:{files}", "--out", out))
    record = json.loads((out / "run.json").read_text())["data"]
    assert record["source"] == f"svhn:{files}"
    assert record["limit"] == 40


def test_the_example_reads_what_the_files_hold(
    example: Callable[[str], object], files: Path
) -> None:
    """Images keep their pixels, and label 10 becomes class 0."""
    data = example(PAGE).SVHN.read(files)  # type: ignore[attr-defined]
    assert data.shape == (3, 32, 32)
    assert data.train.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


def test_a_missing_file_and_an_unknown_option_are_said(
    example: Callable[[str], object], tmp_path: Path
) -> None:
    """SciPy does not say of a missing file that it is missing."""
    place = f"{example(PAGE).__file__}:SVHN:{tmp_path / 'no-such-folder'}"  # type: ignore[attr-defined]
    with pytest.raises(CounError, match="no file or folder is called '.*no-such-folder'"):
        coun.load(place)
    with pytest.raises(CounError, match="unknown option 'size_of': svhn takes no options"):
        coun.load(place, size_of=3)
