"""A chain of requests on the command line: history, Retrain of a request, moved data, weights."""

from __future__ import annotations

from pathlib import Path

TRAIN = ("train", "--data", "digits", "--limit", 200, "--model", "mlp", "--epochs", 2)


def test_a_chain_of_requests(coun_command, tmp_path: Path) -> None:
    assert coun_command(*TRAIN, "--out", "o").code == 0
    finetune = ("--method", "finetune", "--set", "epochs=1")
    first = coun_command("unlearn", "o", "--forget-class", "3", *finetune, "--out", "a")
    assert first.code == 0, first.err
    assert "this will cost about 0.50 of a Retrain" in first.err
    assert all(word in first.out for word in ("before", "after", "change"))
    second = coun_command("unlearn", "a", "--forget-class", "5", *finetune, "--out", "b")
    assert "(20 new, 20 before)" in second.out
    again = coun_command("unlearn", "b", "--forget-class", "3", *finetune, "--out", "c")
    assert again.code == 2
    assert "forgotten before" in again.err
    steps = coun_command("history", "b", "--json").json
    assert [(s["method"], s["request"], s["new_rows"]) for s in steps] == [
        ("retrain", None, 0),
        ("finetune", "class '3'", 20),
        ("finetune", "class '5'", 20),
    ]
    assert "class '5'" in coun_command("history", "b").out
    assert "…" not in coun_command("history", "b").out
    for name in ("3", "7"):  # what the run forgot is measured too, also on its own
        of_all = coun_command("evaluate", "b", "--forget-class", name, "--json")
        assert of_all.json["counts"]["forget"] == (60 if name == "7" else 40), of_all.err
    weights = ("--data", "digits", "--limit", 200, "--model", "mlp", *finetune, "--out", "w")
    alone = coun_command("unlearn", "b/model.safetensors", "--forget-class", "7", *weights)
    assert (alone.code, alone.err.count("\n")) == (2, 1)
    assert "b is a run folder; name the folder" in alone.err
    assert coun_command("train", "--from-request", "b", "--seed", 1, "--out", "r").code == 0
    measured = coun_command("evaluate", "b", "--against", "r", "--json")
    assert measured.json["counts"]["forget"] == 40
    assert measured.json["average_gap"] > 0
    shown = coun_command("evaluate", "b", "--against", "r").out
    lines = [line.strip() for line in shown.splitlines()]
    heading, retained = (x for x in lines if x.startswith(("metric", "Retain accuracy")))
    difference = measured.json["retain_accuracy"] - measured.json["retrain"]["retain_accuracy"]
    assert heading.split()[-2:] == ["from", "Retrain"]
    assert retained.split()[-1] == f"{difference:+.2f}"


def test_a_history_breaks_no_name_of_a_method(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "o").code == 0
    plus = ("--method", "neggrad_plus", "--set", "epochs=1", "--forget-fraction", 0.1)
    assert coun_command("unlearn", "o", *plus, "--out", "a").code == 0
    assert "neggrad_plus" in coun_command("history", "a").out


def test_a_history_of_80_columns_cuts_no_number(coun_command, monkeypatch) -> None:
    """The name of this method and the request are longer than their share of the line."""
    from coun.cli.app import console
    from coun.runs.cost import operations

    monkeypatch.setattr(console, "width", 80)
    assert coun_command(*TRAIN, "--out", "o").code == 0
    matched = ("--method", "class_matching", "--set", "epochs=1", "--forget-class", "3")
    assert coun_command("unlearn", "o", *matched, "--out", "a").code == 0
    steps = coun_command("history", "a", "--json").json
    shown = coun_command("history", "a").out
    head, _, *lines = shown.splitlines()
    assert head.endswith("  operations")
    assert [operations(step["flops"]) in shown for step in steps] == [True, True]
    assert "class_matching" in shown
    assert max(map(len, lines)) <= 80


def test_weights_files_are_evaluated(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "o").code == 0
    weights = ("evaluate", "o/model.safetensors")
    assert "give --data and --model" in coun_command(*weights).err
    source = ("--data", "digits", "--limit", 200, "--model", "mlp")
    shown = coun_command(*weights, *source, "--forget-fraction", 0.1, "--json")
    assert shown.code == 0, shown.err
    whole = coun_command("evaluate", "o", "--json").json
    assert shown.json["test_accuracy"] == whole["test_accuracy"]
    assert shown.json["unlearn_accuracy"] is not None


def test_near_copies_that_cannot_be_shown_enter_no_request(coun_command, tmp_path: Path) -> None:
    network = "from torch import nn\ndef make():\n"
    network += "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    (tmp_path / "net.py").write_text(network)
    train = ("train", "--data", "digits", "--limit", 100, "--model", "./net.py:make")
    assert coun_command(*train, "--epochs", 1, "--out", "o").code == 0
    assert coun_command("registry", "init", "r", "--from", "o", "--trust").code == 0
    add = ("request", "add", "r", "--class", "3", "--near-copies", 0.97)
    refused = coun_command(*add)
    assert (refused.code, "add --trust" in refused.err) == (2, True)
    assert coun_command("request", "list", "r", "--json").json == []
    assert coun_command(*add, "--trust").code == 0
    assert [r["rows"] for r in coun_command("request", "list", "r", "--json").json] == [10]
