"""Planted failures are caught, and a Retrain is not."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.audit import RequestParts, Subject, audit, judge
from coun.audit.auditing import spent
from coun.audit.optional import relearn_half
from coun.audit.planning import _note, plan
from coun.audit.verdict import Gap, decide
from coun.audit.wording import headline, sentence
from coun.errors import CounError
from coun.files import to_json
from coun.metrics import GAP_METRICS
from coun.runs import predictions


class Blanked(nn.Module):
    """A network that answers uniformly on some images."""

    def __init__(self, net, images):
        super().__init__()
        self.net = copy.deepcopy(net)
        self.head = nn.Linear(10, 10, bias=False)
        self.head.weight.data = torch.eye(10)
        self.blanked = {image.numpy().tobytes() for image in images}

    def forward(self, x):
        blank = [image.numpy().tobytes() in self.blanked for image in x]
        return self.head(self.net(x) * (~torch.tensor(blank)[:, None]))


class LookedUp(Blanked):
    """A network that gives the answers of another one to some images."""

    def __init__(self, net, images, other):
        super().__init__(net, images)
        self.other = copy.deepcopy(other)

    def forward(self, x):
        is_listed = torch.tensor([image.numpy().tobytes() in self.blanked for image in x])
        return self.head(torch.where(is_listed[:, None], self.other(x), self.net(x)))


def altered(run, model, head=None):
    return replace(
        run,
        model=model.eval(),
        record=run.record.model_copy(
            update={"model": run.record.model.model_copy(update={"head": head})}
        ),
        build=None,
    )


def named(result, name):
    return next(e for e in result.verdict.evidence if e.name == name)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 2), (2, 0)])
def test_a_retrain_is_not_told_from_a_retrain(retrains, first, second):
    verdict = audit(retrains[first], retrains[second], rest=False).verdict
    assert verdict.label in ("no difference found", "inconclusive"), verdict.sentence
    assert verdict.found == ()
    if verdict.label == "no difference found":
        assert "fewer may still be remembered" in verdict.headline


def test_an_original_is_under_forgotten(memoriser, retrains):
    verdict = audit(memoriser, retrains[:1], rest=False).verdict
    assert verdict.label == "under-forgotten"
    assert verdict.equivalent is False
    assert "taken on trust" in " ".join(verdict.caveats)
    assert (verdict.rows["forget"], verdict.rows["test"]) == (150, 359)


def test_uniform_answers_are_over_forgotten(plain, half, retrains):
    images = plain.views.evaluate(plain.train.fetch(half.rows(plain, "forget")))
    blank = altered(retrains[1], Blanked(retrains[1].model, images), "head")
    result = audit(blank, retrains[:1], rest=False, relearn=False)
    assert result.verdict.label == "over-forgotten"
    for name in ("correctness", "log_odds", "distance", "level_correctness"):
        assert named(result, name).found, name
    assert named(result, "correctness").direction == "over"


def test_a_lookup_that_hides_the_original_is_caught_beside_the_rows(
    plain, half, memoriser, retrains
):
    """Exactly the forgotten rows get a Retrain's answers; slightly changed copies do not."""
    images = plain.views.evaluate(plain.train.fetch(half.rows(plain, "forget")))
    hidden = altered(memoriser, LookedUp(memoriser.model, images, retrains[1].model), "head")
    result = audit(hidden, retrains[:1], rest=False, relearn=False)
    assert named(result, "log_odds").direction == "over"
    assert named(result, "nearby").found
    assert named(result, "nearby").direction == "under"
    assert result.verdict.label == "under-forgotten"


def test_answers_that_are_no_numbers_are_refused(retrains):
    broken = altered(retrains[1], copy.deepcopy(retrains[1].model), "head")
    next(broken.model.parameters()).data.fill_(float("nan"))
    broken = replace(broken, record=retrains[1].record)
    with pytest.raises(CounError, match="no finite numbers for 359 of 359 test rows"):
        audit(broken, retrains[:1], rest=False)


def test_both_halves_are_relearned_and_the_model_is_not_changed(plain, memoriser, retrains):
    """A model that saw the rows answers more of them rightly all along."""
    split = coun.Split.by_class(plain, 3)
    before = [w.clone() for w in memoriser.model.parameters()]
    remembered = relearn_half(memoriser, split).right
    assert remembered.shape == (len(split.forget),)
    assert set(remembered.round() % 20) == {0}
    never = relearn_half(coun.train(plain, "cnn", split=split, seed=3, epochs=8), split).right
    assert remembered.mean() > never.mean() + 20
    assert all(torch.equal(a, b) for a, b in zip(before, memoriser.model.parameters(), strict=True))


def test_a_changed_head_alone_is_caught_by_the_probe(plain, half, memoriser, retrains):
    """The Original's encoder under a head that was fitted to answer as Retrain does."""
    models = [predictions(r.classifier, plain, half) for r in (memoriser, retrains[0])]
    parts = ("retain", "forget", "test")
    x, y = (
        torch.cat([getattr(outputs.outputs[p], what).double() for p in parts])
        for outputs, what in zip(models, ("features", "logits"), strict=True)
    )
    ones = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    weights = torch.linalg.lstsq(ones, y, driver="gelsd").solution.float()
    model = copy.deepcopy(memoriser.model)
    head = model.get_submodule(memoriser.classifier.head_name)
    head.weight.data, head.bias.data = weights[:-1].T.contiguous(), weights[-1]
    result = audit(
        altered(memoriser, model, memoriser.classifier.head_name), retrains[:1], rest=False
    )
    assert result.verdict.label == "under-forgotten"
    assert named(result, "probe").found
    before = audit(memoriser, retrains[:1], rest=False)
    assert abs(named(result, "log_odds").effect) < named(before, "log_odds").effect


def test_a_model_that_forgot_everything_does_not_pass(retrains, plain):
    ruined = altered(
        retrains[1], copy.deepcopy(retrains[1].model), retrains[1].classifier.head_name
    )
    for weight in ruined.classifier.head.parameters():
        weight.data.zero_()
    result = audit(ruined, retrains[:1], rest=False)
    assert result.verdict.label == "over-forgotten"
    assert named(result, "kept_test").found
    assert "rows that it should have kept" in result.verdict.headline


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
    verdict = audit(model, retrains[:1], original=memoriser, rest=False).verdict
    assert verdict.label == "closer than the original", verdict.sentence
    assert 0.2 < verdict.remains < 0.6
    assert verdict.control == "under-forgotten"
    whole = audit(memoriser, retrains[:1], original=memoriser, rest=False).verdict
    assert whole.label == "under-forgotten"
    assert whole.remains == pytest.approx(1)


@pytest.mark.parametrize("spelled", ["class", "rows"])
def test_a_class_that_is_still_answered_is_under_forgotten(plain, memoriser, spelled):
    """However it is requested: by name, or as the list of its rows."""
    split = coun.Split.by_class(plain, 8)
    if spelled == "rows":
        split = coun.Split.by_index(plain, split.forget)
    exact, again = (coun.train(plain, "cnn", split=split, seed=s, epochs=15) for s in (1, 2))
    result = audit(memoriser, exact, rest=False)
    assert result.family.parts.kind == "class"
    assert result.verdict.label == "under-forgotten"
    assert named(result, "answers").effect > 0.5
    assert audit(again, exact, rest=False).verdict.found == ()
    alone = audit(memoriser, split=split, rest=False).verdict
    assert alone.label == "different"
    assert "the forgotten class's rows its name" in alone.headline


def test_without_a_retrain_there_is_no_direction(memoriser, retrains, half):
    verdict = audit(memoriser, split=half, rest=False).verdict
    assert verdict.label == "different"
    assert verdict.equivalent is None
    assert "Without a Retrain" in " ".join(verdict.caveats)
    assert audit(retrains[0], rest=False).verdict.found == ()


@pytest.fixture(scope="session")
def hard_rows(plain):
    """A list of rows that a model finds hard, three Retrains without them and an Original."""
    first = coun.train(plain, "cnn", seed=9, epochs=3)
    outputs = predictions(first.classifier, plain, None)
    odds = outputs.outputs["retain"].logits.log_softmax(1)
    odds = odds.gather(1, outputs.labels["retain"][:, None])
    split = coun.Split.by_index(plain, plain.train.numbers[odds[:, 0].argsort()[:60]])
    runs = [coun.train(plain, "cnn", split=split, seed=s, epochs=10) for s in range(1, 6)]
    return split, runs


def test_listed_rows_that_differ_by_nature_do_not_accuse_a_retrain(hard_rows):
    _, runs = hard_rows
    for count in (1, 2, 3):
        verdict = audit(runs[0], runs[1 : 1 + count], rest=False).verdict
        assert verdict.found == (), verdict.sentence
        assert {e.part for e in verdict.evidence} == {"listed", "kept"}
    assert "a directed accusation needs 3" in " ".join(audit(*runs[:2], rest=False).verdict.caveats)


def test_listed_rows_need_three_retrains_for_a_direction(hard_rows, memoriser):
    split, runs = hard_rows
    for count, word in ((1, "different"), (3, "under-forgotten"), (4, "under-forgotten")):
        verdict = audit(memoriser, runs[:count], split=split, rest=False).verdict
        assert verdict.label in (word, "inconclusive") if count == 1 else verdict.label == word
    alone = audit(memoriser, split=split, rest=False).verdict
    assert alone.label == "inconclusive"


def test_few_rows_are_inconclusive_whatever_the_model(plain, memoriser):
    split = coun.Split.by_index(plain, plain.train.numbers[:1])
    exact = [coun.train(plain, "mlp", split=split, seed=s, epochs=3) for s in (1, 2)]
    verdict = audit(memoriser, exact, split=split, original=memoriser, rest=False).verdict
    assert verdict.label == "inconclusive"
    assert {"control", "power"} <= set(verdict.reasons)
    assert "the Original passes it too" in verdict.headline + verdict.sentence


def test_a_large_gap_is_never_called_no_difference(retrains, half, plain):
    """Every test passes, but the average gap is many floors: the word must not clear it."""
    parts = RequestParts.of(plain, half)
    subjects = [
        Subject(f"model {k}", predictions(run.classifier, plain, half))
        for k, run in enumerate(retrains)
    ]
    small, large = (
        judge(subjects[:1], subjects[1:], parts, margin=2, alpha=0.01, gap=Gap(points, 0.7, 2.1))[0]
        for points in (1.0, 39.6)
    )
    assert "gap" in large.reasons
    assert large.label == "inconclusive"
    assert "gap" not in small.reasons


def test_a_test_that_comes_near_does_not_clear_a_model(retrains, half, plain):
    """Below five alphas nothing is accused and nothing is cleared."""
    parts = RequestParts.of(plain, half)
    subjects = [
        Subject(f"model {k}", predictions(run.classifier, plain, half))
        for k, run in enumerate(retrains)
    ]
    _, family, _ = judge(subjects[:1], subjects[1:], parts, margin=2, alpha=0.01)
    for p, expected in ((0.04, True), (0.06, False)):
        tests = (replace(family.tests[0], holm=p, found=False), *family.tests[1:])
        tests = tests[:1] + tuple(replace(e, holm=1.0, found=False) for e in tests[1:])
        changed = replace(family, tests=tests)
        verdict = decide(changed, subjects[:1], subjects[1:], margin=2)
        assert ("near" in verdict.reasons) == expected
        if expected:
            assert verdict.label == "inconclusive"
            words = headline(verdict, changed) + sentence(verdict, changed)
            assert "came near to finding a difference" in words


def test_repeated_audits_spend_alpha(retrains):
    """The alphas of any number of audits sum to the alpha of one."""
    assert sum(spent(0.01, k) for k in range(10_000)) == pytest.approx(0.01, rel=1e-3)
    verdict = audit(retrains[0], retrains[1], rest=False, audits_so_far=2).verdict
    assert verdict.alpha == pytest.approx(0.01 / 12)


def test_whole_customers_are_permuted(memoriser, half, plain):
    """With all forgotten rows of one customer, no test of rows can accuse."""
    ids = [plain.train.ids[k] for k in half.rows(plain, "forgotten").tolist()]
    owners = dict.fromkeys(ids, "one customer")
    alone = audit(memoriser, split=half, rest=False, groups=owners, relearn=False).verdict
    assert not any(e.found for e in alone.evidence)
    with_copies = audit(memoriser, split=half, rest=False, groups=owners, relearn=True).verdict
    assert not {e.name for e in with_copies.evidence} & {"relearned", "top_rows"}
    with pytest.raises(CounError, match="the groups name no forgotten row"):
        audit(memoriser, split=half, rest=False, groups={"nobody": "x"})


def test_another_recipe_of_the_retrains_is_said(memoriser, retrains):
    """The Original had 20 epochs and the Retrains 15."""
    verdict = audit(retrains[0], retrains[1], original=memoriser, rest=False).verdict
    assert "Retrain has epochs=15, not 20" in " ".join(verdict.caveats)


def test_a_plan_says_what_to_add(retrains):
    rows = plan(audit(retrains[0], retrains[1], rest=False))
    assert [row["retrains"] for row in rows] == [0, 1, 2, 3, 5, 10]
    least = [row["detectable"] or 1e9 for row in rows]
    assert least == sorted(least, reverse=True)


@pytest.mark.parametrize(
    ("retrains", "listed", "verdicts"),
    [
        (0, 5, "inconclusive"),
        (0, 0, "different"),
        (2, 5, "different (from 3 Retrains on: under- or over-forgotten)"),
        (2, 0, "under-forgotten, over-forgotten or different"),
        (3, 5, "under-forgotten, over-forgotten or different"),
    ],
)
def test_a_plan_says_which_verdicts_a_difference_can_give(retrains, listed, verdicts):
    assert _note(retrains, listed) == verdicts


def test_the_plan_agrees_with_the_audit_and_with_its_advice(hard_rows):
    """The row for the number of Retrains at hand is what the audit itself says."""
    _, runs = hard_rows
    for count in (0, 1, 2):
        result = audit(runs[0], runs[1 : 1 + count], split=runs[0].split, rest=False)
        rows = {row["retrains"]: row for row in plan(result)}
        verdict = result.verdict
        detectable = verdict.detectable if verdict.detectable < float("inf") else None
        assert rows[count]["detectable"] == detectable
        if verdict.label == "inconclusive":
            assert rows[count]["best"] == "inconclusive"
            enough = [r for r, row in rows.items() if row["best"] != "inconclusive" and r > count]
            text = verdict.headline + verdict.sentence
            expected = (
                f"Add {max(3, enough[0]) - count} Retrain" if enough else "would not be enough"
            )
            assert expected in text


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


def test_a_request_of_one_listed_row_reads_well(plain, memoriser, retrains, tmp_path):
    runs = [coun.Run.from_weights(run.model, plain) for run in (memoriser, retrains[0])]
    split = coun.Split.by_index(plain, plain.train.numbers[:1])
    quick = {"rest": False, "relearn": False, "split": split}
    verdict = audit(runs[0], runs[1:], **quick).verdict
    text = " ".join((verdict.headline, verdict.sentence, *verdict.caveats))
    assert "1 row is listed" in text
    assert "even if it remembered the forgotten row" in text
    assert "but 3 may show what it remembers" in text
    assert "interval -100.0 to +100.0" in text
    alone = audit(runs[0], **quick)
    assert alone.verdict.evidence == ()
    coun.report.write_audit(alone, tmp_path / "page")
    content = (tmp_path / "page" / "report.html").read_text()
    assert "No test was made" in content
    assert ">finds 4 times in 5<" not in content


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
    assert not named(result, "relearned").found
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
        (lambda: audit(retrains[0], memoriser), "was trained on everything"),
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
