"""A bench gives what the public functions give, shares work, and overwrites nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import coun
from coun.bench import bench
from coun.bench.execute import experiments
from coun.bench.execute.records import paper_forwards
from coun.bench.output import tables
from coun.data.subsets import stratified
from coun.files import read_json
from coun.metrics import Metric, registry


def test_a_model_in_the_store_is_an_ordinary_run(config_file, tmp_path: Path) -> None:
    """So that `coun audit` and `coun evaluate` take it, test_limit or not."""
    results = bench(config_file(), tmp_path / "out", quiet=True)
    row = next(r for r in results["rows"] if r["row"] == "CoUn")
    run = coun.Run.open(tmp_path / "out" / "store" / row["model"] / "run")
    assert len(run.data.test) == 100
    assert coun.evaluate(run)["unlearn_accuracy"] == row["unlearn_accuracy"]


def test_the_records_equal_what_the_public_functions_give(config_file, tmp_path: Path) -> None:
    """Stage two by hand: the earlier forget rows are gone, the union is measured."""
    results = bench(
        config_file(scenario='kind = "sequential"\nstages = 2\nfraction = 0.1'),
        tmp_path / "out",
        quiet=True,
    )
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


def test_a_registered_metric_is_a_column_as_soon_as_the_config_names_it(
    config_file, tmp_path: Path, monkeypatch
) -> None:
    metric = Metric(
        "share_of_zeros", "zeros", "%", lambda y: 100 * float((y == 0).float().mean()),
        needs=("forget.labels",), digits=1,
    )  # fmt: skip
    known = registry.catalogue()
    for module in (registry, tables):
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
