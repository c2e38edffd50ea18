import pytest
import torch
from torch import nn
from torch.nn import functional as F

from coun.models import Classifier
from coun.objectives import BatchContext, Objective, cross_entropy, info_nce, info_nce_loss
from coun.objectives.context import Batch


def constant(value):
    return Objective.of(lambda context: torch.tensor(float(value)))


def never():
    def term(context):
        raise AssertionError("evaluated")

    return Objective.of(term)


@pytest.fixture
def context():
    """Two roles with six rows each; view v multiplies the images by (1 + v)."""
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

    made = BatchContext(classifier, batches, view=view, forward=forward, progress=0.25)
    made.calls = calls
    return made


def test_terms_add_subtract_and_scale(context):
    a, b = constant(2), constant(5)
    assert (a + b)(context) == 7
    assert (a - b)(context) == -3
    assert (-a)(context) == -2
    assert (3 * (a + 2 * b))(context) == 36
    assert (a - 2 * (b - a))(context) == -4


def test_a_weight_may_follow_the_progress(context):
    rising = (lambda progress: 8 * progress) * constant(3)
    assert rising(context) == 6
    assert (2 * rising)(context) == 12
    assert ((lambda progress: progress) * rising)(context) == 1.5


def test_a_term_of_weight_zero_is_not_evaluated(context):
    assert (constant(1) + 0 * never())(context) == 1
    assert (constant(1) + (lambda progress: 0.0) * never())(context) == 1
    assert (constant(1) + 0 * (2 * never()))(context) == 1


def test_an_objective_without_terms_is_refused(context):
    with pytest.raises(ValueError, match="nothing to minimise"):
        (0 * constant(1))(context)


def test_cross_entropy_equals_that_of_torch(context):
    logits = context.model.inner(context.batches["forget"].images)
    expected = F.cross_entropy(logits, context.batches["forget"].labels)
    assert torch.equal(cross_entropy("forget")(context), expected)


def test_terms_share_views_and_forward_passes(context):
    loss = cross_entropy() + 0.5 * info_nce(temperature=0.1) + 2 * cross_entropy(view=1)
    loss(context)
    assert context.calls["view"] == [("retain", 0), ("retain", 1)]
    assert context.calls["forward"] == [True, True]


def test_info_nce_acts_on_penultimate_features_of_two_views(context):
    x, encode = context.batches["retain"].images, context.model.inner[:2]
    expected = info_nce_loss(encode(x), encode(2 * x), temperature=0.2)
    assert torch.equal(info_nce(temperature=0.2)(context), expected)


def test_a_constant_second_view_keeps_no_graph(context):
    loss = info_nce(temperature=0.2, second_view_gradient=False)(context)
    assert context.calls["forward"] == [True, False]
    x, encode = context.batches["retain"].images, context.model.inner[:2]
    expected = info_nce_loss(encode(x), encode(2 * x).detach(), temperature=0.2)
    weight = context.model.inner[0].weight
    ours, reference = (torch.autograd.grad(value, weight)[0] for value in (loss, expected))
    assert torch.equal(ours, reference)
