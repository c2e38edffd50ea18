"""A bench gives the same numbers with any workers and after any interruption, or names a file."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bench.rows import reproducible

import coun
from coun.bench import bench, make_plan
from coun.bench.execute import experiments
from coun.bench.execute.records import paper_forwards
from coun.bench.execute.store import Store
from coun.bench.output import tables
from coun.bench.output.results import read
from coun.bench.spec import config as config_module
from coun.bench.spec import experiment, plan, planned
from coun.data.subsets import stratified
from coun.files import read_json
from coun.metrics import Metric, registry

SEQUENTIAL = 'kind = "sequential"\nstages = 2\nfraction = 0.1'


def start(config: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    source = str(Path(coun.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "coun", "bench", str(config), "--out", str(out), *more],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_a_model_in_the_store_is_an_ordinary_run(config_file, tmp_path: Path) -> None:
    """So that `coun audit` and `coun evaluate` take it, test_limit or not."""
    results = bench(config_file(), tmp_path / "out", quiet=True)
    row = next(r for r in results["rows"] if r["row"] == "CoUn")
    run = coun.Run.open(tmp_path / "out" / "store" / row["model"] / "run")
    assert len(run.data.test) == 100
    assert coun.evaluate(run)["unlearn_accuracy"] == row["unlearn_accuracy"]


def test_the_records_equal_what_the_public_functions_give(config_file, tmp_path: Path) -> None:
    """Stage two by hand: the earlier forget rows are gone, the union is measured."""
    results = bench(config_file(scenario=SEQUENTIAL), tmp_path / "out", quiet=True)
    row = next(r for r in results["rows"] if (r["row"], r["stage"], r["seed"]) == ("CoUn", 2, 1))
    data = coun.load("digits", limit=200)
    rows = stratified(data.test.labels, 100, 0)
    data = replace(data, test=data.test.take(rows), source="")
    first, both = (coun.Split.random(data, f, seed=1) for f in (0.1, 0.2))
    options = coun.Options(device="cpu", precision="fp32")
    original = coun.train(data, "mlp", epochs=2, seed=1, options=options)
    retrain = coun.train(data, "mlp", split=both, epochs=2, seed=1, options=options)
    once = coun.unlearn(original, first, "coun", epochs=1, seed=1, options=options)
    rest = replace(data, train=data.train.take(first.rows(data, "retain")))
    new = coun.Split.by_index(
        rest, [i for i in both.forget.tolist() if i in set(rest.train.index.tolist())]
    )
    twice = coun.unlearn(
        replace(once, data=rest, split=None), new, "coun", epochs=1, seed=1, options=options
    )
    expected = coun.evaluate(replace(twice, data=data), against=retrain, split=both)
    assert row["gap"] == pytest.approx(expected["average_gap"])
    for name in ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"):
        assert row[name] == expected[name]
    spent = once.record["cost"]["flops"] + twice.record["cost"]["flops"]
    assert row["flops"] == pytest.approx(spent)


def test_the_accounting_of_the_paper_gives_its_printed_costs() -> None:
    """Table 2: ResNet-18, 45,000 rows retained, batches of 256, 182 epochs; 50 of unlearning."""
    rows, constant = 45_000, 1.112631e9  # the paper's operations a forward
    settings = {"epochs": 182, "batch_size": 256}
    seen = 182 * rows
    cost = {"forward_images": seen, "trained_images": seen}
    retrain = paper_forwards(cost, settings, rows)
    assert retrain == pytest.approx(182 * 176 * 256 * 3)
    assert retrain * constant / 1e15 == pytest.approx(27.37, abs=0.005)
    second_view = {"forward_images": 2 * seen, "trained_images": 2 * seen}
    assert paper_forwards(second_view, settings, rows) == pytest.approx(4 / 3 * retrain)
    assert paper_forwards(cost, {}, rows) == 3 * seen  # no batches


def test_costs_before_the_request_are_recorded_separately(config_file, tmp_path: Path) -> None:
    more = """
[[method]]
name = "sisa"
label = "SISA"
settings = { shards = 4, slices = 1 }
"""
    few = 'kind = "random"\nfraction = 0.01'  # two rows, so at least two of the shards stay whole
    config = config_file(more=more, scenario=few)
    results = bench(config, tmp_path / "out", only=["seed=0"], quiet=True)
    row = next(r for r in results["rows"] if r["row"] == "SISA")
    record = read_json(tmp_path / "out" / "store" / row["model"] / "run" / "run.json")
    assert row["settings"] == record["method"]["settings"]
    assert row["settings"]["epochs"] == 2  # the Original's
    assert row["flops"] == record["cost"]["flops"]
    assert row["preparation_flops"] == record["preparation_cost"]["flops"] >= row["flops"] > 0
    assert row["preparation_flops_ratio"] >= row["flops_ratio"] > 0
    plain = next(r for r in results["rows"] if r["row"] == "FT")
    assert (plain["preparation_flops"], plain["preparation_seconds"]) == (0, 0)


def test_a_killed_bench_continues_to_the_same_numbers(config_file, tmp_path: Path) -> None:
    config = config_file(scenario=SEQUENTIAL)
    whole = bench(config, tmp_path / "whole", quiet=True)
    out = tmp_path / "killed"
    process = start(config, out)
    wait_for(lambda: len(list(out.glob("store/*/done.json"))) >= 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    before = {p: p.stat().st_mtime_ns for p in out.glob("store/*/done.json")}
    again = bench(config, out, quiet=True)
    assert reproducible(again) == reproducible(whole)
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())


def wait_for(condition, process, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.01)


def test_two_workers_of_which_one_is_killed_give_the_results_of_one(config_file, tmp_path) -> None:
    config, out = config_file(), tmp_path / "out"
    process = start(config, out, "--workers", "2")
    wait_for(lambda: len(list(out.glob("store/*/done.json"))) >= 2, process)
    if workers := _workers(process.pid):
        os.kill(workers[0], signal.SIGKILL)
    assert process.wait(300) == 0, process.stderr.read().decode()
    results = read(out)
    assert not results["failures"]
    assert reproducible(results) == reproducible(bench(config, tmp_path / "plain", quiet=True))
    table = pq.read_table(out / "results.parquet").to_pylist()
    assert [row["gap"] for row in table] == [row["gap"] for row in results["rows"]]
    assert json.loads(table[-1]["settings"])["weight"] == 1.0


def _workers(parent: int) -> list[int]:
    """The computing children of a bench, where the system tells."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        return []
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()
    }
    return [int(pid) for pid, words in commands.items() if "LokyProcess" in words]


def test_two_benches_share_a_store_at_the_same_time(config_file, tmp_path: Path) -> None:
    small = config_file()
    large = config_file("large.toml", scenario=SEQUENTIAL)
    results = {}

    def run(name: str, config: Path) -> None:
        results[name] = bench(config, tmp_path / name, store=tmp_path / "shared", quiet=True)

    process = start(large, tmp_path / "large", "--store", str(tmp_path / "shared"))
    run("small", small)
    assert process.wait(300) == 0, process.stderr.read().decode()
    alone = bench(large, tmp_path / "alone", quiet=True)
    assert reproducible(read(tmp_path / "large")) == reproducible(alone)
    keys = {row["model"] for row in alone["rows"]}
    assert {row["model"] for row in results["small"]["rows"]} <= keys


@pytest.mark.parametrize("cut", ["done.json", "run/run.json", "run/model.safetensors"])
def test_a_truncated_file_is_named_and_not_used(config_file, tmp_path: Path, cut) -> None:
    config, out = config_file(), tmp_path / "out"
    whole = bench(config, out, quiet=True)
    original = next(r["model"] for r in whole["rows"] if (r["row"], r["seed"]) == ("Original", 1))
    victim = out / "store" / original / cut
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    # What was made from it has to be made again, so that it is read.
    later = next(r["model"] for r in whole["rows"] if (r["row"], r["seed"]) == ("FT", 1))
    (out / "store" / later / "done.json").unlink()
    for path in (out / "store" / later / "run").iterdir():
        path.unlink()
    if cut == "done.json":
        with pytest.raises(coun.CounError, match=str(victim)):
            bench(config, out, quiet=True)
        return
    again = bench(config, out, quiet=True)
    assert any(str(victim) in why or "weights" in why for why in again["failures"].values())
    assert all(str(victim.parent) in why for why in again["failures"].values())
    assert reproducible(again) == [
        r for r in reproducible(whole) if (r["row"], r["seed"]) != ("FT", 1)
    ]


def test_a_changed_number_is_detected(config_file, tmp_path: Path) -> None:
    config, out = config_file(), tmp_path / "out"
    results = bench(config, out, quiet=True)
    victim = out / "store" / results["rows"][0]["measured"] / "done.json"
    value = str(results["rows"][0]["retain_accuracy"])
    victim.write_text(victim.read_text().replace(value, "99.5"))
    with pytest.raises(coun.CounError, match=r"done.json was changed"):
        bench(config, out, quiet=True)
    results = out / "results.json"
    results.write_text(results.read_text().replace('"gap": ', '"gap": 1', 1))
    with pytest.raises(coun.CounError, match=r"results.json was changed"):
        read(out)


def test_a_failed_experiment_is_named_and_the_others_continue(config_file, tmp_path: Path) -> None:
    more = """
[[method]]
name = "finetune"
label = "diverges"
settings = { epochs = 1, lr = 1e30 }
"""
    results = bench(config_file(more=more), tmp_path / "out", quiet=True)
    assert len(results["failures"]) == 2
    assert all("finite" in why for why in results["failures"].values())
    assert {row["row"] for row in results["rows"]} == {
        "Original",
        "Retrain",
        "Retrain again",
        "FT",
        "CoUn",
    }


def test_a_full_disk_is_reported_and_the_bench_continues_later(config_file, tmp_path: Path) -> None:
    config, out = config_file(), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # less than a checkpoint
    try:
        results = bench(config, out, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not results["rows"]
    assert all("cannot write" in why for why in results["failures"].values())
    assert reproducible(bench(config, out, quiet=True)) == reproducible(
        bench(config, tmp_path / "b")
    )


@pytest.mark.parametrize(
    "scenario",
    ['kind = "memorised"\nmodels = 2\nlevel = "mix"', 'kind = "worst_case"\nfraction = 0.2'],
)
def test_requests_by_score_share_the_models_that_score(config_file, tmp_path, scenario) -> None:
    results = bench(config_file(scenario=scenario), tmp_path / "out", quiet=True)
    assert not results["failures"]
    assert len(results["rows"]) == 10
    kinds = [read_json(path)["kind"] for path in tmp_path.glob("out/store/*/experiment.json")]
    # Memorisation is of the data, self-influence of each seed's Original.
    assert kinds.count("score") == (1 if "memorised" in scenario else 2)
    assert kinds.count("train") == 2 * 3 + (2 if "memorised" in scenario else 0)


def test_a_part_of_a_bench_is_run_before_the_rest(config_file, tmp_path: Path) -> None:
    config, out = config_file(), tmp_path / "out"
    part = bench(config, out, only=["seed=1", "row=FT,CoUn"], quiet=True)
    assert {(row["row"], row["seed"]) for row in part["rows"]} == {("FT", 1), ("CoUn", 1)}
    with pytest.raises(coun.CounError, match=r"unknown row 'FTT' \(did you mean 'FT'\?\)"):
        bench(config, out, only=["FTT"], quiet=True)
    assert len(bench(None, out, resume=True, quiet=True)["rows"]) == 10


def test_after_the_time_limit_finished_models_are_reported(config_file, tmp_path: Path) -> None:
    nothing = bench(config_file(), tmp_path / "out", minutes=0, quiet=True)
    assert nothing["rows"] == []
    assert (
        "10 of 10 models have no result yet" in coun.bench.report(tmp_path / "out")[0].read_text()
    )
    part = bench(config_file(), tmp_path / "out", only=["seed=0"], quiet=True)
    later = bench(config_file(), tmp_path / "out", minutes=0, quiet=True)
    assert reproducible(later) == reproducible(part)
    assert (later["planned"], len(later["rows"])) == (10, 5)
    whole = bench(config_file(), tmp_path / "out", minutes=60, quiet=True)
    assert len(whole["rows"]) == whole["planned"]


def test_an_incomplete_search_chooses_no_settings(config_file, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    search = "[method.search]\nlr = { low = 0.01, high = 0.1 }\n"
    config = config_file(top="[tune]\ntrials = 1\nseeds = [70]", more=search)
    with pytest.raises(coun.CounError, match=r"before tuning finished; run the command again"):
        bench(config, tmp_path / "out", minutes=0, quiet=True)
    assert not (tmp_path / "out" / "tuned.json").exists()
    assert bench(config, tmp_path / "out", minutes=60, quiet=True)["tuning"]


def test_a_folder_of_another_bench_is_refused_without_resume(config_file, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bench(config_file(), out, only=["seed=0"], quiet=True)
    other = config_file("other.toml", scenario='kind = "class"\nname = "3"')
    with pytest.raises(coun.CounError, match=r"holds another bench"):
        bench(other, out, quiet=True)
    results = bench(other, out, resume=True, quiet=True)
    exact = next(row for row in results["rows"] if row["row"] == "Retrain")
    assert exact["unlearn_accuracy"] == 100
    assert "forgotten_class_test_accuracy" in exact


def test_the_page_of_an_audit_is_not_overwritten(config_file, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("an audit")
    with pytest.raises(coun.CounError, match="is not empty and holds no config.toml"):
        bench(config_file(), tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text() == "an audit"


def test_a_claim_excludes_others_until_it_ends(tiny, tmp_path: Path) -> None:
    experiment = make_plan(tiny).experiments[0]
    store = Store(tmp_path)
    with store.claim(experiment) as claimed:
        assert claimed
        seen = []

        def other() -> None:
            with Store(tmp_path).claim(experiment) as claimed_by_other:
                seen.append(claimed_by_other)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert seen == [False]
    with store.claim(experiment) as claimed:
        assert claimed


def test_a_registered_metric_is_a_column_as_soon_as_the_config_names_it(
    config_file, tmp_path: Path, monkeypatch
) -> None:
    metric = Metric(
        "share_of_zeros", "zeros", "%", lambda y: 100 * float((y == 0).float().mean()),
        needs=("forget.labels",), digits=1,
    )  # fmt: skip
    known = registry.catalogue()
    for module in (registry, config_module, experiment, plan, planned, tables):
        monkeypatch.setattr(module, "catalogue", lambda: {**known, "share_of_zeros": metric})
    names = '["unlearn_accuracy", "row_agreement", "share_of_zeros"]'
    config = config_file(top=f"metrics = {names}")
    results = bench(config, tmp_path / "out", only=["seed=0"], quiet=True)
    records = {record["row"]: record for record in results["rows"]}
    assert records["Retrain"]["row_agreement"] == 100
    assert records["Original"]["row_agreement"] < 100
    assert records["FT"]["gap"] == abs(records["FT"]["gap_unlearn_accuracy"])
    text = coun.bench.report(tmp_path / "out")[0].read_text()
    header = next(line for line in text.splitlines() if "| reads forget |" in line)
    assert "| UA | agreement | zeros | gap |" in header
    assert "| zeros | zeros (%). |" in text
    zeros = records["FT"]["share_of_zeros"]
    assert f"| {zeros:.1f} |" in next(x for x in text.splitlines() if x.startswith("| FT |"))


def test_rows_of_one_seed_share_a_preparation_whose_cost_is_apart(
    config_file, tmp_path: Path, monkeypatch
) -> None:
    calls = []
    prepare = experiments.prepare
    monkeypatch.setattr(experiments, "prepare", lambda *a, **k: calls.append(a) or prepare(*a, **k))
    row = '[[method]]\nname = "out_of_fold"\nlabel = "{}"\nsettings = {{ epochs = {} }}\n'
    more = row.format("matching", 1) + row.format("longer", 2)
    more += row.format("cheap", 1) + "preparation = { folds = 2, repeats = 1 }\n"
    results = bench(config_file(more=more), tmp_path / "out", only=["seed=0"], quiet=True)
    records = {record["row"]: record for record in results["rows"]}
    assert len(calls) == 2
    assert records["FT"]["preparation_flops"] == 0
    # 2 times 4 folds, each with three quarters of the rows for one epoch of two, of 180 in Retrain
    whole = 2 * 4 * (0.75 * 200) * 1 / (180 * 2)
    for name in ("matching", "longer"):
        assert records[name]["preparation_flops_ratio"] == pytest.approx(whole, rel=0.05)
        assert records[name]["flops_ratio"] < 1.5  # without the preparation
    half = 2 * (0.5 * 200) * 1 / (180 * 2)
    assert records["cheap"]["preparation_flops_ratio"] == pytest.approx(half, rel=0.05)
    assert records["longer"]["flops"] > 1.7 * records["matching"]["flops"]


def test_rewind_returns_to_epochs_that_the_bench_keeps(config_file, tmp_path: Path) -> None:
    row = '[[method]]\nname = "rewind"\nlabel = "Rewind"\nsettings = { epochs = 1 }'
    out = tmp_path / "out"
    results = bench(config_file(more=row), out, only=["seed=0"], quiet=True)
    record = next(record for record in results["rows"] if record["row"] == "Rewind")
    assert record["flops_ratio"] == pytest.approx(0.5)  # one of two epochs
    run = read_json(out / "store" / record["model"] / "run" / "run.json")
    assert run["stages"] == ["return to epoch 1", "rewind"]


def test_a_row_that_reads_test_rows_is_measured_on_the_others(config_file, tmp_path: Path) -> None:
    row = '[[method]]\nname = "held_out"\nlabel = "half"\nsettings = { epochs = 1 }'
    out = tmp_path / "out"
    results = bench(config_file(more=row), out, only=["seed=0"], quiet=True)
    records = {record["row"]: record for record in results["rows"]}
    store = out / "store"
    run = coun.Run.open(store / records["half"]["model"] / "run")
    retrain = coun.Run.open(store / records["Retrain"]["model"] / "run")
    assert len(run.split.test_rows(run.data)) == 50
    measured = coun.evaluate(run)  # the run knows which rows it has read
    exact = coun.evaluate(retrain, split=run.split)
    for name in ("test_accuracy", "mia_efficacy"):
        assert records["half"][name] == measured[name]
        assert records["half"][f"gap_{name}"] == pytest.approx(measured[name] - exact[name])
    assert records["Retrain"]["test_accuracy"] == coun.evaluate(retrain)["test_accuracy"]


def test_a_bench_overwrites_nothing_and_gives_its_folder_back(config_file, tmp_path: Path) -> None:
    config, out = config_file(), tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    (out / "results.json").write_text("my results")
    with pytest.raises(coun.CounError, match="is not empty and holds no config.toml"):
        bench(config, out, quiet=True)
    assert (out / "results.json").read_text() == "my results"
    wrong = config_file()
    text = wrong.read_text().replace('source = "', 'source = "folder:nowhere-')
    wrong.write_text(text)
    with pytest.raises(coun.CounError):
        bench(wrong, tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()
