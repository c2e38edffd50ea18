"""Models that another package registers by entry point."""

from __future__ import annotations

import json
import subprocess
import sys

PLUGIN = """
from torch import nn

def tiny(num_classes, shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], num_classes))
"""


def test_a_model_of_another_package_trains_and_unlearns(install_package, tmp_path) -> None:
    environment = install_package(PLUGIN, "coun.models", tiny="tiny", gone="nothing", cnn="tiny")

    def coun(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "coun", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    data = ("--data", "digits", "--limit", "60", "--set", "epochs=1", "--json")
    original = tmp_path / "original"
    trained = coun("train", *data, "--model", "tiny", "--out", str(original))
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["model"]["parameters"] == 650
    unlearned = coun(
        "unlearn", str(original), "--method", "finetune", "--forget-fraction", "0.1",
        "--set", "epochs=1", "--out", str(tmp_path / "unlearned"), "--json",
    )  # fmt: skip
    assert unlearned.returncode == 0, unlearned.stderr
    built_in = coun("train", *data, "--model", "cnn", "--out", str(tmp_path / "cnn"))
    assert json.loads(built_in.stdout)["model"]["parameters"] > 650
    broken = coun("train", *data, "--model", "gone", "--out", str(tmp_path / "gone"))
    assert broken.returncode == 2
    assert "plug-in 'gone' (example_package:nothing) cannot be imported" in broken.stderr
