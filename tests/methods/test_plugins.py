"""Methods of other packages, found by entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import coun
from coun import methods, plugins

PACKAGE = Path(__file__).parents[1] / "plugins"
BUILT_IN = set(methods.catalogue())


@pytest.fixture
def _installed(monkeypatch):
    """Put the example package on the import path, and forget what was found without it."""

    def forget():
        methods._all_methods.cache_clear()
        plugins.registered.cache_clear()

    monkeypatch.syspath_prepend(str(PACKAGE))
    forget()
    yield
    forget()


@pytest.mark.usefixtures("_installed")
def test_a_method_of_another_package_is_found_described_and_run(original, split):
    assert set(methods.catalogue()) == BUILT_IN | {"scale"}
    about = methods.describe(methods.catalogue()["scale"])
    assert about["summary"] == "Multiply all weights by one factor."
    assert about["settings"]["factor"]["default"] == -1.0
    run = coun.unlearn(original, split, "scale", factor="2")
    assert run.record["method"]["settings"] == {"factor": 2.0}
    for new, old in zip(run.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(new, 2 * old)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "cannot be imported: ModuleNotFoundError"),
        ("finetune", "would replace coun's own 'finetune'"),
        ("number", "expected a subclass of coun.Method"),
    ],
)
def test_a_broken_plugin_is_named_in_one_line_and_breaks_nothing(name, message):
    (line,) = methods.broken_plugins()[name].splitlines()
    assert message in line
    assert methods.catalogue()["finetune"].__module__ == "coun.methods.finetune"
    if name != "finetune":
        with pytest.raises(coun.CounError, match=message):
            methods.make(name)


def test_the_command_line_lists_all_methods_and_names_the_broken_plugins():
    paths = [str(PACKAGE), *(path for path in sys.path if path)]
    result = subprocess.run(
        [sys.executable, "-m", "coun", "methods", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)) == BUILT_IN | set(methods.federated()) | {"scale"}
    assert len(result.stderr.splitlines()) == 3
    assert "plug-in 'broken'" in result.stderr
