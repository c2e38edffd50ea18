"""A bench that is killed, shared or cut short gives the same numbers, or names a file."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bench.rows import reproducible

import coun
from coun.bench import bench, make_plan
from coun.bench.execute.store import Store
from coun.bench.output.results import read

SEQUENTIAL = 'kind = "sequential"\nstages = 2\nfraction = 0.1'


@pytest.fixture(scope="module")
def whole(tiny_text, tmp_path_factory) -> Path:
    """The folder of a bench of the tiny config that nothing disturbed. Copy it to change it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(tiny_text())
    bench(folder / "tiny.toml", folder / "out", quiet=True)
    return folder / "out"


@pytest.fixture(scope="module")
def whole_sequence(tiny_text, tmp_path_factory) -> dict[str, Any]:
    """The results of a bench of two requests after each other that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(tiny_text(scenario=SEQUENTIAL))
    return bench(folder / "tiny.toml", folder / "out", quiet=True)


def start(config: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    source = str(Path(coun.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-m", "coun", "bench", str(config), "--out", str(out), *more],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_a_killed_bench_continues_to_the_same_numbers(
    config_file, whole_sequence, tmp_path: Path
) -> None:
    config = config_file(scenario=SEQUENTIAL)
    out = tmp_path / "killed"
    process = start(config, out)
    wait_for(lambda: len(list(out.glob("store/*/done.json"))) >= 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    before = {p: p.stat().st_mtime_ns for p in out.glob("store/*/done.json")}
    again = bench(config, out, quiet=True)
    assert reproducible(again) == reproducible(whole_sequence)
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())


def wait_for(condition, process, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < until
        time.sleep(0.01)


def test_two_workers_of_which_one_is_killed_give_the_results_of_one(
    config_file, whole, tmp_path: Path
) -> None:
    config, out = config_file(), tmp_path / "out"
    process = start(config, out, "--workers", "2")
    wait_for(lambda: len(list(out.glob("store/*/done.json"))) >= 2, process)
    if workers := _workers(process.pid):
        os.kill(workers[0], signal.SIGKILL)
    assert process.wait(300) == 0, process.stderr.read().decode()
    results = read(out)
    assert not results["failures"]
    assert reproducible(results) == reproducible(read(whole))
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


def test_two_benches_share_a_store_at_the_same_time(
    config_file, whole_sequence, tmp_path: Path
) -> None:
    small = config_file()
    large = config_file("large.toml", scenario=SEQUENTIAL)
    results = {}

    def run(name: str, config: Path) -> None:
        results[name] = bench(config, tmp_path / name, store=tmp_path / "shared", quiet=True)

    process = start(large, tmp_path / "large", "--store", str(tmp_path / "shared"))
    run("small", small)
    assert process.wait(300) == 0, process.stderr.read().decode()
    assert reproducible(read(tmp_path / "large")) == reproducible(whole_sequence)
    keys = {row["model"] for row in whole_sequence["rows"]}
    assert {row["model"] for row in results["small"]["rows"]} <= keys


@pytest.mark.parametrize("cut", ["done.json", "run/run.json", "run/model.safetensors"])
def test_a_truncated_file_is_named_and_not_used(config_file, whole, tmp_path: Path, cut) -> None:
    config, out = config_file(), shutil.copytree(whole, tmp_path / "out")
    rows = read(whole)["rows"]
    original = next(r["model"] for r in rows if (r["row"], r["seed"]) == ("Original", 1))
    victim = out / "store" / original / cut
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    # What was made from it has to be made again, so that it is read.
    later = next(r["model"] for r in rows if (r["row"], r["seed"]) == ("FT", 1))
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
        r for r in reproducible(read(whole)) if (r["row"], r["seed"]) != ("FT", 1)
    ]


def test_a_changed_number_is_detected(config_file, whole, tmp_path: Path) -> None:
    config, out = config_file(), shutil.copytree(whole, tmp_path / "out")
    results = read(out)
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
    assert all(why.startswith("diverges: ") for why in results["failures"].values())
    assert {row["row"] for row in results["rows"]} == {
        "Original",
        "Retrain",
        "Retrain again",
        "FT",
        "CoUn",
    }


def test_a_full_disk_is_reported_and_the_bench_continues_later(
    config_file, whole, tmp_path: Path
) -> None:
    config, out = config_file(), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # less than a checkpoint
    try:
        results = bench(config, out, quiet=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not results["rows"]
    assert all("cannot write" in why for why in results["failures"].values())
    assert reproducible(bench(config, out, quiet=True)) == reproducible(read(whole))


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
