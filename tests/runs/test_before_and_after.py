"""The start model beside the result, what a run costs beside a Retrain, and bare weights."""

import shutil
from dataclasses import replace

import pytest
import torch

import coun
from coun.errors import CounError
from coun.methods import make
from coun.runs.cost import in_words, retrain_share
from coun.runs.evaluation import _warnings
from coun.runs.metrics_record import StartRecord, read_metrics


def test_an_unlearned_run_shows_its_start_and_the_change(original, split):
    before = coun.evaluate(original, split=split)
    run = coun.unlearn(original, split, "coun", epochs=1)
    result = coun.evaluate(run)
    assert result["start"]["weights_sha256"] == original.record.weights_sha256
    for name in ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"):
        assert result["start"]["metrics"][name] == before[name]
        assert result["change"][name] == result[name] - before[name]
    assert "start" not in before


def test_the_start_is_measured_once_and_kept_when_its_folder_is_gone(small, split, tmp_path):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    coun.unlearn(tmp_path / "o", split, "finetune", epochs=1, out=tmp_path / "u", data=small)
    first = coun.evaluate(tmp_path / "u", data=small)
    shutil.rmtree(tmp_path / "o")
    assert coun.evaluate(tmp_path / "u", data=small) == first


def test_another_request_is_measured_into_a_file_of_its_own(small, split, tmp_path):
    run = coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    own = coun.evaluate(run)
    other = coun.evaluate(run, split=split)
    files = {path.name: read_metrics(path).to_json() for path in (tmp_path / "o").glob("metrics*")}
    assert files == {"metrics.json": own, f"metrics-{split.digest[:12]}.json": other}


def test_a_start_near_chance_and_a_fall_are_said(original):
    def words(before, after):
        start = StartRecord(weights_sha256="", counts={}, metrics={"test_accuracy": before})
        return " ".join(_warnings(original, None, {"start": start, "test_accuracy": after}))

    assert "near chance (10.0%)" in words(12.0, 12.0)
    assert "fell by 6.0 points, from 80.0% to 74.0%" in words(80.0, 74.0)
    assert words(80.0, 76.0) == ""


def test_a_fall_of_retain_accuracy_is_said_where_test_accuracy_stays(original):
    def words(after):
        before = {"test_accuracy": 80.0, "retain_accuracy": 98.0}
        start = StartRecord(weights_sha256="", counts={}, metrics=before)
        result = {"start": start, "test_accuracy": 79.0, "retain_accuracy": after}
        return " ".join(_warnings(original, None, result))

    assert "retain accuracy fell by 7.0 points, from 98.0% to 91.0%" in words(91.0)
    assert words(94.0) == ""


def test_a_start_that_has_not_learned_its_rows_is_said(original):
    def words(learned):
        before = {"test_accuracy": 41.0, "retain_accuracy": learned}
        start = StartRecord(weights_sha256="", counts={}, metrics=before)
        result = {"start": start, "test_accuracy": 41.0, "retain_accuracy": learned}
        return " ".join(_warnings(original, None, result))

    assert "classifies only 41.7% of the retained rows correctly" in words(41.7)
    assert "little to forget" in words(89.9)
    assert words(90.0) == ""


@pytest.mark.parametrize(("lr", "unmoved"), [(1e-9, True), (0.05, False)])
def test_rows_that_are_hardly_forgotten_are_said(small, lr, unmoved):
    """Fifty digits are too few to know others, so that a Retrain errs on some of the rows."""
    data = replace(small, train=small.train.take(torch.arange(50)))
    original = coun.train(data, "mlp", epochs=40, batch_size=16)
    split = coun.Split.by_index(data, data.train.numbers[:10])
    settings = {"epochs": 4, "batch_size": 16, "lr": lr, "alpha": 0.7}
    result = coun.evaluate(coun.unlearn(original, split, "neggrad_plus", **settings))
    assert result["start"]["metrics"]["unlearn_accuracy"] == 0
    said = any("hardly forgotten" in line for line in result.get("warnings", []))
    assert said == unmoved


@pytest.mark.parametrize(("epochs", "lr", "said"), [(1, 1e-4, True), (6, 0.05, False)])
def test_names_of_forgotten_classes_that_are_still_given_are_said(
    original, small, epochs, lr, said
):
    split = coun.Split.by_class(small, 3)
    run = coun.unlearn(original, split, "class_matching", epochs=epochs, batch_size=8, lr=lr)
    rows = small.train.take(split.rows(small, "forget"))
    with torch.no_grad():
        named = run.model.eval()(small.views.evaluate(rows.images)).argmax(1) == 3
    share = 100 * named.double().mean()
    assert (share >= 5) == said
    lines = [x for x in coun.evaluate(run).get("warnings", []) if "which a Retrain never" in x]
    assert [x.startswith(f"{share:.1f}% of the rows of classes") for x in lines] == [True] * said


def test_few_forgotten_rows_are_said_beside_a_gap(original):
    def words(rows, **result):
        return " ".join(
            _warnings(original, None, {"test_accuracy": 1.0, "counts": {"forget": rows}, **result})
        )

    assert "1 forgotten row could be measured, and each is 100 points" in words(1, average_gap=9.0)
    assert "4 forgotten rows could be measured, and each is 25" in words(4, average_gap=9.0)
    assert "8 forgotten rows could be measured, and each is 12.5" in words(8, average_gap=9.0)
    assert words(10, average_gap=9.0) == words(0, average_gap=9.0) == words(4) == ""


def test_an_attack_that_jumps_where_answers_hardly_differ_is_said(original):
    def words(mia, js):
        gap = {"retain_accuracy": 1.0, "mia_efficacy": mia}
        result = {"test_accuracy": 1.0, "counts": {"forget": 60}, "average_gap": 9.0, "gap": gap}
        return " ".join(_warnings(original, None, {**result, "js_to_retrain": js}))

    assert "MIA is 100 points from the Retrain's" in words(-100.0, 0.0004)
    assert "MIA adds 50 points to the average gap" in words(100.0, 0.0004)
    assert words(-100.0, 0.2) == words(-20.0, 0.0004) == ""


def test_a_retrain_that_was_trained_too_little_is_said(original):
    def words(exact):
        start = StartRecord(weights_sha256="", counts={}, metrics={"test_accuracy": 80.0})
        retrain = {"test_accuracy": exact}
        result = {"start": start, "test_accuracy": 79.0, "retrain": retrain}
        return " ".join(_warnings(original, None, result))

    assert "the Retrain has a test accuracy of 60.0%, 20.0 points below" in words(60.0)
    assert words(72.0) == ""


@pytest.mark.parametrize(
    ("method", "settings", "share"),
    [
        ("finetune", {"epochs": 3}, 0.3),
        ("coun", {"epochs": 3}, 0.6),
        ("neggrad_plus", {"epochs": 3}, 0.6),
        ("retrain", {}, None),
    ],
)
def test_the_cost_beside_a_retrain_follows_from_epochs_and_rows(split, method, settings, share):
    computed = retrain_share(make(method, settings), split, {"epochs": 10})
    assert computed == (share if share is None else pytest.approx(share))
    assert retrain_share(make(method, settings), split, {}) is None


@pytest.mark.parametrize(("fraction", "share"), [(0.1, 0.375), (0.5, 0.6)])
def test_matching_passes_each_forget_row_of_a_large_request_in_each_epoch(
    original, fraction, share
):
    split = coun.Split.random(original.data, fraction)
    settings = {"epochs": 3, "batch_size": 16, "forget_batch_size": 4}
    computed = retrain_share(make("out_of_fold", settings), split, {"epochs": 10})
    assert computed == pytest.approx(share, rel=0.01)


def test_retrains_that_a_method_trains_on_the_way_count_in_full(original, split):
    run = coun.unlearn(original, split, "oracle", oracles=2, epochs=1)
    retrain = coun.unlearn(original, split, "retrain")
    measured = run.record.cost.flops / retrain.record.cost.flops
    assert measured > 2
    assert run.record.retrain_share == pytest.approx(measured, rel=0.1)
    module = coun.contrast(make("oracle", {"oracles": 2, "epochs": 1}), "info_nce")
    assert retrain_share(module, split, {"epochs": 10}) == pytest.approx(2.2, rel=0.1)


def test_from_four_fifths_on_retrain_is_recommended(original, split, capsys):
    assert in_words(0.99).startswith("this will cost about 0.99 of a Retrain: consider Retrain")
    options = coun.Options(progress=True)
    run = coun.unlearn(original, split, "finetune", epochs=1, options=options)
    assert "of a Retrain" in capsys.readouterr().err
    assert run.record.retrain_share == pytest.approx(1 / original.record.original["epochs"])


def test_bare_weights_are_measured_like_the_run_they_come_from(small, split, tmp_path):
    run = coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    given = coun.Run.from_weights(tmp_path / "o" / "model.safetensors", small, "mlp")
    ours, reference = (coun.evaluate(r, split=split) for r in (run, given))
    for name in ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"):
        assert ours[name] == reference[name]
    assert given.record.weights_sha256 == run.record.weights_sha256
    assert (
        coun.unlearn(given, split, "finetune", epochs=1, batch_size=64).record.parent.method is None
    )
    with pytest.raises(CounError, match="say which model has"):
        coun.Run.from_weights(tmp_path / "o" / "model.safetensors", small)


def test_a_tilde_means_the_home_folder(small, split, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    coun.train(small, "mlp", epochs=1, out="~/o")
    coun.unlearn("~/o", split, "finetune", epochs=1, out="~/u", data=small)
    coun.evaluate("~/u", data=small)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    weights = coun.Run.from_weights("~/o/model.safetensors", small, "mlp")
    assert torch.isfinite(weights.model.state_dict()["head.weight"]).all()


def test_a_module_without_a_record_has_no_expected_cost(original, split):
    run = coun.unlearn(original.model, split, "finetune", data=replace(original.data), epochs=1)
    assert run.record.retrain_share is None
