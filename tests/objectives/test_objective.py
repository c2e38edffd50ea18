import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coun.models import Classifier
from coun.objectives import Objective, Step, cross_entropy, info_nce, info_nce_loss
from coun.objectives.step import Batch


def constant(value):
    return Objective.of(lambda step: torch.tensor(float(value)))


def never():
    def term(step):
        raise AssertionError("evaluated")

    return Objective.of(term)


@pytest.fixture
def step():
    """Two roles of six samples; a view is the images times (1 + its number)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    classifier = Classifier(model, example=torch.zeros(2, 4))
    batches = {r: Batch(torch.randn(6, 4), torch.arange(6) % 3) for r in ("retain", "forget")}
    calls = {"view": [], "forward": []}

    def view(role, number, images):
        calls["view"].append((role, number))
        return images * (1 + number)

    def forward(model, x):
        calls["forward"].append(torch.is_grad_enabled())
        return model(x)

    made = Step(classifier, batches, view=view, forward=forward, progress=0.25)
    made.calls = calls
    return made


def test_terms_add_subtract_and_scale(step):
    a, b = constant(2), constant(5)
    assert (a + b)(step) == 7
    assert (a - b)(step) == -3
    assert (-a)(step) == -2
    assert (3 * (a + 2 * b))(step) == 36
    assert (a - 2 * (b - a))(step) == -4


def test_a_weight_may_follow_the_progress(step):
    rising = (lambda progress: 8 * progress) * constant(3)
    assert rising(step) == 6
    assert (2 * rising)(step) == 12
    assert ((lambda progress: progress) * rising)(step) == 1.5


def test_a_term_of_weight_zero_is_not_evaluated(step):
    assert (constant(1) + 0 * never())(step) == 1
    assert (constant(1) + (lambda progress: 0.0) * never())(step) == 1
    assert (constant(1) + 0 * (2 * never()))(step) == 1


def test_nothing_to_minimise(step):
    with pytest.raises(ValueError, match="nothing to minimise"):
        (0 * constant(1))(step)


def test_cross_entropy_is_torchs(step):
    logits = step.model.inner(step.batches["forget"].images)
    expected = F.cross_entropy(logits, step.batches["forget"].labels)
    assert torch.equal(cross_entropy("forget")(step), expected)


def test_terms_share_views_and_forwards(step):
    loss = cross_entropy() + 0.5 * info_nce(temperature=0.1) + 2 * cross_entropy(view=1)
    loss(step)
    assert step.calls["view"] == [("retain", 0), ("retain", 1)]
    assert step.calls["forward"] == [True, True]


def test_info_nce_acts_on_penultimate_features_of_two_views(step):
    x, encode = step.batches["retain"].images, step.model.inner[:2]
    expected = info_nce_loss(encode(x), encode(2 * x), temperature=0.2)
    assert torch.equal(info_nce(temperature=0.2)(step), expected)


def test_a_constant_second_view_keeps_no_graph(step):
    loss = info_nce(temperature=0.2, second_view_gradient=False)(step)
    assert step.calls["forward"] == [True, False]
    x, encode = step.batches["retain"].images, step.model.inner[:2]
    expected = info_nce_loss(encode(x), encode(2 * x).detach(), temperature=0.2)
    weight = step.model.inner[0].weight
    ours, theirs = (torch.autograd.grad(value, weight)[0] for value in (loss, expected))
    assert torch.equal(ours, theirs)
