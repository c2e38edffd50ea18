"""Which methods a registry tries, and what each needs."""

import shlex
import shutil

import numpy as np
import pytest

import coun
from coun.registry import fulfilment, gates
from coun.registry.baseline import Baseline
from coun.registry.planning import Plan
from coun.runs.preparation import prepare


def test_a_failed_gate_leads_to_a_retrain(fulfilled):
    result = fulfilled.fulfil(
        method="neggrad", settings={"epochs": 9, "lr": 1.0}, min_test_accuracy=90, page=False
    )
    assert result.attempts == ("neggrad", "retrain")
    assert result.result == "FULFILLED_BY_RETRAINING"
    assert fulfilled.summary().versions[2].drift == 0
    assert fulfilled.verify(2).statement.predicate.method.name == "retrain"


def test_where_nothing_passes_the_old_version_stays(fulfilled):
    before = fulfilled.summary()
    settings = {"epochs": 1, "lr": 1e-9}
    result = fulfilled.fulfil(
        method="retrain", settings=settings, min_test_accuracy=100, page=False
    )
    assert result.result == "FAILED"
    after = fulfilled.summary()
    assert after.served == before.served
    assert after.requests[1].result == "FAILED"
    assert after.open == (2,)
    assert not any((fulfilled.folder / "work").iterdir())


def test_a_version_is_prepared_outside_and_begins_another_registry(begun, tmp_path):
    version = begun.folder / "versions" / "1"
    count = len(coun.Run.open(version).data.train)
    np.savez(tmp_path / "own.npz", probabilities=np.full((count, 2), 0.5))
    for settings in ({"epochs": 1, "folds": 2}, {"predictions": tmp_path / "own.npz"}):
        with pytest.raises(coun.CounError, match="copy the folder to a place outside"):
            prepare(version, **settings)
    assert begun.check() == []
    shutil.copytree(version, tmp_path / "copy")
    prepare(tmp_path / "copy", predictions=tmp_path / "own.npz")
    other = coun.Registry.init(tmp_path / "other", tmp_path / "copy")
    other.add(ids=[coun.Run.open(version).data.ids[0]])
    settings = {"epochs": 1, "lr": 0.01}
    result = other.fulfil(method="out_of_fold", settings=settings, page=False)
    assert result.attempts[0] == "out_of_fold"
    assert other.check() == []


def test_auto_chooses_by_the_rule_and_says_why(begun):
    lines = []
    begun.say = lines.append
    begun.add(classes=["dog"])
    result = begun.fulfil(page=False)
    assert result.method in ("class_matching", "coun", "not", "retrain")
    assert any(
        line.startswith("method: class_matching, because a Retrain sends whole classes")
        for line in lines
    )
    assert any(
        line.startswith("cost: class_matching about") and "Retrain" in line for line in lines
    )


def test_a_prepared_model_keeps_its_predictions(tmp_path):
    data = coun.load("digits", limit=120)
    run = coun.train(data, "mlp", epochs=4)
    prepared = prepare(run, folds=2, repeats=1)
    registry = coun.Registry.init(tmp_path / "prepared", prepared)
    registry.add(ids=data.ids[:3])
    result = registry.fulfil(budget=0.5, page=False)
    assert result.attempts[0] == "out_of_fold"
    assert registry.check() == []
    assert coun.Run.open(registry.folder / "versions" / "1").out_of_fold is not None


def test_a_registry_keeps_the_epochs_to_which_rewind_returns(tmp_path):
    data = coun.load("digits", limit=120)
    keeping = coun.Options(keep_every=2)
    coun.train(data, "mlp", epochs=6, out=tmp_path / "original", options=keeping)
    registry = coun.Registry.init(tmp_path / "registry", tmp_path / "original")
    shutil.rmtree(tmp_path / "original")
    for rows in (data.ids[:3], data.ids[3:5]):  # both start from version 1
        registry.add(ids=rows)
        result = registry.fulfil(
            method="rewind",
            settings={"epochs": 3},
            page=False,
            min_test_accuracy=0,
            max_retain_change=50,
        )
        assert result.attempts == ("rewind",)
    run = registry.open_version(result.version)
    assert run.record.stages == ["return to epoch 2", "rewind"]
    assert len(run.split.forget) == 5
    assert registry.check() == []
    epoch = registry.folder / "versions" / "1" / "epochs" / "epoch-0002.safetensors"
    epoch.write_bytes(epoch.read_bytes()[:-1] + b"x")
    assert any("epochs/epoch-0002.safetensors was swapped" in line for line in registry.check())


def test_a_method_of_federations_is_refused_before_a_fulfilment_begins(fulfilled) -> None:
    with pytest.raises(coun.CounError, match="pgd works in a federation only"):
        fulfilled.fulfil(method="pgd")
    assert fulfilled.state().running is None


def test_what_a_method_needs_is_checked_before_a_fulfilment_begins(fulfilled, monkeypatch) -> None:
    entries = fulfilled.ledger.head()
    for method, lack in (
        ("rewind", "begin it with a run folder of coun train"),
        ("out_of_fold", "has none; make"),
    ):
        with pytest.raises(coun.CounError, match=lack):
            fulfilled.fulfil(method=method)
        assert fulfilled.ledger.head() == entries
    number = fulfilled.add(classes=["dog"]).request
    entries = fulfilled.ledger.head()
    with pytest.raises(coun.CounError, match="forgets class dog as a whole"):
        fulfilled.fulfil(number, method="regun")
    assert fulfilled.ledger.head() == entries
    monkeypatch.setattr(fulfilment, "unlearn", refuse)
    with pytest.raises(coun.CounError, match="wrong input"):
        fulfilled.fulfil(method="finetune")
    assert fulfilled.state().running is None


def refuse(*args: object, **named: object) -> None:
    raise coun.CounError("wrong input")


def test_a_method_that_is_named_by_its_code(fulfilled, tmp_path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from coun.methods.finetune import FineTune\n"
        "class Gentle(FineTune):\n    name = 'gentle'\n"
        "class Odd(FineTune):\n    name = '../odd'\n"
    )
    with pytest.raises(coun.CounError, match=r"calls itself '../odd'"):
        fulfilled.fulfil(method=f"{code}:Odd", settings={"epochs": 1})
    folder = fulfilled.folder.rename(tmp_path / "Ann's registry")
    fulfilled = coun.Registry.open(folder)
    result = fulfilled.fulfil(method=f"{code}:Gentle", settings={"epochs": 1}, page=False)
    assert (result.method, result.attempts) == ("gentle", ("gentle",))
    # As a shell reads what is copied into it.
    command = shlex.split(result.next_step[result.next_step.index("coun request") :])
    assert command == ["coun", "request", "shred", str(folder), "2"]
    used = fulfilled.verify(2).statement.predicate.method
    assert (used.name, used.reads_forget_data) == ("gentle", False)
    assert fulfilled.check() == []


def test_the_cost_of_each_method_is_said_once(fulfilled, capsys) -> None:
    lines: list[str] = []
    fulfilled.say = lines.append
    ruined = {"method": "neggrad", "settings": {"epochs": 9, "lr": 1.0}, "page": False}
    fulfilled.fulfil(**ruined, options=coun.Options(progress=True))
    assert [line.split()[1] for line in lines if line.startswith("cost:")] == ["neggrad", "a"]
    assert "this will cost" not in capsys.readouterr().err


def test_retrains_are_asked_for_only_where_they_would_help(fulfilled, monkeypatch) -> None:
    run, original = fulfilled.open_version(2), fulfilled.open_version(1)
    for best, hint in (("inconclusive", False), ("no difference found", True)):
        rows = [{"retrains": 0, "best": "inconclusive"}, {"retrains": 3, "best": best}]
        monkeypatch.setattr(gates, "plan", lambda audit, rows=rows: rows)
        outcome = gates.examine(run, gates.Gates(), original=original)
        assert outcome.audit.verdict.label == "inconclusive"
        assert ("--retrain RUN gives a Retrain to the audit" in outcome.notes) == hint


def test_auto_chooses_what_the_clients_of_a_federation_can_carry_out(tmp_path):
    data = coun.load("digits", limit=60)
    original = coun.train(data, "mlp", epochs=8, federation={"clients": 2, "local_epochs": 8})
    registry = coun.Registry.init(tmp_path / "registry", original)
    registry.add(ids=data.ids[:3])
    choices = Plan().choices(Baseline(registry, [1], None))
    assert [choice.name for choice in choices] == ["coun", "retrain"]


def test_what_the_audits_of_several_methods_say_alike_is_said_once(fulfilled) -> None:
    lines: list[str] = []
    fulfilled.say = lines.append
    result = fulfilled.fulfil(max_remembered=0.0, page=False)
    audits = [line for line in lines if line.startswith("audit:")]
    assert len(result.attempts) > 2
    assert audits
    assert len(audits) == len(set(audits))
