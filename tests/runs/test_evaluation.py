import copy
import errno
import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

import coun
from coun.attacks import confidence, svc_efficacy
from coun.data import Split
from coun.errors import CounError
from coun.metrics import GAP_METRICS, Metric, registry
from coun.models import Outputs, weights_digest
from coun.runs import Predictions, measure, predictions
from coun.runs.metrics_record import StartRecord, read_metrics


def sure(classes, labels, right):
    """Logits (N, K) that are right or wrong as told, by a margin of 4."""
    labels, right = torch.tensor(labels), torch.tensor(right)
    predicted = torch.where(right, labels, (labels + 1) % classes)
    return 4.0 * torch.nn.functional.one_hot(predicted, classes).float()


def made(**parts):
    """Predictions of three classes from {part: (labels, right)}."""
    outputs = {n: Outputs(sure(3, *p), torch.zeros(len(p[0]), 1)) for n, p in parts.items()}
    return Predictions(outputs, {n: torch.tensor(p[0]) for n, p in parts.items()})


def request(forget_class=None):
    one = torch.tensor([0])
    classes = () if forget_class is None else (forget_class,)
    return Split(one, one + 1, forgotten_classes=classes)


RETAIN = ([0, 1, 0, 1], [True, True, True, False])
FORGET = ([2, 2], [True, False])
TEST = ([0, 1, 2, 2, 2], [True, True, False, False, True])


def test_accuracies_are_over_their_own_rows():
    result = measure(made(retain=RETAIN, forget=FORGET, test=TEST), request())
    assert result["retain_accuracy"] == 75
    assert result["unlearn_accuracy"] == 50
    assert result["test_accuracy"] == pytest.approx(60)
    assert "forgotten_class_test_accuracy" not in result
    assert result["counts"] == {
        "retain": 4,
        "forget": 2,
        "test": 5,
        "mia_members": 4,
        "mia_non_members": 4,
    }


def test_a_forgotten_class_is_left_out_of_the_test_set():
    result = measure(made(retain=RETAIN, forget=FORGET, test=TEST), request(forget_class=2))
    assert result["test_accuracy"] == 100
    assert result["forgotten_class_test_accuracy"] == pytest.approx(100 / 3)
    assert result["counts"]["mia_non_members"] == 2
    assert result["counts"]["mia_members"] == 2


def test_without_a_request_there_is_nothing_to_unlearn():
    result = measure(made(retain=RETAIN, test=TEST), None)
    assert result["unlearn_accuracy"] is None
    assert result["mia_efficacy"] is None
    assert result["retain_accuracy"] == 75


def test_the_attack_sees_confidences_of_retain_test_and_forget_rows(original, split, small):
    computed = predictions(original.classifier, small, split)
    likely = {n: confidence(o.logits, computed.labels[n]) for n, o in computed.outputs.items()}
    assert {n: len(v) for n, v in likely.items()} == {"test": 100, "retain": 170, "forget": 30}
    result = measure(computed, split)
    assert result["counts"]["mia_members"] == 100
    assert 0 <= result["mia_efficacy"] <= 100
    # Members that are all the same leave no room for chance in their choice.
    for part, logit in (("retain", 9.0), ("test", -9.0), ("forget", 9.0)):
        logits = torch.zeros(len(computed.labels[part]), 10)
        logits[torch.arange(len(logits)), computed.labels[part]] = logit
        computed.outputs[part] = Outputs(logits, logits)
    assert measure(computed, split)["mia_efficacy"] == 0
    computed.outputs["forget"] = Outputs(-computed.outputs["forget"].logits, torch.zeros(30, 1))
    assert measure(computed, split)["mia_efficacy"] == 100
    assert svc_efficacy(likely["retain"], likely["test"], likely["forget"]) >= 0


def test_the_efficacy_is_the_confidences_of_four(original, split):
    result = coun.evaluate(original, split=split)
    assert set(result["mia"]) == {"correctness", "confidence", "entropy", "modified_entropy"}
    assert result["mia"]["confidence"] == result["mia_efficacy"]
    assert all(0 <= value <= 100 for value in result["mia"].values())


def test_two_models_face_one_attack(original, split):
    assert coun.evaluate(original, split=split) == coun.evaluate(original, split=split)


def test_evaluate_matches_a_forward_pass_by_hand(original, split, small):
    result = coun.evaluate(original, split=split)
    with torch.no_grad():
        predicted = original.model(small.views.evaluate(small.train.images)).argmax(1)
    right = predicted == small.train.labels
    forget = split.rows(small, "forget")
    assert result["unlearn_accuracy"] == pytest.approx(100 - 100 * right[forget].double().mean())
    kept = split.rows(small, "retain")
    assert result["retain_accuracy"] == pytest.approx(100 * right[kept].double().mean())


def test_evaluate_leaves_the_model_alone(original, split):
    original.model.train()
    try:
        before = weights_digest(original.model)
        coun.evaluate(original, split=split)
        assert weights_digest(original.model) == before
        assert all(m.training for m in original.model.modules())
    finally:
        original.model.eval()


def test_the_gap_to_retrain(original, split, small, tmp_path):
    exact = coun.train(small, "cnn", split=split, epochs=3, out=tmp_path / "exact")
    run = coun.unlearn(original, split, "finetune", epochs=1, out=tmp_path / "run")
    result = coun.evaluate(run, against=exact)
    reference = coun.evaluate(exact)
    for name in GAP_METRICS:
        assert result["retrain"][name] == reference[name]
        assert result["gap"][name] == result[name] - reference[name]
    gaps = [abs(g) for g in result["gap"].values()]
    assert result["average_gap"] == pytest.approx(sum(gaps) / 4)
    assert result["split_sha256"] == split.digest
    assert read_metrics(tmp_path / "run" / "metrics.json").to_json() == result
    assert coun.evaluate(exact, against=exact)["average_gap"] == 0
    # The Original is measured on the Retrain's rows.
    assert coun.evaluate(original, against=exact)["counts"]["forget"] == 30


def test_a_retrain_of_another_request_is_refused(original, split, small):
    other = coun.Split.by_index(small, range(60, 70))
    exact = coun.train(small, "cnn", split=other, epochs=1)
    with pytest.raises(CounError, match="expected the same request") as caught:
        coun.evaluate(original, split=split, against=exact)
    assert "\n" not in str(caught.value)


def test_a_retrain_that_saw_everything_is_refused(original, split):
    with pytest.raises(CounError, match="was trained on all rows; expected a Retrain"):
        coun.evaluate(original, split=split, against=original)


def test_a_retrain_of_other_data_is_refused(original, split, digits):
    exact = coun.train(digits, "mlp", split=coun.Split.random(digits, 0.5), epochs=1)
    with pytest.raises(CounError, match="was trained on other data than"):
        coun.evaluate(original, split=split, against=exact)


def test_a_folder_of_a_retrain_of_other_data_names_both_sources(tmp_path):
    lines = ["age,label", *(f"{age},{'old' if age > 50 else 'new'}" for age in range(30, 70))]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    people = coun.load(f"table:{tmp_path / 'people.csv'}")
    exact = tmp_path / "exact"
    coun.train(people, "mlp", split=coun.Split.random(people, 0.5), epochs=1, out=exact)
    digits = coun.train(coun.load("digits", limit=60), "mlp", epochs=1)
    with pytest.raises(CounError, match=r"people\.csv, whose rows are not those of digits: "):
        coun.evaluate(digits, split=coun.Split.random(digits.data, 0.1), against=exact)


def test_weights_of_another_network_are_refused_by_the_name_that_was_given(small, tmp_path):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    weights = shutil.copy(tmp_path / "o" / "model.safetensors", tmp_path / "mlp.safetensors")
    with pytest.raises(CounError, match="checkpoint of another architecture than resnet8: "):
        coun.Run.from_weights(weights, small, "resnet8")


def test_a_metric_that_is_no_number_does_not_spoil_the_file(small, split, tmp_path):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    coun.unlearn(tmp_path / "o", split, "finetune", epochs=1, out=tmp_path / "u", data=small)
    path = tmp_path / "u" / "metrics.json"
    coun.evaluate(tmp_path / "u", data=small)
    content = json.loads(path.read_text())
    content["start"]["metrics"]["odd"] = content["change"]["odd"] = None  # as 0.2.0 wrote NaN
    path.write_text(json.dumps(content))
    again = coun.evaluate(tmp_path / "u", data=small)
    assert "odd" not in again["start"]["metrics"]
    assert "was changed" in again["warnings"][-1]
    start = StartRecord(weights_sha256="", counts={}, metrics={"odd": math.nan, "even": 2.0})
    assert start.metrics == {"even": 2.0}


def test_what_the_run_forgot_is_measured_with_every_request(original, small, split):
    run = coun.unlearn(original, split, "finetune", epochs=1)
    new = Split.by_index(small, small.train.numbers[[60, 61]])
    assert coun.evaluate(run, split=new)["counts"]["forget"] == len(split.forget) + 2
    repeated = Split.by_index(small, split.forget[:3])
    again = coun.evaluate(run, split=repeated)
    assert again["counts"]["forget"] == len(split.forget)
    assert again["split_sha256"] == split.digest


def test_requests_that_differ_in_test_rows_have_files_of_their_own(small, split, tmp_path):
    run = coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    for row in (0, 1):
        other = replace(split, held_out=small.test.numbers[[row]])
        coun.evaluate(run, split=other)
    coun.evaluate(run, split=split)
    assert len(list((tmp_path / "o").glob("metrics-*.json"))) == 3
    assert (tmp_path / "o" / f"metrics-{split.digest[:12]}.json").exists()


def test_several_retrains_give_means_and_the_floor_between_them(original, split, small):
    exact = [coun.train(small, "cnn", split=split, epochs=1, seed=seed) for seed in (1, 2, 3)]
    result = coun.evaluate(original, against=exact)
    each = [coun.evaluate(original, against=retrain) for retrain in exact]
    between = [coun.evaluate(exact[i], against=exact[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    compared = ("average_gap", "row_agreement", "js_to_retrain", "log_odds_correlation")
    for name in compared:
        assert result[name] == pytest.approx(sum(e[name] for e in each) / 3)
        assert result["floor"][name] == pytest.approx(sum(e[name] for e in between) / 3)
    for name in GAP_METRICS:
        assert result["retrain"][name] == pytest.approx(sum(e["retrain"][name] for e in each) / 3)
        assert result["gap"][name] == pytest.approx(result[name] - result["retrain"][name])
    assert "floor" not in each[0]


def test_one_retrain_given_twice_is_refused_because_its_floor_would_be_0(
    original, split, small, tmp_path
):
    retrain = coun.train(small, "cnn", split=split, epochs=1, seed=1, out=tmp_path / "r")
    shutil.copytree(tmp_path / "r", tmp_path / "copy")
    for twice in ([retrain, retrain], [retrain, tmp_path / "copy"]):
        with pytest.raises(CounError, match="two of the runs have the same weights"):
            coun.evaluate(original, against=twice)


def test_no_metrics_are_overwritten(original, split, small, tmp_path):
    exact, other = (coun.train(small, "cnn", split=split, epochs=e) for e in (1, 2))
    coun.unlearn(original, split, "finetune", epochs=1, out=tmp_path / "u")
    run, path = coun.Run.open(tmp_path / "u", data=small), tmp_path / "u" / "metrics.json"
    plain = coun.evaluate(run)
    whole = coun.evaluate(run, against=exact)
    assert read_metrics(path).to_json() == whole
    before = path.read_bytes()
    assert coun.evaluate(run) == plain  # nothing of the gap is lost
    assert path.read_bytes() == before
    second = coun.evaluate(run, against=other)
    assert "holds other metrics and is kept" in second["warnings"][-1]
    assert path.read_bytes() == before
    beside = list(path.parent.glob("metrics-*.json"))
    assert [read_metrics(p).average_gap for p in beside] == [second["average_gap"]]
    coun.evaluate(run, against=other)
    assert len(list(path.parent.glob("metrics-*.json"))) == 1
    path.write_text("my own notes")
    assert "were not saved" in coun.evaluate(run)["warnings"][-1]
    assert path.read_text() == "my own notes"


def test_a_run_in_a_folder_that_cannot_be_written_is_measured(
    original, small, tmp_path, monkeypatch
):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    run = coun.Run.open(tmp_path / "o", data=small)

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    result = coun.evaluate(run)
    assert result["test_accuracy"] is not None
    assert "were not saved" in result["warnings"][-1]
    assert "Read-only file system" in result["warnings"][-1]
    assert not (tmp_path / "o" / "metrics.json").exists()


def test_features_are_kept_only_for_metrics_that_need_them(original, split, monkeypatch):
    widths = []

    def width(features):
        widths.append(features.shape[1])
        return 0.0

    before = dict(registry.catalogue())
    wide = Metric("width", "width", "", width, needs=("forget.features",), column=None)
    assert not registry.any_needs("features")
    monkeypatch.setattr(registry, "catalogue", lambda: {**before, "width": wide})
    assert coun.evaluate(original, split=split)["width"] == 0.0
    assert widths == [original.classifier.in_features]


def test_outputs_that_are_no_numbers_are_refused(original, small):
    run = coun.Run.from_weights(original.model, small)
    broken = replace(run, model=copy.deepcopy(run.model))
    *_, weight, _ = broken.model.parameters()
    weight.data.fill_(3e38)  # finite, but the logits are not
    with pytest.raises(CounError, match="^a run of .* gives no finite numbers for .* of"):
        coun.evaluate(broken)
