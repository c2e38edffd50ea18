"""What a new version is made from, and what its accuracy is compared with."""

import re
import shutil

import pytest
import torch

import coun
from coun.cli import main
from coun.cli.app import console
from coun.cli.registry import _print
from coun.engine import predict
from coun.registry.baseline import Baseline
from coun.registry.page import write_page
from coun.registry.planning import Plan
from coun.runs import history

ONE_EPOCH = {"method": "finetune", "settings": {"epochs": 1}, "page": False}
READING = {"method": "neggrad_plus", "settings": {"epochs": 1, "lr": 0.001}, "page": False}


def without_alice(trained_folder, tmp_path):
    """A source in which the pictures of the first request are deleted."""
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    for picture in moved.rglob("alice*"):
        picture.unlink()
    return f"folder:{moved}"


def split_of(registry, version):
    return registry.open_version(version).split


def test_a_second_request_starts_from_the_first_version_and_forgets_the_rows_of_both(fulfilled):
    before = split_of(fulfilled, 2)
    fulfilled.fulfil(**ONE_EPOCH)
    version, run = fulfilled.summary().versions[2], coun.Run.open(fulfilled.served)
    assert (version.parent, version.start) == (2, 1)
    assert run.record.parent.weights_sha256 == fulfilled.open_version(1).record.weights_sha256
    assert torch.equal(run.split.new, run.split.forget)
    assert bool(torch.isin(before.forget, run.split.new).all())
    assert [step.new_rows for step in history(fulfilled.served)] == [0, len(run.split.new)]
    materials = [m.name for m in fulfilled.verify(2).statement.predicate.materials]
    assert materials[:2] == ["model before", "model that it was made from"]


def test_where_rows_are_deleted_methods_go_on_from_the_served_version(
    fulfilled, trained_folder, tmp_path
):
    """From the first version, the deleted rows would be known again."""
    source = without_alice(trained_folder, tmp_path)
    for settings in (READING, ONE_EPOCH):
        fulfilled.fulfil(**settings, data=source)
        assert fulfilled.summary().versions[-1].start == 2
        last = split_of(fulfilled, fulfilled.summary().served)
        assert len(last.earlier) == len(split_of(fulfilled, 2).forget)
        fulfilled.rollback(2)


def test_auto_trains_the_served_version_in_proportion_where_rows_are_deleted(
    fulfilled, trained_folder, tmp_path
):
    source = without_alice(trained_folder, tmp_path)
    chosen = {}
    for name, data in (("kept", None), ("deleted", source)):
        choices = Plan(budget=0.75).choices(Baseline(fulfilled, [2], data))
        assert [choice.name for choice in choices] == ["neggrad_plus", "coun", "retrain"]
        chosen[name] = choices[0].settings["epochs"]
    assert chosen["deleted"] == max(1, chosen["kept"] // 2)  # alice and bob have equally many rows


def test_a_batch_of_which_some_rows_are_deleted_goes_to_coun_as_a_whole(
    fulfilled, trained_folder, tmp_path
):
    source = without_alice(trained_folder, tmp_path)
    fulfilled.add(ids=[name for name in fulfilled.data()[0].ids if "carol" in name][:2])
    for picture in (tmp_path / "photos").rglob("bob*"):
        picture.unlink()
    baseline = Baseline(fulfilled, [2, 3], source)
    assert baseline.start()[0] is baseline.served
    first, *_ = Plan(budget=0.75).choices(baseline)
    assert first.name == "coun"
    assert "would leave them as they are" in first.reason


def test_a_request_whose_rows_are_deleted_starts_from_the_first_version(
    fulfilled, trained_folder, tmp_path
):
    """Nothing but the retain rows can be read, and every training on these adds up."""
    source = without_alice(trained_folder, tmp_path)
    for picture in (tmp_path / "photos").rglob("bob*"):
        picture.unlink()
    baseline = Baseline(fulfilled, [2], source)
    assert baseline.start()[0] is baseline.run
    choices = Plan(budget=0.75).choices(baseline)
    assert [choice.name for choice in choices] == ["coun", "retrain"]


def test_accuracy_before_and_drift_are_measured_on_the_test_rows_of_the_new_version(
    tmp_path, monkeypatch, capsys
):
    """Held-out matching uses half of them, on which it may be better than on the others."""
    data = coun.load("digits", limit=200)
    run = coun.train(data, "mlp", epochs=6)
    registry = coun.Registry.init(tmp_path / "registry", run)
    registry.add(ids=data.ids[:9])
    result = registry.fulfil(page=False)
    assert result.attempts[0] == "held_out"
    made = registry.open_version(result.version)
    before = predict(run.classifier, data, data.test).logits.argmax(1)
    right = before == data.test.labels
    measured = ~torch.isin(data.test.numbers, made.split.held_out)
    expected, of_all = (100 * float(r.double().mean()) for r in (right[measured], right))
    assert abs(expected - of_all) > 0.1
    least = float(re.findall(r"test accuracy at least ([0-9.]+)", result.checks[0].name)[0])
    assert least == pytest.approx(expected - 5, abs=0.01)
    moved = before != predict(made.classifier, data, data.test).logits.argmax(1)
    drift, of_all = (100 * float(m.double().mean()) for m in (moved[measured], moved))
    assert abs(drift - of_all) > 0.1
    assert registry.summary().versions[-1].drift == pytest.approx(drift)
    said = f"without {int((~measured).sum())} of {len(measured)} test rows"
    page = registry.folder / "certificates" / "1" / "certificate.html"
    stated = registry.verify(1).statement.predicate.checks[0].name
    assert said in stated
    assert said in page.read_text()
    monkeypatch.setattr("sys.argv", ["coun", "registry", "show", str(registry.folder)])
    main()
    shown = capsys.readouterr().out
    note = f"or a method read: {int((~measured).sum())} for version 2."
    overview = write_page(registry.summary(), tmp_path / "page.html").read_text()
    assert note in " ".join(shown.split())
    assert note in overview


def test_after_a_retrain_requests_start_from_it(fulfilled, trained_folder, tmp_path):
    fulfilled.fulfil(method="retrain", settings={"epochs": 2}, page=False)
    carol = [name for name in fulfilled.data()[0].ids if "carol" in name]
    fulfilled.add(ids=carol[:2])
    fulfilled.fulfil(**READING, data=without_alice(trained_folder, tmp_path))
    assert [v.start for v in fulfilled.summary().versions] == [None, 1, None, 3]
    assert len(split_of(fulfilled, 4).new) == 2


def test_a_retain_accuracy_far_from_the_expected_one_fails(fulfilled):
    ruined = {"method": "neggrad", "settings": {"epochs": 9, "lr": 1.0}, "min_test_accuracy": 0}
    result = fulfilled.fulfil(**ruined, page=False)
    assert result.attempts == ("neggrad", "retrain")
    attempts = [e.body for e in fulfilled.ledger.entries() if e.kind == "attempt"]
    assert attempts[-2]["why"].startswith("gate failed: retain accuracy between")
    fulfilled.rollback()
    assert fulfilled.fulfil(**ruined, max_retain_change=100, page=False).method == "neggrad"
    with pytest.raises(coun.CounError, match="--max-retain-change is 101"):
        fulfilled.fulfil(max_retain_change=101)


def test_the_expected_accuracy_is_that_of_the_first_version_on_the_rows_that_are_left(begun):
    number = begun.add(classes=["dog"]).request
    baseline = Baseline(begun, [number], None)
    assert baseline.retain_accuracy == 100  # cats only are left, and only that class counts
    other = begun.add(ids=begun.data()[0].ids[:1]).request
    baseline = Baseline(begun, [other], None)
    data, model = baseline.run.data, baseline.run.classifier
    right = predict(model, data, data.train.take(torch.arange(1, len(data.train))))
    right = right.logits.argmax(1) == data.train.labels[1:]
    assert baseline.retain_accuracy == pytest.approx(100 * float(right.double().mean()))


def test_where_nothing_is_left_to_start_from_only_a_retrain_is_made(fulfilled):
    """From any other version the training of requests would add up."""
    expected = [e.body for e in fulfilled.ledger.entries() if e.kind == "version"][1]
    lines = []
    fulfilled.say = lines.append
    fulfilled.discard(1)
    assert lines[-1].endswith("to start from; the next request is fulfilled by a Retrain")
    baseline = Baseline(fulfilled, [2], None)
    assert baseline.number is None
    assert baseline.retain_accuracy == expected["expected_retain_accuracy"]
    entries = fulfilled.ledger.head()
    with pytest.raises(coun.CounError, match="would add up; use --method retrain"):
        fulfilled.fulfil(**ONE_EPOCH)
    assert fulfilled.ledger.head() == entries
    result = fulfilled.fulfil(page=False)
    assert result.attempts == ("retrain",)
    assert "to start from; a Retrain starts afresh" in result.reason
    assert fulfilled.summary().versions[2].start is None
    assert fulfilled.state().start == 3


def test_a_retrain_of_the_users_own_is_what_the_audit_compares_with(fulfilled, tmp_path):
    split = Baseline(fulfilled, [2], None).split
    original = fulfilled.open_version(1)
    coun.unlearn(original, split, "retrain", seed=5, out=tmp_path / "retrain", epochs=8)
    lines = []
    fulfilled.say = lines.append
    result = fulfilled.fulfil(**ONE_EPOCH, retrains=[tmp_path / "retrain"])
    assert "without a Retrain" not in " ".join(lines)
    expected = coun.evaluate(tmp_path / "retrain")["retain_accuracy"]
    high = min(100, expected + 5)
    assert result.checks[1].name == f"retain accuracy between {expected - 10:.1f}% and {high:.1f}%"


def test_a_retrain_of_another_request_is_refused(fulfilled, tmp_path):
    original = fulfilled.open_version(1)
    split = coun.Split.by_id(original.data, original.data.ids[:1])
    coun.unlearn(original, split, "retrain", out=tmp_path / "retrain", epochs=1)
    with pytest.raises(coun.CounError, match="expected the same request"):
        fulfilled.fulfil(**ONE_EPOCH, retrains=[tmp_path / "retrain"])
    assert fulfilled.summary().served == 2


def test_the_list_of_versions_breaks_no_name_of_a_method(fulfilled, monkeypatch, capsys):
    """In 80 columns, also beside a version that is deleted."""
    summary = fulfilled.summary()
    changed = {"method": "neggrad_plus", "discarded": True, "drift": 30.2, "retrain_flops": 1}
    versions = tuple(version.model_copy(update=changed) for version in summary.versions)
    monkeypatch.setattr(console, "width", 80)
    _print(summary.model_copy(update={"versions": versions}))
    shown = capsys.readouterr().out
    assert shown.count(" neggrad_plus ") == 2
    assert max(map(len, shown.splitlines())) <= 80
