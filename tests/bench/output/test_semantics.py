"""Where the rows of a class go: computed by hand, and beside the printed values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.rows import record

import coun
from coun.bench import bench, report
from coun.bench.output.semantics import compare, semantics_tables
from coun.bench.spec.planned import RETRAIN
from coun.runs import predictions

PREDICTED = {
    RETRAIN: [{"truck": 0.0, "automobile": 70.0}, {"truck": 0.0, "automobile": 68.0}],
    "FT": [{"truck": 2.0, "automobile": 66.0}, {"truck": 0.0, "automobile": 70.0}],
}


def results() -> dict[str, Any]:
    def semantics(shares: dict[str, float]) -> dict[str, Any]:
        return {"of": "truck", "rows": 10, "predicted": shares, "distance": {}}

    return {
        "config": {
            "workload": [
                {
                    "name": "digits net",
                    "paper": {"dataset": "CIFAR-10", "model": "ResNet-18"},
                }
            ],
            "scenario": [{"kind": "random", "fraction": 0.1}],
            "semantics": {"of": "truck", "classes": ["truck", "automobile"]},
        },
        "rows": [
            record(
                name,
                seed,
                1.0,
                RETRAIN if name == RETRAIN else "method",
                semantics=semantics(shares),
            )
            for name, by_seed in PREDICTED.items()
            for seed, shares in enumerate(by_seed)
        ],
    }


def test_differences_are_those_of_each_seed_and_of_the_means() -> None:
    (table,) = semantics_tables(results(), "digits net", "random 10%", 1)
    retrain, finetuned = table.rows
    assert retrain.difference is not None
    assert retrain.difference.mean == retrain.difference_of_means == 0
    assert finetuned.difference is not None
    # |2 - 0|, |66 - 70| in seed 0 and |0 - 0|, |70 - 68| in seed 1; means 1 to 0 and 68 to 69
    assert finetuned.difference.mean == pytest.approx((3.0 + 1.0) / 2)
    assert finetuned.difference_of_means == pytest.approx((1.0 + 1.0) / 2)
    assert table.grid.header[1:3] == ["truck", "automobile"] == list(table.classes)


def test_printed_values_stand_beside_the_measured_ones() -> None:
    tables = semantics_tables(results(), "digits net", "random 10%", 1)
    pairs = {(c.row, c.metric.split()[-1]): c for c in compare(results(), tables)}
    assert (pairs["FT", "truck"].published, pairs["FT", "truck"].measured) == (98.12, 1.0)
    assert pairs["FT", "difference"].published == 0.32
    assert pairs[RETRAIN, "automobile"].published == 1.23


def test_a_bench_follows_the_rows_of_a_class_and_draws_maps(config_file, tmp_path: Path) -> None:
    top = '[semantics]\nof = "3"\n[maps]\nrows = ["Retrain", "FT"]\nprojection = "pca"\nretain = 50'
    config = config_file(top=top, scenario='kind = "class"\nname = "3"')
    outcome = bench(config, tmp_path / "out", only=["seed=0"], quiet=True)
    row = next(r for r in outcome["rows"] if r["row"] == "FT")
    run = coun.Run.open(tmp_path / "out" / "store" / row["model"] / "run")
    split = coun.Split.by_class(run.data, "3")
    output = predictions(run.classifier, run.data, split)
    shares = np.bincount(output.outputs["forget"].logits.argmax(1), minlength=10)
    expected = dict(zip(run.data.classes, 100 * shares / shares.sum(), strict=True))
    assert row["semantics"]["predicted"] == pytest.approx(expected)
    assert "3" not in row["semantics"]["distance"]  # it has no retain rows
    assert max(row["semantics"]["distance"].values()) == 1
    maps = {path.suffix: path for path in (tmp_path / "out" / "maps").iterdir()}
    assert set(maps) == {".png", ".pdf", ".svg"}
    before = maps[".png"].stat().st_mtime_ns
    bench(config, tmp_path / "out", only=["seed=0"], quiet=True)
    assert maps[".png"].stat().st_mtime_ns == before
    text = report(tmp_path / "out")[0].read_text()
    assert "| 3: % predicted as |" in text
    assert "| 3: distance to the centroid of |" in text
