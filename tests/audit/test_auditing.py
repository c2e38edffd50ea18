"""What an audit measures, what it refuses, and what is done on request."""

import json

import pytest

import coun
from coun.audit import audit
from coun.errors import CounError
from coun.files import to_json
from coun.metrics import GAP_METRICS


def test_another_recipe_of_the_retrains_is_said(memoriser, retrains):
    """The Original had 20 epochs and the Retrains 15."""
    verdict = audit(retrains[0], retrains[1], original=memoriser, rest=False).verdict
    assert "Retrain has epochs=15, not 20" in " ".join(verdict.caveats)


def test_a_setting_that_a_record_leaves_out_is_said_by_its_value(small):
    """A record names epochs without augmentation only where there are some."""
    split = coun.Split.random(small, 0.1)
    plain, other = (
        coun.train(small, "mlp", split=split, epochs=2, seed=seed, unaugmented_epochs=seed)
        for seed in (0, 1)
    )
    original = coun.train(small, "mlp", epochs=2, seed=2, unaugmented_epochs=1)
    caveats = " ".join(audit(other, plain, original=original, rest=False).verdict.caveats)
    assert "has unaugmented_epochs=0, not 1" in caveats
    assert "trained by another recipe than the Retrains" in caveats


def test_a_retrain_that_is_the_original_is_refused_and_an_unchanged_model_is_named(
    plain, memoriser, retrains, half
):
    bare = coun.Run.from_weights(memoriser.model, plain)
    with pytest.raises(coun.CounError, match="same weights as the Original, which saw"):
        audit(retrains[0], [bare], original=memoriser, split=half)
    quick = {"rest": False, "relearn": False}
    unchanged = audit(bare, retrains[:1], original=memoriser, split=half, **quick)
    note = "The weights of this model are those of the Original: nothing was changed."
    assert note in unchanged.verdict.caveats
    changed = audit(retrains[0], retrains[1:2], original=memoriser, **quick)
    assert "nothing was changed" not in " ".join(changed.verdict.caveats)


def test_a_model_that_forgot_the_rows_is_no_control(plain, memoriser, retrains, half):
    with pytest.raises(CounError, match="forgot 150 of the 150 rows itself and is no control"):
        audit(retrains[0], retrains[1:2], original=retrains[2], rest=False)
    first = coun.Split.by_index(plain, half.forget[:20])
    before = coun.unlearn(memoriser, first, "finetune", epochs=1)
    after = coun.unlearn(before, half, "finetune", epochs=1)
    with pytest.raises(CounError, match="forgot 20 of the 150 rows itself.*saw all of them"):
        audit(after, retrains[:1], original=before, rest=False)


def test_everything_is_measured_and_is_json(memoriser, retrains, half):
    tuned = [coun.unlearn(memoriser, half, "finetune", seed=s, epochs=1) for s in (1, 2)]
    result = audit(tuned, retrains[:2], original=memoriser)
    text = json.loads(to_json(result.to_json()))
    assert set(text) >= {"verdict", "request", "models", "measures", "distances", "seeds"}
    assert set(text["distances"]) == {"finetune 1", "finetune 2", "floor", "Original"}
    assert text["distances"]["floor"]["forget"]["js"] > 0
    table = text["measures"]["finetune 1"]
    assert set(table["mia"]) == {
        "correctness",
        "confidence",
        "entropy",
        "modified_entropy",
        "probabilities",
    }
    at_1 = table["roc"]["log_odds"]["tpr_at_1"]
    assert at_1["low"] <= at_1["share"]
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


def test_optional_parts_are_done_on_request(memoriser, retrains):
    result = audit(
        retrains[0], retrains[1:2], original=memoriser, rest=False, relearn=True, theory=True
    )
    tables = result.to_json()
    assert tables["relearn"]["Original"]["steps"] == 0
    assert set(tables["theory"]) == {"this model", "Retrain", "Original"}
    (relearned,) = (e for e in result.verdict.evidence if e.name == "relearned")
    assert not relearned.found
    assert "relearning half of the rows" in " ".join(result.verdict.caveats)


def test_shadow_models_are_trained_as_the_original_and_kept(tmp_path):
    data = coun.load("digits", limit=200)
    split = coun.Split.random(data, 0.2)
    exact = [coun.train(data, "mlp", split=split, seed=s, epochs=1) for s in (0, 1)]
    result = audit(*exact, rest=False, shadows=4, cache=tmp_path)
    tables = result.to_json()["shadows"]
    assert tables["this model"]["against"] == "test"
    assert 0 <= tables["Retrain"]["lira_offline"]["auc"] <= 1
    assert {"lira", "rmia"} <= {e.name for e in result.verdict.evidence}
    assert len(list((tmp_path / "shadows").iterdir())) == 4


def test_bad_input_is_one_line(memoriser, retrains, plain, half):
    other = coun.Split.random(plain, 0.2, seed=1)
    elsewhere = coun.train(plain, "mlp", split=other, epochs=1)
    wrong = [
        (lambda: audit(retrains[0], elsewhere), "expected the same request"),
        (lambda: audit(retrains[0], memoriser), "was trained on all rows"),
        (lambda: audit(memoriser), "no run has a forget request"),
        (lambda: audit([], retrains), "no model to audit"),
        (lambda: audit(retrains[0], retrains[1], margin=0), "expected 0 < margin"),
        (lambda: audit(retrains[0], retrains), "expected each model once"),
        (lambda: audit(retrains[0], audits_so_far=-1), "expected 0 or more"),
    ]
    tuned = coun.unlearn(memoriser, half, "finetune", epochs=1)
    wrong.append((lambda: audit(retrains[0], tuned), "is not a Retrain but the result of finetune"))
    for call, words in wrong:
        with pytest.raises(CounError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
