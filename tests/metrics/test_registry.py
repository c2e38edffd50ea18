"""The table of metrics: one entry is all that a new metric takes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import coun
from coun.metrics import GAP_METRICS, Measurements, Metric, catalogue, columns, margins, registry
from coun.report import Grid, tabulate

PLUGIN = """
from coun.metrics import Metric

def mean_confidence(logits):
    return 100 * float(logits.softmax(1).amax(1).mean())

SURE = Metric("forget_confidence", "sure", "%", mean_confidence, needs=("forget.logits",))
BROKEN = Metric("broken", "broken", "", lambda x: 1 / 0, needs=("forget.logits",))
NUMBER = 3
"""


def predictions(seed: int, rows: int = 40) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"forget.logits": torch.randn(rows, 3, generator=generator)}


@pytest.fixture
def pair() -> Measurements:
    """Measurements of two random models on the same 40 rows of three classes."""
    labels = torch.arange(40) % 3
    retrain = Measurements({**predictions(1), "forget.labels": labels})
    return Measurements({**predictions(0), "forget.labels": labels}, retrain=retrain)


def test_the_columns_of_the_paper_come_first() -> None:
    assert list(columns())[:5] == [*GAP_METRICS, "average_gap"]
    assert [m.label for m in columns().values()][:5] == ["RA", "UA", "TA", "MIA", "gap"]


@pytest.mark.parametrize("metric", catalogue().values(), ids=catalogue())
def test_every_entry_says_what_it_is(metric) -> None:
    assert metric.unit in ("%", "points", "nats", "")
    assert metric.needs


def test_a_metric_is_left_out_where_an_input_is_missing(pair) -> None:
    assert "row_agreement" in pair
    assert "row_agreement" not in pair.retrain
    assert {"retain_accuracy", "klom", "average_gap", "cost_ratio"}.isdisjoint(pair)
    assert pair.get("retain_accuracy") is None
    with pytest.raises(KeyError):
        pair["retain_accuracy"]


def test_row_metrics_agree_with_numpy(pair) -> None:
    computed, other = (
        x["forget.logits"].double().numpy() for x in (pair.inputs, pair.retrain.inputs)
    )
    labels = pair.inputs["forget.labels"]
    assert pair["row_agreement"] == 100 * np.mean(computed.argmax(1) == other.argmax(1))
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (computed, other))
    m = (p + q) / 2
    expected = ((p * np.log(p / m) + q * np.log(q / m)).sum(1) / 2).mean()
    assert pair["js_to_retrain"] == pytest.approx(expected)
    odds = [np.log(x[np.arange(40), labels] / (1 - x[np.arange(40), labels])) for x in (p, q)]
    assert np.allclose(odds[0], margins(computed, labels))
    assert pair["log_odds_correlation"] == pytest.approx(np.corrcoef(odds)[0, 1])


def test_a_model_is_as_near_to_itself_as_can_be(pair) -> None:
    own = Measurements(pair.inputs, retrain=Measurements(pair.inputs))
    for name, best in (("row_agreement", 100), ("js_to_retrain", 0), ("log_odds_correlation", 1)):
        assert own[name] == pytest.approx(best, abs=1e-12)


def test_klom_takes_several_runs_of_one_request() -> None:
    labels = torch.arange(40) % 3
    runs = [predictions(seed)["forget.logits"] for seed in range(8)]
    inputs = {"runs.forget.logits": runs[:4], "forget.labels": labels}
    same = Measurements(inputs, retrain=Measurements(inputs))
    other = Measurements(inputs, retrain=Measurements({"runs.forget.logits": runs[4:]}))
    assert same["klom"] == pytest.approx(0, abs=1e-3)
    assert other["klom"] > 1


def test_a_value_is_computed_once(pair) -> None:
    first = pair["unlearn_accuracy"]
    pair.inputs["forget.logits"] = None
    assert pair["unlearn_accuracy"] == first


def test_a_metric_of_another_package_is_in_evaluate_and_tables(install_package) -> None:
    environment = install_package(
        PLUGIN, "coun.metrics",
        forget_confidence="SURE", broken="BROKEN", row_agreement="SURE", number="NUMBER",
    )  # fmt: skip
    script = """
import json, coun
from coun.report import Grid, tabulate
data = coun.load("digits", limit=60, test_limit=40)
run = coun.train(data, "mlp", epochs=1)
found = coun.evaluate(run, split=coun.Split.random(data, 0.2))
print(json.dumps([found, Grid.of_runs(tabulate({"x": [found]})).header]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    computed, header = json.loads(done.stdout)
    assert 10 < computed["forget_confidence"] <= 100
    assert "sure" in header
    left_out = computed["metrics_left_out"]
    assert "ZeroDivisionError" in left_out["broken"]
    assert "would replace" in left_out["row_agreement"]
    assert "expected a coun.metrics.Metric" in left_out["number"]


@pytest.mark.parametrize("value", [np.float32(2.5), torch.tensor(2.5), torch.tensor([2.5])[0], 2.5])
def test_a_plug_in_may_return_numbers_of_torch_and_numpy(monkeypatch, caplog, value) -> None:
    metrics = {
        "good": Metric("good", "good", "", lambda x: value, ("forget.logits",)),
        "bad": Metric("bad", "bad", "", lambda x: float("nan"), ("forget.logits",)),
        "worse": Metric("worse", "worse", "", lambda x: x.topk(9), ("forget.logits",)),
    }
    registered = registry._Registered(metrics, frozenset(metrics), {})
    monkeypatch.setattr(registry, "_registered", lambda: registered)
    values, left_out = Measurements(predictions(0)).values_by_name()
    assert json.dumps(values) == '{"good": 2.5}'
    assert set(left_out) == {"bad", "worse"}
    columns_of_a_bench = Measurements(predictions(0)).values_or_none(["good", "worse", "other"])
    assert columns_of_a_bench == {"good": 2.5, "worse": None, "other": None}
    assert "metric worse is left out: RuntimeError" in caplog.text


def test_evaluate_and_tables_read_the_registry(original, split) -> None:
    measured = coun.evaluate(original, split=split)
    assert {"test_brier_score", "forget_loss"} <= measured.keys()
    assert Grid.of_runs(tabulate({"x": [measured]})).header == ["", "RA", "UA", "TA", "MIA", "runs"]
