"""Published values beside those of a bench, and contradictions among the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.rows import record
from scipy import stats

import coun
from coun.bench.output import published
from coun.bench.output.tables import result_tables
from coun.metrics import GAP_METRICS


def test_printed_rows_that_contradict_themselves_are_listed() -> None:
    rows = published.read()
    assert len(rows) == 110
    results = {
        (row.table, row.method, row.setting[0]): gap for row, gap in published.inconsistent(rows)
    }
    # Computed by hand from the printed numbers.
    assert results == {
        ("2", "SalUn", "CIFAR-100"): pytest.approx(3.2025),
        ("3", "NegGrad+", "CIFAR-10"): pytest.approx(3.26, abs=0.005),
        ("10", "NegGrad+", "CIFAR-10"): pytest.approx(2.42, abs=0.005),
    }


def test_every_number_that_the_paper_prints_is_compared() -> None:
    metrics = {"retain_accuracy": 99.99, "unlearn_accuracy": 4.2, "test_accuracy": 90.0}
    rows = []
    for seed in range(3):
        own = {**metrics, "mia_efficacy": 10.0 + 0.1 * seed}
        rows += [record("Retrain", seed, 0, "Retrain", **own), record("CoUn", seed, 0.4, **own)]
    config = {
        "metrics": list(GAP_METRICS),
        "workload": [
            {"name": "digits net", "paper": {"dataset": "CIFAR-10", "model": "ResNet-18"}}
        ],
        "scenario": [{"kind": "random", "fraction": 0.1}],
    }
    results = {"rows": rows, "config": config}
    compared = published.compare(results, result_tables(results), published.read())
    compared_by = {(pair.row, pair.metric): pair for pair in compared}
    assert len(compared) == 5 + 6
    assert compared_by["CoUn", "RA"].published == 99.99
    assert compared_by["CoUn", "UA"].difference == pytest.approx(0.08)
    assert compared_by["CoUn", "UA"].within
    assert compared_by["CoUn", "TA"].within is False
    assert compared_by["CoUn", "gap"].published == 0.25
    # MIA: published 10.81 +- 0.31 over 10 trials, measured 10.1 +- 0.1 over 3
    test = stats.ttest_ind_from_stats(10.81, 0.31, 10, 10.1, 0.1, 3, equal_var=False)
    assert compared_by["CoUn", "MIA"].within is bool(test.pvalue >= 0.05)


def test_a_damaged_file_names_its_line(tmp_path: Path) -> None:
    text = published.SHIPPED.read_text(encoding="utf-8").replace("99.99", "many", 1)
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(coun.CounError, match=r"line 3"):
        published.read(tmp_path / "bad.csv")
    with pytest.raises(coun.CounError, match=r"cannot read"):
        published.read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        ("10", {"NegGrad+": 44.8, "l1-sparse": 42.1, "NoT": 43.3}),
        ("50", {"NegGrad+": 50.0, "l1-sparse": 87.7, "NoT": 73.1}),
    ],
)
def test_the_printed_improvements_are_those_of_figure_4(percent, expected) -> None:
    setting = ("CIFAR-10", "ResNet-18", "random", percent)
    computed = published.improvements(published.read(), setting)
    assert {name: round(value, 1) for name, value in computed.items()} == expected
