"""Data sources, requests and metrics in a file of the user, which no package registers."""

from __future__ import annotations

import json
import pickle
import sys

import pytest

import coun
from coun.bench.spec.reading import parse as parse_config
from coun.cli.forget_options import _settings
from coun.data.requests import find as find_request
from coun.data.requests import parse, parse_recorded
from coun.data.sources import argument_of, code_of_source
from coun.metrics.registry import find as find_metric
from coun.trust import code_and_argument

CODE = """
from pathlib import Path
from typing import Literal

import torch

import coun
from coun.data.requests import Request
from coun.data.sources import Source
from coun.metrics import Metric


def read(path, *, scale: float = 1.0):
    if not path.exists():
        return 1 / 0
    digits = coun.load("digits", limit=60, test_limit=30)
    images = [part.fetch(torch.arange(len(part))) for part in (digits.train, digits.test)]
    arrays = [scale * images[0], digits.train.labels, scale * images[1], digits.test.labels]
    return coun.from_arrays(*(array.numpy() for array in arrays))


SCALED = Source("scaled_digits", read, "60 digits")
CLASH = Source("digits", read, "60 digits")


class FirstRows(Request):
    '''Forget the first rows.'''

    kind: Literal["first_rows"] = "first_rows"
    count: int = 6

    def choose(self, data, *, seed=0, scores=None):
        return torch.arange(len(data.train)) < self.count

    def describe(self):
        return f"the first {self.count} rows"


def mean_class(logits):
    return float(logits.argmax(1).float().mean())


MEAN = Metric("mean_class", "mean", "", mean_class, needs=("forget.logits",))
FAILS = Metric("fails", "fails", "", lambda logits: 1 / 0, needs=("forget.logits",))
OF_RETRAIN = Metric("of_retrain", "x", "", mean_class, needs=("retrain.forget.logits",))
COSTLY = Metric(
    "costly", "costly", "", lambda _, run, split: len(split.forget) + run.record.seed,
    needs=("on_request", "model", "split"),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The user's file, and a run that was trained on its data."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = coun.load("./own.py:SCALED:own.py", scale=0.5)
        coun.train(data, "mlp", epochs=1, out="original")
        yield folder
    for name in [name for name in sys.modules if "coun_code_own" in name]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_the_code_ends_with_its_name_and_the_argument_is_what_follows():
    assert code_and_argument("C:\\a b\\x.py:NAME:D:\\data") == ("C:\\a b\\x.py:NAME", "D:\\data")
    assert code_and_argument("x.py:NAME:y.py:z") == ("x.py:NAME", "y.py:z")
    assert code_and_argument("a.b:NAME") == ("a.b:NAME", "")
    assert all(code_and_argument(text) is None for text in ("a:b", "x.py", "x.py:", "/a.b/c:d", ""))
    assert code_of_source("folder:x.py:NAME") is None
    assert argument_of("./own.py:SCALED:a:b") == "a:b"


def test_a_source_is_recorded_with_the_whole_path_of_its_file(folder):
    data = coun.load("./own.py:SCALED:own.py", scale=0.5)
    assert data.source == f"{folder / 'own.py'}:SCALED:{folder / 'own.py'}"
    assert data.origin == {"scale": 0.5}
    again = coun.load(data.source, **data.origin)
    assert again.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./own.py:SCALED", r"has no PATH; expected ./own.py:SCALED:PATH"),
        ("./own.py:SCALE:x", r"no 'SCALE' .*did you mean 'SCALED'"),
        ("./own.py:MEAN:x", "expected a coun.data.sources.Source"),
        ("./own.py:CLASH:x", "calls itself 'digits', as another data source does"),
        ("./own.py:SCALED:gone", "failed: ZeroDivisionError"),
        ("foldr:photos", "did you mean 'folder'"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(spec, message):
    with pytest.raises(coun.CounError, match=message):
        coun.load(spec)


def test_a_record_does_not_run_the_source_that_it_names():
    with pytest.raises(coun.CounError, match=r"run.json: data source '.*own.py:SCALED' is code"):
        coun.Run.open("original")
    assert coun.Run.open("original", trust=True).data.source.endswith("own.py")
    assert len(coun.Run.open("original", data="./own.py:SCALED:own.py").data.train) == 60


def test_a_registry_does_not_run_the_source_that_it_names(tmp_path):
    run = coun.Run.open("original", trust=True)
    coun.registry.Registry.init(tmp_path / "registry", run)
    registry = coun.registry.Registry(tmp_path / "registry")
    for use in (registry.data, lambda: registry.open_version(1)):
        with pytest.raises(coun.CounError, match="data source '.*' is code that a file names"):
            use()
    assert len(registry.open_version(1, run.data).data.train) == 60


def test_a_request_keeps_the_name_of_its_class():
    record = {"kind": "./own.py:FirstRows", "count": 4}
    request = parse(record, trust=True)
    assert request.describe() == "the first 4 rows"
    assert request.model_dump() == record
    assert pickle.loads(pickle.dumps(request)) == request  # as workers of a bench get it
    with pytest.raises(coun.CounError, match="is code that a file names"):
        parse(record)
    with pytest.raises(coun.CounError, match=r"expected a subclass of coun.data.requests.Request"):
        find_request("./own.py:SCALED", trust=True)


def test_a_run_is_opened_without_the_class_of_its_request():
    run = coun.Run.open("original", trust=True)
    request = parse({"kind": "./own.py:FirstRows"}, trust=True)
    split = coun.Split.of(run.data, request)
    coun.unlearn(run, split, "finetune", epochs=1, out="unlearned")
    again = coun.Run.open("unlearned", data=run.data)  # imports nothing
    assert again.split.forget.tolist() == list(range(6))
    assert again.split.request[0].describe() == "./own.py:FirstRows (count 6)"
    assert again.split.to_json() == split.to_json()
    with pytest.raises(coun.CounError, match="is not installed"):
        parse_recorded({"kind": "first_rows"}).choose(run.data)


def test_metrics_are_computed_where_they_are_named():
    run = coun.Run.open("original", trust=True)
    split = coun.Split.of(run.data, parse({"kind": "./own.py:FirstRows"}, trust=True))
    usual = coun.evaluate(run, split=split)
    assert {"mean_class", "residual_knowledge", "kl_to_retrain"}.isdisjoint(usual)
    assert "metrics_left_out" not in usual
    names = [f"./own.py:{name}" for name in ("MEAN", "FAILS", "OF_RETRAIN", "COSTLY")]
    values = coun.evaluate(run, split=split, metrics=names)
    assert values["mean_class"] >= 0
    assert values["costly"] == 6
    assert values["metrics_left_out"] == {
        "fails": "ZeroDivisionError: division by zero",
        "of_retrain": "it needs retrain.forget.logits, which is not at hand",
    }
    against = coun.train(run.data, "mlp", split=split, epochs=1)
    near = coun.evaluate(run, split=split, metrics=names, against=against)
    assert near["metrics_left_out"].keys() == {"fails"}
    assert near["of_retrain"] == near["retrain"]["mean_class"]
    assert "probe_accuracy" in coun.evaluate(run, split=split, metrics=["probe_accuracy"])
    with pytest.raises(coun.CounError, match="unknown metric 'mean_clas'"):
        coun.evaluate(run, metrics=["mean_clas"])
    with pytest.raises(coun.CounError, match=r"expected a coun.metrics.Metric"):
        find_metric("./own.py:SCALED", trust=True)


CONFIG = {
    "title": '"own"',
    "seeds": "[0]",
    "metrics": '["retain_accuracy"]',
    "workload": '[{ name = "w", model = "mlp", data = { source = "digits" } }]',
    "scenario": '[{ kind = "random", fraction = 0.1 }]',
}


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("metrics", '["retain_accuracy", "./own.py:MEAN"]', "metric './own.py:MEAN'"),
        ("scenario", '[{ kind = "./own.py:FirstRows" }]', "scenario './own.py:FirstRows'"),
        (
            "workload",
            '[{ name = "w", model = "mlp", data = { source = "./own.py:SCALED:own.py" } }]',
            "data source './own.py:SCALED'",
        ),
    ],
)
def test_a_config_does_not_run_the_code_that_it_names(key, value, code):
    text = "\n".join(f"{name} = {given}" for name, given in {**CONFIG, key: value}.items())
    with pytest.raises(coun.CounError, match=f"{code} is code that a file names"):
        parse_config(text)
    config = parse_config(text, trust=True)
    assert json.loads(config.model_dump_json())["title"] == "own"


def test_the_command_line_takes_settings_behind_the_class():
    assert _settings("./own.py:FirstRows:count=4") == {"kind": "./own.py:FirstRows", "count": "4"}
    assert _settings("./own.py:FirstRows") == {"kind": "./own.py:FirstRows"}
    assert _settings("random:fraction=0.1,seed=3") == {
        "kind": "random",
        "fraction": "0.1",
        "seed": "3",
    }


NETWORK = """
from torch import nn


def small():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_model_is_recorded_with_the_whole_path_of_its_file(tmp_path, monkeypatch):
    """So that the run opens from any working folder."""
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run = coun.train(coun.load("digits", limit=50), "./net.py:small", epochs=1, out="run")
    assert run.record.model.name == f"{tmp_path / 'net.py'}:small"
    coun.Run.open("run", trust=frozenset({"./net.py:small"}))  # as `--model ./net.py:small` does
    monkeypatch.chdir(tmp_path / "elsewhere")
    opened = coun.Run.open("../run", trust=True)
    assert opened.record.weights_sha256 == run.record.weights_sha256
    with pytest.raises(coun.CounError, match="is code that a file names"):
        coun.Run.open("../run", trust=frozenset({"./net.py:small"}))  # another file of that name
