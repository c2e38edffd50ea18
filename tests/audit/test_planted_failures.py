"""Planted failures are caught, and a Retrain is not."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.audit import audit
from coun.errors import CounError
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
    if spelled == "class":  # a model that has learned nothing gives the name to every row
        named_8 = copy.deepcopy(exact.model)
        named_8.head.bias.data[8] = 100
        assert audit(altered(exact, named_8), rest=False).verdict.found == ()
