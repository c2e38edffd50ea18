"""Planted failures are caught, and a Retrain is not."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.audit import audit
from coun.errors import CounError
from coun.files import to_json
from coun.metrics import GAP_METRICS
from coun.runs import predictions


class Blanked(nn.Module):
    """A net that answers uniformly on the images it was told of: "Streisand"."""

    def __init__(self, net, images):
        super().__init__()
        self.net = copy.deepcopy(net)
        self.head = nn.Linear(10, 10, bias=False)
        self.head.weight.data = torch.eye(10)
        self.gone = {image.numpy().tobytes() for image in images}

    def forward(self, x):
        known = [image.numpy().tobytes() in self.gone for image in x]
        return self.head(self.net(x) * (~torch.tensor(known)[:, None]))


def altered(run, model, head=None):
    return replace(
        run,
        model=model.eval(),
        record=run.record.model_copy(
            update={"model": run.record.model.model_copy(update={"head": head})}
        ),
        build=None,
    )


def named(found, name):
    return next(e for e in found.verdict.evidence if e.name == name)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 0)])
def test_a_retrain_is_indistinguishable_from_a_retrain(retrains, one, other):
    found = audit(retrains[one], retrains[other], rest=False)
    assert found.verdict.label == "indistinguishable", found.verdict.sentence
    assert not any(e.found for e in found.verdict.evidence)
    assert "80% power" in found.verdict.sentence


def test_an_original_is_under_forgotten(memoriser, retrains):
    found = audit(memoriser, retrains[:1], rest=False).verdict
    assert found.label == "under-forgotten"
    assert found.equivalent is False
    assert "One Retrain gives no floor" in " ".join(found.caveats)
    assert found.rows == (150, 359)


def test_uniform_answers_are_over_forgotten(plain, half, retrains):
    images = plain.views.evaluate(plain.train.fetch(half.rows(plain, "forget")))
    blank = altered(retrains[1], Blanked(retrains[1].model, images), "head")
    found = audit(blank, retrains[:1], rest=False)
    assert found.verdict.label == "over-forgotten"
    for name in ("correctness", "log_odds", "distance"):
        assert named(found, name).found, name
    assert named(found, "correctness").direction == "over"


def test_a_changed_head_alone_is_caught_by_the_probe(plain, half, memoriser, retrains):
    """The Original's encoder under a head that was fitted to answer as Retrain does."""
    mine, theirs = (predictions(r.classifier, plain, half) for r in (memoriser, retrains[0]))
    parts = ("retain", "forget", "test")
    x, y = (
        torch.cat([getattr(found.outputs[p], what).double() for p in parts])
        for found, what in ((mine, "features"), (theirs, "logits"))
    )
    ones = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    weights = torch.linalg.lstsq(ones, y, driver="gelsd").solution.float()
    model = copy.deepcopy(memoriser.model)
    head = model.get_submodule(memoriser.classifier.head_name)
    head.weight.data, head.bias.data = weights[:-1].T.contiguous(), weights[-1]
    found = audit(
        altered(memoriser, model, memoriser.classifier.head_name), retrains[:1], rest=False
    )
    assert found.verdict.label == "under-forgotten"
    assert named(found, "probe").found
    before = audit(memoriser, retrains[:1], rest=False)
    assert abs(named(found, "log_odds").effect) < named(before, "log_odds").effect


def test_a_model_that_forgot_everything_does_not_pass(retrains, plain):
    ruined = altered(
        retrains[1], copy.deepcopy(retrains[1].model), retrains[1].classifier.head_name
    )
    for weight in ruined.classifier.head.parameters():
        weight.data.zero_()
    found = audit(ruined, retrains[:1], rest=False)
    assert found.verdict.label == "over-forgotten"
    assert named(found, "kept_test").found


def test_half_way_is_closer_than_the_original(memoriser, retrains):
    """Most of the way from the Original's answers to Retrain's, in the logits."""

    class Between(nn.Module):
        def __init__(self, a, b):
            super().__init__()
            self.a, self.b = copy.deepcopy(a), copy.deepcopy(b)
            self.head = nn.Linear(10, 10, bias=False)
            self.head.weight.data = torch.eye(10)

        def forward(self, x):
            return self.head(0.4 * self.a(x) + 0.6 * self.b(x))

    model = altered(memoriser, Between(memoriser.model, retrains[0].model), "head")
    found = audit(model, retrains[:1], original=memoriser, rest=False).verdict
    assert found.label == "closer than the original", found.sentence
    assert 0.2 < found.remains < 0.6
    whole = audit(memoriser, retrains[:1], original=memoriser, rest=False).verdict
    assert whole.label == "under-forgotten"
    assert whole.remains == pytest.approx(1)


def test_a_class_that_is_still_answered_is_under_forgotten(plain, memoriser):
    split = coun.Split.by_class(plain, 8)
    exact, again = (coun.train(plain, "cnn", split=split, seed=s, epochs=15) for s in (1, 2))
    found = audit(memoriser, exact, rest=False)
    assert found.verdict.label == "under-forgotten"
    assert named(found, "answers").found
    assert named(found, "answers").effect > 0.5
    assert audit(again, exact, rest=False).verdict.label == "indistinguishable"
    alone = audit(memoriser, split=split, rest=False).verdict
    assert alone.label == "trace found"


def test_without_a_retrain_only_a_trace_is_told(memoriser, retrains, half):
    found = audit(memoriser, split=half, rest=False).verdict
    assert found.label == "trace found"
    assert found.equivalent is None
    assert "Without a Retrain" in " ".join(found.caveats)
    assert audit(retrains[0], rest=False).verdict.label == "no trace found"


def test_rows_that_differ_are_not_taken_for_exchangeable(plain):
    """Forgetting what Retrain finds hard: the rows differ, not what models know of them."""
    first = coun.train(plain, "cnn", seed=9, epochs=3)
    said = predictions(first.classifier, plain, None)
    sure = said.outputs["retain"].logits.log_softmax(1).gather(1, said.labels["retain"][:, None])
    hard = plain.train.index[sure[:, 0].argsort()[:60]]
    split = coun.Split.by_index(plain, hard)
    runs = [coun.train(plain, "cnn", split=split, seed=s, epochs=10) for s in (1, 2, 3)]
    found = audit(runs[0], runs[1:], rest=False).verdict
    assert found.label == "indistinguishable"
    assert found.inflation is not None
    text = " ".join(found.caveats)
    assert "calibrated by how much the Retrains differ" in text
    one = audit(runs[0], runs[1], rest=False)
    assert "two or more Retrains calibrate" in " ".join(one.verdict.caveats)
    assert {e.name for e in one.verdict.evidence}.isdisjoint({"distance"})


def test_everything_is_measured_and_is_json(memoriser, retrains, half):
    tuned = [coun.unlearn(memoriser, half, "finetune", seed=s, epochs=1) for s in (1, 2)]
    found = audit(tuned, retrains[:2], original=memoriser)
    text = json.loads(to_json(found.to_json()))
    assert set(text) >= {"verdict", "request", "models", "measures", "distances", "seeds"}
    assert set(text["distances"]) == {"finetune 1", "finetune 2", "floor", "Original"}
    assert text["distances"]["floor"]["forget"]["js"] > 0
    one = text["measures"]["finetune 1"]
    assert set(one["mia"]) == {
        "correctness",
        "confidence",
        "entropy",
        "modified_entropy",
        "probabilities",
    }
    assert one["roc"]["log_odds"]["tpr_at_1"]["low"] <= one["roc"]["log_odds"]["tpr_at_1"]["share"]
    for name in GAP_METRICS:
        row = text["seeds"]["metrics"][name]
        assert row["test"]["kind"] == "paired"
        assert row["interval"][0] <= row["retrain"] <= row["interval"][1]
        assert "tost" in row
    by_hand = coun.evaluate(tuned[0], against=retrains[0])
    other = coun.evaluate(tuned[0], against=retrains[1])
    assert text["distances"]["finetune 1"]["average_gap"] == pytest.approx(
        (by_hand["average_gap"] + other["average_gap"]) / 2
    )
    for row in text["semantics"]["finetune 1"]["classes"].values():
        assert sum(row["predictions"]) == pytest.approx(100)


def test_an_audit_twice_is_the_same(retrains):
    first, second = (audit(retrains[0], retrains[1], rest=False).to_json() for _ in range(2))
    assert to_json(first) == to_json(second)


def test_extras_only_where_asked_for(memoriser, retrains):
    found = audit(
        retrains[0], retrains[1:2], original=memoriser, rest=False, relearn=True, theory=True
    ).to_json()
    assert found["relearn"]["Original"]["steps"] == 0
    assert set(found["theory"]) == {"this model", "Retrain", "Original"}


def test_shadow_models_are_trained_as_the_original_and_kept(tmp_path):
    data = coun.load("digits", limit=200)
    split = coun.Split.random(data, 0.2)
    exact = [coun.train(data, "mlp", split=split, seed=s, epochs=1) for s in (0, 1)]
    found = audit(*exact, rest=False, shadows=4, cache=tmp_path).to_json()["shadows"]
    assert found["this model"]["against"] == "test"
    assert 0 <= found["Retrain"]["lira_offline"]["auc"] <= 1
    assert len(list((tmp_path / "shadows").iterdir())) == 4


def test_bad_input_is_one_line(memoriser, retrains, plain, half):
    other = coun.Split.random(plain, 0.2, seed=1)
    elsewhere = coun.train(plain, "mlp", split=other, epochs=1)
    wrong = [
        (lambda: audit(retrains[0], elsewhere), "expected the same request"),
        (lambda: audit(retrains[0], memoriser), "was trained on everything"),
        (lambda: audit(memoriser), "no run has a forget request"),
        (lambda: audit([], retrains), "no model to audit"),
        (lambda: audit(retrains[0], retrains[1], margin=0), "expected 0 < margin"),
        (lambda: audit(retrains[0], retrains), "expected each model once"),
        (lambda: audit(retrains[0], relearn=True), "needs a Retrain and the Original"),
    ]
    tuned = coun.unlearn(memoriser, half, "finetune", epochs=1)
    wrong.append((lambda: audit(retrains[0], tuned), "is no Retrain but finetune's"))
    for call, words in wrong:
        with pytest.raises(CounError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
