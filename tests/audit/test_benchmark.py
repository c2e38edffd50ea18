"""The command that makes docs/results/audit.md runs, in a small form."""

import importlib
import json
from pathlib import Path

import coun
from coun.audit import WORDS, rank_tests, top_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_validation_makes_its_page_and_reads_what_it_has(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for module in (rank_tests, top_rows):  # the command sets them, so they are restored
        monkeypatch.setattr(module, "DRAWS", module.DRAWS)
    monkeypatch.setattr(rank_tests, "ENOUGH", rank_tests.ENOUGH)
    validation = importlib.import_module("audit")
    arguments = ["--seeds", "1", "--bad-seeds", "0", "--requests", "a class"]
    arguments += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "audit.json")]
    pages = []
    for _ in range(2):  # the second run reads everything from the cache
        validation.main(arguments)
        pages.append((tmp_path / "audit.md").read_text())
    assert pages[0] == pages[1]
    counts = json.loads((tmp_path / "audit.json").read_text())["counts"]
    words = {(c["request"], c["model"], c["retrains"]): c["words"] for c in counts}
    assert set(words["a class", "Original", 1]) == {"under-forgotten"}
    assert sum(words["a class", "Retrain", 0].values()) == 6
    assert "| a class | 0/6" in pages[0]


def test_networks_of_the_library_are_audited_in_the_same_words(monkeypatch):
    """What is done with resnet8, in a small form."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    networks = importlib.import_module("audit_networks")
    data, split = networks._mislabelled(coun.load("digits", limit=100, test_limit=50), 0)
    assert len(split.forget) == 10
    rows = networks.audits_of(data, split, 0, model="mlp", epochs=1, counts=(1,))
    assert {row["model"] for row in rows} >= {"Retrain", "Original", "fine-tuned"}
    assert {row["word"] for row in rows} <= set(WORDS)
