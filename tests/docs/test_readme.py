"""What the README shows works: its commands, its code and its links; and it stays short."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from torch import nn

import coun
from coun.cli import main
from coun.data import sources

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True) for line in TEXT.splitlines() if line.startswith("    coun ")
]
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


def test_the_commands_lead_to_a_certificate(photographs, monkeypatch, capsys):
    """All commands run, in their order, on a folder of photographs."""
    assert len(COMMANDS) == 10
    for words in COMMANDS:
        if "resnet18" in words:  # the smallest network, for a few epochs
            words = [*words, "--set", "epochs=8"]
            words[words.index("resnet18")] = "mlp"
        monkeypatch.setattr(sys, "argv", words)
        assert main() == 0, capsys.readouterr().err
    assert "Evidence under the named tests" in capsys.readouterr().out
    assert (photographs / "audit" / "report.html").exists()


def test_the_code_runs_on_a_network_of_ones_own(capsys):
    digits = load_digits()
    images = (16 * digits.images).clip(0, 255).astype(np.uint8)[:, None]
    pairs = list(zip(images, digits.target.tolist(), strict=True))

    def my_network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    train, test = pairs[:300], pairs[300:600]
    trained = coun.train(coun.from_dataset(train, test), my_network, epochs=5).model
    names = {
        "my_train": train,
        "my_test": test,
        "my_network": my_network,
        "my_trained_net": trained,
    }
    exec(compile(BLOCKS[0], "README.md", "exec"), names)
    assert capsys.readouterr().out.endswith("points from Retrain\n")


def test_every_link_leads_to_a_file():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_a_package_index_shows_no_link_or_picture_that_leads_nowhere():
    """An index has no files beside the README: what the build makes of it links to the web only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shown = TEXT
    for rule in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        shown = re.sub(rule["pattern"], rule["replacement"], shown)
    assert set(re.findall(r"\]\(([^)]*)\)", shown)) == {"https://arxiv.org/abs/2509.16391"}
    assert "![" not in shown
    assert set(project["project"]["urls"].values()) <= set(re.findall(r"https?:[^)]*", TEXT))
    # Every line without a link is there, but for the caption of the picture.
    (caption,) = re.findall(r"\n(\*The first half.*?\*)\n\n", TEXT, re.S)
    lines = {line for line in TEXT.splitlines() if "[" not in line and "](" not in line}
    assert lines - set(shown.splitlines()) <= set(caption.splitlines())


def test_the_method_is_the_one_of_the_example():
    example = (ROOT / "examples/new_method.py").read_text(encoding="utf-8")
    assert any(block.strip() in example for block in BLOCKS if "@dataclass" in block)


def test_every_data_source_is_listed():
    for name in sources.catalogue():
        assert f"`{name}" in TEXT, name


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 200
