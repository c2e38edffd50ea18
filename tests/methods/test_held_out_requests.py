"""The command that makes docs/results/held-out-requests.json runs, in a small form."""

import importlib
import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def command(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    command = importlib.import_module("held_out_requests")
    monkeypatch.setattr(command, "EPOCHS", 8)
    return command


def test_the_rows_of_a_request_are_what_its_title_says(command):
    asked = {title: rest for title, *rest in command.requests("table", 3)}
    data, original, _ = asked["by lot, 2"]
    with torch.no_grad():
        logits = original.model.eval()(data.views.evaluate(data.train.images))
    sure = logits.softmax(1).gather(1, data.train.labels[:, None])[:, 0].numpy()
    order = np.argsort(sure)
    assert set(asked["easiest, 10"][2]) == set(order[-10:])
    assert set(asked["hardest, 10"][2]) == set(order[sure[order] > 0.5][:10])
    columns = data.train.images.flatten(1).double()
    distances = torch.linalg.vector_norm(columns - columns[3], dim=1).numpy()
    assert set(asked["alike, 10"][2]) == set(np.argsort(distances)[:10])
    rare, _, places = asked["of a rare class, 10"]
    assert set(rare.train.labels[places.copy()].tolist()) == {1}
    assert len(set(places.tolist())) == 10
    assert (rare.train.labels == 1).sum() == 40
    assert (rare.test.labels == 1).sum() == 4


def test_the_table_has_the_gaps_of_the_file(command, tmp_path, monkeypatch, capsys):
    requests = command.requests
    monkeypatch.setattr(command, "requests", lambda *which: islice(requests(*which), 1))
    monkeypatch.setattr(command, "METHODS", ("held_out",))
    words = ["--seeds", "20", "--data", "digits", "--out", str(tmp_path / "results.json")]
    monkeypatch.setattr(sys, "argv", ["held_out_requests.py", *words])
    command.main()
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert (row["data"], row["seed"], row["request"]) == ("digits", 20, "by lot, 2")
    columns = [row[name] for name in ("floor", "Original", "held_out")]
    cells = [f"{cell['average_gap']:.1f} ({cell['js_to_retrain']:.3f})" for cell in columns]
    assert f"| digits | by lot, 2 | {' | '.join(cells)} |" in capsys.readouterr().out
