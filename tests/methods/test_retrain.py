"""Retrain: a fresh start that is reproducible and never that of the Original."""

import pytest
import torch

from coun.methods import make
from coun.models import build
from coun.seeds import Seeds


def start(make_task, data, split, name, *, seed=0):
    """The weights from which a training run of the model *name* starts."""

    def fresh():
        return build(name, classes=10, shape=data.shape)

    model = fresh()
    task = make_task(data, model, split, build=fresh)
    kind = "original" if split is None else "retrain"
    task.seeds = Seeds(seed).fork(kind)
    next(iter(make("retrain").plan(model, task))).apply(model)
    return model.state_dict()


@pytest.mark.parametrize("name", ["cnn", "mlp", "resnet8"])
def test_it_starts_from_other_weights_than_the_original(make_task, small, split, name):
    original, retrain = (start(make_task, small, s, name) for s in (None, split))
    matrices = [k for k, v in original.items() if v.ndim > 1]
    assert len(matrices) >= 3
    for key in matrices:
        assert (original[key] != retrain[key]).float().mean() > 0.99, key
        # Of the same distribution, so no layer was left out or drawn twice.
        ratio = retrain[key].std() / original[key].std()
        assert 0.5 < ratio < 2, key


def test_the_start_depends_on_the_seed_only(make_task, small, split):
    torch.manual_seed(1)
    one = start(make_task, small, split, "cnn")
    torch.manual_seed(2)
    two = start(make_task, small, split, "cnn")
    other = start(make_task, small, split, "cnn", seed=1)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
