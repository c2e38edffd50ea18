"""Tests over seeds, and metrics over the models of all seeds, against direct computation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench.rows import record
from scipy import stats

import coun
from coun.bench import bench, report
from coun.bench.output.result_table import cautions_of
from coun.bench.output.seed_tests import seed_tests
from coun.bench.output.tables import result_tables
from coun.bench.spec.planned import FLOOR, ORIGINAL, RETRAIN
from coun.engine import predict
from coun.metrics import GAP_METRICS, brier_score, mean_klom

RETRAINS = [90.0, 91.0, 90.5, 89.5, 90.2, 90.8]


def results(shift: list[float]) -> dict:
    def rows(name: str, values: list[float], role: str) -> list[dict]:
        return [
            record(
                name,
                seed,
                1.0,
                role,
                test_accuracy=value,
                gap_test_accuracy=value - RETRAINS[seed],
            )
            for seed, value in enumerate(values)
        ]

    again = [x + (-1) ** k for k, x in enumerate(RETRAINS)]  # two Retrains are 1 point apart
    moved = [x + d for x, d in zip(RETRAINS, shift, strict=True)]
    return {
        "config": {"metrics": list(GAP_METRICS), "workload": [], "scenario": []},
        "rows": [
            *rows(ORIGINAL, RETRAINS, ORIGINAL),
            *rows(RETRAIN, RETRAINS, RETRAIN),
            *rows(FLOOR, again, FLOOR),
            *rows("FT", moved, "method"),
        ],
    }


def line(shift: list[float]) -> list[str]:
    content = results(shift)
    (table,) = result_tables(content)
    grid = seed_tests(content, table)
    assert grid is not None
    return next(list(texts) for _, texts in grid.rows if texts[:2] == ["TA", "FT"])


def test_a_shift_is_tested_and_a_small_one_is_equivalent() -> None:
    shift = [0.30, 0.25, 0.35, 0.28, 0.31, 0.27]
    expected = stats.ttest_1samp(shift, 0).pvalue
    assert expected < 0.001
    assert line(shift)[2:5] == [f"{sum(shift) / 6:+.2f}", "<0.001", "1.00"]
    assert line(shift)[5].startswith("yes")
    assert line([5 * x for x in shift])[5].startswith("not shown")


def test_a_method_that_read_test_rows_is_tested_on_the_rows_on_which_it_is_measured() -> None:
    shift = [0.30, 0.25, 0.35, 0.28, 0.31, 0.27]
    content = results(shift)
    for row in content["rows"]:
        if row["row"] == "FT":  # the other half of the test rows is harder, for Retrain as well
            row["test_accuracy"] -= 5
    (table,) = result_tables(content)
    grid = seed_tests(content, table)
    assert line(shift) in [list(texts) for _, texts in grid.rows]


def test_the_box_sees_the_fit_and_the_floor_without_their_columns() -> None:
    content = results([0.0] * 6)
    content["config"]["metrics"] = ["test_accuracy"]
    content["rows"] = [r for r in content["rows"] if r["role"] != FLOOR]
    content["rows"] += [
        r | {"row": "NoT", "base": "NoT"} for r in content["rows"] if r["row"] == "FT"
    ]
    (table,) = result_tables(content)  # the records have 50 to 55% retain accuracy
    assert any("classifies only" in text for text in cautions_of([table]))
    assert any("Retrain was trained once" in text for text in cautions_of([table]))


def test_all_seeds_forget_the_same_rows_and_their_models_are_compared(
    config_file, tmp_path: Path
) -> None:
    names = '["unlearn_accuracy", "kl_to_retrain", "forget_auc", "forget_tpr_at_1", "tow", '
    names += '"probe_accuracy", "relearn_steps", "residual_knowledge", "rf_jsd", '
    names += '"klom", "ulira_accuracy", "ruli_accuracy"]'
    config = config_file(top=f"metrics = {names}\nrequest_seed = 5")
    config.write_text(config.read_text().replace("seeds = [0, 1]", "seeds = [0, 1, 2]"))
    outcome = bench(config, tmp_path / "out", quiet=True)
    assert not outcome["failures"]
    folder = tmp_path / "out" / "store"
    runs = {
        (r["row"], r["seed"]): coun.Run.open(folder / r["model"] / "run") for r in outcome["rows"]
    }
    splits = {run.split.digest for run in runs.values() if run.split}
    assert len(splits) == 1
    data, split = runs["FT", 0].data, runs["FT", 0].split
    forget = data.train.take(split.rows(data, "forget"))
    logits = {
        row: [predict(runs[row, seed].classifier, data, forget).logits for seed in range(3)]
        for row in ("FT", RETRAIN)
    }
    ensembles = {e["row"]: e for e in outcome["ensembles"]}
    assert ensembles.keys() == {ORIGINAL, FLOOR, "FT", "CoUn"}
    expected = mean_klom(logits["FT"], logits[RETRAIN], forget.labels)
    assert ensembles["FT"]["metrics"]["klom"] == pytest.approx(expected)
    assert len(ensembles["FT"]["rows"]) == max(1, round(0.1 * len(forget)))
    assert {r["number"] for r in ensembles["FT"]["rows"]} <= set(split.forget.tolist())
    by_row = {(r["row"], r["seed"]): r for r in outcome["rows"]}
    row, exact = by_row["FT", 1], by_row[RETRAIN, 1]
    assert exact["residual_knowledge"] == 1
    assert exact["kl_to_retrain"] == pytest.approx(0, abs=1e-6)
    assert row["relearn_steps"] <= 200
    p, q = (torch.as_tensor(logits[n][1]).double().log_softmax(1) for n in (RETRAIN, "FT"))
    assert row["kl_to_retrain"] == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
    assert all(isinstance(row[name], float) for name in ("rf_jsd", "probe_accuracy", "forget_auc"))
    text = report(tmp_path / "out")[0].read_text()
    assert "| all seeds together | KLOM | U-LiRA | RULI | models |" in text
    assert "| tests by seed | method |" in text


def test_metrics_of_many_runs_need_the_same_rows(config_file) -> None:
    with pytest.raises(coun.CounError, match="set request_seed"):
        bench(config_file(top='metrics = ["unlearn_accuracy", "klom"]'), "unused", quiet=True)


def test_a_further_metric_is_tested_on_the_rows_on_which_a_method_is_measured(
    config_file, tmp_path: Path
) -> None:
    """Held-out matching reads half of the test rows, so its Brier score is that of the others."""
    more = '[[method]]\nname = "held_out"\nlabel = "Held-out"\nsettings = {epochs = 1}'
    top = 'metrics = ["unlearn_accuracy", "test_brier_score"]'
    config = config_file(top=top, more=more)
    config.write_text(config.read_text().replace("seeds = [0, 1]", "seeds = [0]"))
    outcome = bench(config, tmp_path / "out", quiet=True)
    assert not outcome["failures"]
    rows = {row["row"]: row for row in outcome["rows"]}
    runs = {
        name: coun.Run.open(tmp_path / "out" / "store" / rows[name]["model"] / "run")
        for name in ("Held-out", RETRAIN)
    }
    data, split = runs["Held-out"].data, runs["Held-out"].split
    test = data.test.take(split.test_rows(data))
    assert len(test) == 50
    scores = {
        name: brier_score(predict(run.classifier, data, test).logits, test.labels)
        for name, run in runs.items()
    }
    row = rows["Held-out"]
    assert row["test_brier_score"] == pytest.approx(scores["Held-out"])
    beside = row["test_brier_score"] - row["gap_test_brier_score"]
    assert beside == pytest.approx(scores[RETRAIN])
    assert beside != pytest.approx(rows[RETRAIN]["test_brier_score"])  # on all test rows
    assert "gap_test_brier_score" not in rows["FT"]


def test_margin_and_equivalent_are_explained_under_the_table() -> None:
    content = results([0.3] * 6)
    (table,) = result_tables(content)
    grid = seed_tests(content, table)
    assert grid is not None
    assert all(word.split()[0] in grid.note.lower() for word in grid.header[2:])


def test_without_a_second_retrain_there_are_no_columns_of_the_margin() -> None:
    content = results([0.3] * 6)
    content["rows"] = [row for row in content["rows"] if row["role"] != FLOOR]
    (table,) = result_tables(content)
    grid = seed_tests(content, table)
    assert grid is not None
    assert list(grid.header) == ["tests by seed", "method", "difference", "p (Holm)"]
    assert {len(texts) for _, texts in grid.rows} == {4}
