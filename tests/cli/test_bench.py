"""`coun bench` and `coun report` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = """
title = "tiny"
seeds = [0, 1]

[[workload]]
name = "digits"
model = "mlp"
data = { source = "digits", limit = 200, test_limit = 100 }
train = { epochs = 2 }

[[scenario]]
kind = "random"

[[method]]
name = "finetune"
label = "FT"
settings = { epochs = 1 }

[[method]]
name = "coun"
label = "CoUn"
settings = { epochs = 1 }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_bench_is_planned_run_and_reported(coun_command, config: Path, tmp_path: Path) -> None:
    planned = coun_command("bench", "plan", config, "--json").json
    kinds = {part["kind"]: part["experiments"] for part in planned["parts"]}
    assert kinds == {"trainings": 6, "unlearnings": 4, "measurements": 10}
    done = coun_command("bench", config, "--out", "out", "--json")
    assert done.code == 0, done.err
    assert len(done.json["rows"]) == 10
    assert sum(kinds.values()) == len(list(tmp_path.glob("out/store/*/done.json")))
    written = coun_command("report", "out").out.split()
    assert [Path(name).suffix for name in written] == [".md", ".tex", ".csv", ".html"]
    assert coun_command("report", "out", "--paper").code == 0
    assert "Printed gaps that contradict" in Path("out/report.md").read_text()
    done = coun_command("report", "out", "--figures", "--columns", "UA,gap", "--digits", "1")
    names = {Path(name).name for name in done.out.split()}
    assert {"digits-random-10-gaps.pdf", "digits-random-10-gap-against-cost.svg"} <= names
    assert r"Method & UA & Gap \\" in Path("out/report.tex").read_text()
    wrong = coun_command("report", "out", "--columns", "UU")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    page = Path("out/report.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # ranks need more seeds
    assert "http" not in page
    assert "<script" not in page
    timed = coun_command("bench", "plan", config)
    assert "seconds here" in timed.out
    assert "GFLOP" in timed.out
    assert "timing a few steps of " in timed.err


def test_bad_input_is_refused_in_one_line(coun_command, config: Path) -> None:
    for words, needle in [
        (("bench", "cpu/cifar.toml", "--out", "o"), "did you mean 'cpu/cifar10.toml'"),
        (("bench", "--out", "o"), "config is missing"),
        (("bench", config), "--out"),
        (("bench", config, "--out", "o", "--only", "seed=9"), "unknown seed '9'"),
        (("bench", config, "--out", "o", "--only", "sed=0"), "unknown key 'sed'"),
        (("report", "nowhere"), "results.json does not exist"),
    ]:
        done = coun_command(*words)
        assert done.code == 2, words
        assert needle in done.err
        assert done.err.count("\n") == 1


def test_shipped_configs_are_listed(coun_command) -> None:
    names = coun_command("bench", "list").out.split()
    assert {"demo", "cpu/cifar10", "paper/table2"} <= set(names)
    titles = json.loads(coun_command("bench", "list", "--json").out)
    assert titles["demo"] == "Forgetting handwritten digits"
    for words in (("bench", "--help"), ("bench", "run", "--help"), ("bench", "plan", "--help")):
        assert coun_command(*words).code == 0


def test_seeds_that_were_run_apart_are_merged(coun_command, config: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        done = coun_command("bench", config, "--only", f"seed={seed}", "--out", f"seed{seed}")
        assert "5 models of 1 seed measured" in done.out
    assert coun_command("bench", config, "--out", "whole").code == 0
    merged = coun_command("bench", "merge", "seed0", "seed1", "--out", "merged")
    assert merged.code == 0, merged.err
    assert "10 models of 2 seeds measured. Report:" in merged.out
    whole, parts = (
        json.loads((tmp_path / out / "results.json").read_text()) for out in ("whole", "merged")
    )
    values = [
        {(row["row"], row["seed"]): (row["gap"], row["model"]) for row in results["rows"]}
        for results in (whole, parts)
    ]
    assert values[0] == values[1]
    assert (tmp_path / "merged" / "report.html").is_file()
    refused = coun_command("bench", "merge", "seed0", "seed1", "--out", "whole")
    assert refused.code == 2
    assert "whole holds a bench; expected a new folder" in refused.err
