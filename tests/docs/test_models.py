"""Every code block of docs/models.md runs, with a checkpoint, a folder and photographs."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch
from tiny_vit import write_vit
from torch import nn

from coun.cli import main

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
JOINED = TEXT.replace("\\\n", "")
COMMANDS = [line.split() for line in JOINED.splitlines() if line.startswith("    coun ")]
NETS = """
from torch import nn
def small(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, num_classes))
"""


def test_python_blocks_run_one_after_the_other():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/models.md", "exec"), names)
    assert names["probabilities"].shape == (2, 10)
    assert names["data"].input_shape == (1, 8, 8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that the commands of the page name."""
    from PIL import Image

    place = tmp_path_factory.mktemp("models")
    for part, count in (("train", 6), ("test", 3)):
        for number, name in enumerate(("cat", "dog")):
            (place / "photos" / part / name).mkdir(parents=True)
            for row in range(count):
                picture = Image.new("RGB", (8, 8), (90 * number, 20 * row, 50))
                picture.save(place / "photos" / part / name / f"{row}.png")
    (place / "nets.py").write_text(NETS)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, place / "checkpoint.pth")
    return place


def test_the_commands_run_one_after_the_other(place, monkeypatch, capsys):
    """They are one test, because later ones need the runs of earlier ones."""
    with_transformers = importlib.util.find_spec("transformers") is not None
    if with_transformers:
        write_vit(place / "my-vit")
    monkeypatch.chdir(place)
    for words in COMMANDS:
        if not with_transformers and {"my-vit", "forgot-hf"} & set(words):
            continue
        short = ["--epochs", "1"] if words[1] in ("train", "unlearn") else []
        monkeypatch.setattr(sys, "argv", [*words, *short])
        with contextlib.suppress(SystemExit):
            assert main() == 0, capsys.readouterr().err
