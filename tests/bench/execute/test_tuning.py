"""Tuning is fair: the same budget for all, development seeds, and never the test set."""

from __future__ import annotations

import sys

import pytest

import coun
from coun.bench import bench
from coun.bench.execute.tuning import _Search, _untuned
from coun.bench.main import search
from coun.bench.spec.experiment import Compare
from coun.bench.spec.method_config import MethodConfig
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import parse
from coun.bench.spec.workload import data_spec, workload_info

TUNE = """
[tune]
trials = 3
seeds = [70, 71]
oracle = {oracle}
sampler = "{sampler}"
"""
SEARCH = """
[method.search]
lr = {{ low = 1e-3, high = 0.3, log = true }}
batch_size = [16, 32]
{more}
[[method]]
name = "not"
label = "NoT"
settings = {{ epochs = 1 }}
contrast = {{ weight = 1.0 }}
search = {{ "contrast.weight" = {{ low = 0.1, high = 2.0 }} }}
"""


def config(config_file, sampler: str = "random", oracle: int = 1, more: str = ""):
    top = TUNE.format(sampler=sampler, oracle=oracle)
    return config_file(top=top, more=SEARCH.format(more=more))


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_methods_have_one_budget_and_get_their_best_settings(
    config_file, tmp_path, sampler
) -> None:
    pytest.importorskip("optuna")
    results = bench(config(config_file, sampler), tmp_path / "out", quiet=True)
    tuned = results["tuning"]["digits"]
    assert set(tuned) == {"CoUn", "NoT"}
    for search_result in tuned.values():
        gaps = [trial["gap"] for trial in search_result["trials"]]
        assert len(gaps) == 3
        assert search_result["gap"] == gaps[0] == min(gaps)
    row = next(r for r in results["rows"] if r["row"] == "CoUn")
    assert {k: row["settings"][k] for k in ("lr", "batch_size")} == tuned["CoUn"]["chosen"]
    module = next(r for r in results["rows"] if r["row"] == "NoT")["settings"]["contrast"]
    assert module["weight"] == tuned["NoT"]["chosen"]["contrast.weight"]
    assert {r["seed"] for r in results["rows"]} == {0, 1}
    assert sum(r["role"] == "candidate" for r in results["rows"]) == 2 * 2
    report = coun.bench.report(tmp_path / "out")[0].read_text()
    assert "oracle gap" in report
    assert "| CoUn candidate" not in report
    count = len(list(tmp_path.glob("out/store/*/done.json")))
    assert bench(config(config_file, sampler), tmp_path / "out", quiet=True) == results
    assert len(list(tmp_path.glob("out/store/*/done.json"))) == count


def test_a_search_computes_nothing_that_its_gaps_do_not_need(config_file) -> None:
    """A candidate is judged by its gap, so its rows are not compared with those of a Retrain."""
    pytest.importorskip("optuna")
    text = config(config_file).read_text()
    named = ["retain_accuracy", "unlearn_accuracy", "row_agreement"]
    kinds = {}
    for metrics in (named, named[:2]):
        parsed = parse(f"metrics = {metrics}\n{text}")
        planned = _Search(parsed, parsed.tune, parsed.workload[0], parsed.method[1]).ask(2)
        kinds[len(metrics)] = sorted(type(e).__name__ for e in planned.experiments)
        assert any(isinstance(e, Compare) for e in make_plan(parsed).experiments) == (
            "row_agreement" in metrics
        )
    assert kinds[3] == kinds[2]
    assert kinds[3].count("Unlearn") == 2 * len(parsed.tune.seeds)


def test_tuning_data_holds_no_row_of_the_test_set(tiny) -> None:
    """Held-out training rows replace the test set, so the test rows cannot influence tuning."""
    workload = tiny.workload[0]
    data = data_spec(tiny, workload, holdout=0.1).load()
    whole = data_spec(tiny, workload).load()
    assert len(data.test) == 20
    assert set(data.test.index.tolist()) < set(whole.train.index.tolist())
    assert not set(data.test.index.tolist()) & set(data.train.index.tolist())
    for part in (data.train, data.test):
        for row in (0, 1):
            there = (whole.train.index == part.index[row]).nonzero()[0]
            assert (part.fetch(there.new_tensor([row])) == whole.train.fetch(there)).all()
    assert (
        workload_info(tiny, workload, holdout=0.1).fingerprint
        != workload_info(tiny, workload).fingerprint
    )


def test_adding_a_method_does_not_change_the_candidates_of_others(config_file) -> None:
    pytest.importorskip("optuna")
    parsed = parse(config(config_file).read_text())
    assert parsed.tune
    trials = []
    for changed in (parsed, parsed.model_copy(update={"method": parsed.method[1:]})):
        search = _Search(changed, parsed.tune, parsed.workload[0], parsed.method[1])
        search.ask(3)
        trials.append([trial.params for trial in search.pending.values()])
    assert trials[0] == trials[1]
    assert len({str(params) for params in trials[0]}) == 3


def test_the_first_candidate_has_the_settings_of_the_config(config_file) -> None:
    pytest.importorskip("optuna")
    parsed = parse(config(config_file).read_text())
    assert parsed.tune
    first = []
    for method in parsed.method[1:]:
        search = _Search(parsed, parsed.tune, parsed.workload[0], method)
        search.ask(2)
        first.append([trial.params for trial in search.pending.values()])
    plain = make_plan(parsed).models
    untuned = next(model.settings for model in plain if model.row == "CoUn")
    assert first[0][0]["lr"] == untuned["lr"] != first[0][1]["lr"]
    assert first[1][0] == {"contrast.weight": 1.0} != first[1][1]


def test_the_first_candidate_has_the_settings_of_the_protocol(tiny) -> None:
    method = MethodConfig(name="random_label", search={"labels": ("fixed", "per_batch")})
    trials = {
        name: _untuned(tiny.model_copy(update={"protocol": name}), method, tiny.workload[0])[
            "labels"
        ]
        for name in ("salun", "ssd")
    }
    assert trials == {"salun": "per_batch", "ssd": "fixed"}


def test_reported_seeds_are_refused_for_tuning(tiny_text) -> None:
    with pytest.raises(coun.CounError, match=r"tune uses the reported seeds \[1\]"):
        parse(tiny_text(top="[tune]\nseeds = [1]\n"))


def test_an_error_says_how_to_install_optuna(config_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(coun.CounError, match=r"pip install 'coun\[tune\]'"):
        bench(config(config_file), tmp_path / "out", quiet=True)
    results = bench(config(config_file), tmp_path / "out", tuning=False, quiet=True)
    assert results["tuning"] is None


def test_a_method_whose_candidates_all_fail_is_an_error(config_file, tmp_path) -> None:
    pytest.importorskip("optuna")
    path = config(config_file, oracle=0)
    path.write_text(path.read_text().replace("low = 1e-3, high = 0.3", "low = 1e30, high = 1e32"))
    with pytest.raises(coun.CounError, match=r"every candidate of CoUn on digits failed"):
        bench(path, tmp_path / "out", quiet=True)


def test_frozen_settings_are_searched_only_by_search(config_file, tmp_path) -> None:
    pytest.importorskip("optuna")
    path = config(config_file, oracle=0)
    path.write_text(path.read_text().replace("trials = 3", "trials = 2\nfrozen = true"))
    assert bench(path, tmp_path / "out", quiet=True)["tuning"] is None
    results = search(path, tmp_path / "out", quiet=True)
    assert {name: len(method["trials"]) for name, method in results["digits"].items()} == {
        "CoUn": 2,
        "NoT": 2,
    }
    with pytest.raises(coun.CounError, match=r"nothing to tune"):
        search(config_file("plain.toml"), tmp_path / "plain", quiet=True)
