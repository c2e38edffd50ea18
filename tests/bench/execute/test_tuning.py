"""Tuning is fair: one budget, development seeds, and never the test set."""

from __future__ import annotations

import sys

import pytest

import coun
from coun.bench import bench
from coun.bench.execute.tuning import _Search, _untuned
from coun.bench.main import search
from coun.bench.spec.config import MethodConfig
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
def test_each_gets_the_budget_and_the_best_of_it(config_file, tmp_path, sampler) -> None:
    pytest.importorskip("optuna")
    found = bench(config(config_file, sampler), tmp_path / "out", quiet=True)
    tuned = found["tuning"]["digits"]
    assert set(tuned) == {"CoUn", "NoT"}
    for one in tuned.values():
        gaps = [trial["gap"] for trial in one["trials"]]
        assert len(gaps) == 3
        assert one["gap"] == gaps[0] == min(gaps)
    row = next(r for r in found["rows"] if r["row"] == "CoUn")
    assert {k: row["settings"][k] for k in ("lr", "batch_size")} == tuned["CoUn"]["chosen"]
    module = next(r for r in found["rows"] if r["row"] == "NoT")["settings"]["contrast"]
    assert module["weight"] == tuned["NoT"]["chosen"]["contrast.weight"]
    assert {r["seed"] for r in found["rows"]} == {0, 1}
    assert sum(r["role"] == "candidate" for r in found["rows"]) == 2 * 2
    report = coun.bench.report(tmp_path / "out")[0].read_text()
    assert "oracle gap" in report
    assert "| CoUn candidate" not in report
    count = len(list(tmp_path.glob("out/store/*/done.json")))
    assert bench(config(config_file, sampler), tmp_path / "out", quiet=True) == found
    assert len(list(tmp_path.glob("out/store/*/done.json"))) == count


def test_no_row_of_the_test_set_is_there_to_look_at(tiny) -> None:
    """The held-out rows are training rows; a test set of noise would change nothing."""
    bed = tiny.workload[0]
    data = data_spec(tiny, bed, holdout=0.1).load()
    whole = data_spec(tiny, bed).load()
    assert len(data.test) == 20
    assert set(data.test.index.tolist()) < set(whole.train.index.tolist())
    assert not set(data.test.index.tolist()) & set(data.train.index.tolist())
    for part in (data.train, data.test):
        for row in (0, 1):
            there = (whole.train.index == part.index[row]).nonzero()[0]
            assert (part.fetch(there.new_tensor([row])) == whole.train.fetch(there)).all()
    assert workload_info(tiny, bed, holdout=0.1).fingerprint != workload_info(tiny, bed).fingerprint


def test_another_method_changes_no_candidates(config_file) -> None:
    pytest.importorskip("optuna")
    one = parse(config(config_file).read_text())
    assert one.tune
    drawn = []
    for changed in (one, one.model_copy(update={"method": one.method[1:]})):
        search = _Search(changed, one.tune, one.workload[0], one.method[1])
        search.ask(3)
        drawn.append([trial.params for trial in search.pending.values()])
    assert drawn[0] == drawn[1]
    assert len({str(params) for params in drawn[0]}) == 3


def test_the_config_s_own_settings_are_the_first_candidate(config_file) -> None:
    pytest.importorskip("optuna")
    one = parse(config(config_file).read_text())
    assert one.tune
    first = []
    for method in one.method[1:]:
        search = _Search(one, one.tune, one.workload[0], method)
        search.ask(2)
        first.append([trial.params for trial in search.pending.values()])
    plain = make_plan(one).models
    own = next(model.settings for model in plain if model.row == "CoUn")
    assert first[0][0]["lr"] == own["lr"] != first[0][1]["lr"]
    assert first[1][0] == {"contrast.weight": 1.0} != first[1][1]


def test_the_first_candidate_knows_the_protocol(tiny) -> None:
    method = MethodConfig(name="random_label", search={"labels": ("fixed", "per_batch")})
    drawn = {
        name: _untuned(tiny.model_copy(update={"protocol": name}), method, tiny.workload[0])[
            "labels"
        ]
        for name in ("salun", "ssd")
    }
    assert drawn == {"salun": "per_batch", "ssd": "fixed"}


def test_reported_seeds_are_refused(tiny_text) -> None:
    with pytest.raises(coun.CounError, match=r"tune uses the reported seeds \[1\]"):
        parse(tiny_text(top="[tune]\nseeds = [1]\n"))


def test_without_optuna_it_says_what_to_do(config_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(coun.CounError, match=r"pip install 'coun\[tune\]'"):
        bench(config(config_file), tmp_path / "out", quiet=True)
    found = bench(config(config_file), tmp_path / "out", tuning=False, quiet=True)
    assert found["tuning"] is None


def test_all_candidates_failing_is_an_error(config_file, tmp_path) -> None:
    pytest.importorskip("optuna")
    path = config(config_file, oracle=0)
    path.write_text(path.read_text().replace("low = 1e-3, high = 0.3", "low = 1e30, high = 1e32"))
    with pytest.raises(coun.CounError, match=r"every candidate of CoUn on digits failed"):
        bench(path, tmp_path / "out", quiet=True)


def test_frozen_settings_are_searched_only_when_asked(config_file, tmp_path) -> None:
    pytest.importorskip("optuna")
    path = config(config_file, oracle=0)
    path.write_text(path.read_text().replace("trials = 3", "trials = 2\nfrozen = true"))
    assert bench(path, tmp_path / "out", quiet=True)["tuning"] is None
    found = search(path, tmp_path / "out", quiet=True)
    assert {name: len(one["trials"]) for name, one in found["digits"].items()} == {
        "CoUn": 2,
        "NoT": 2,
    }
    with pytest.raises(coun.CounError, match=r"nothing to tune"):
        search(config_file("plain.toml"), tmp_path / "plain", quiet=True)
