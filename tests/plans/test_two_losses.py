"""DualOptim: one optimizer for each loss, against a loop with two optimizers of torch."""

from __future__ import annotations

import copy

import pytest
import torch
from methods.closed_form import close, loss, smooth, still

import coun
from coun.methods import catalogue, make
from coun.models import weights_digest
from coun.plans.two_losses import DECAY, TwoLosses

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.02}
METHODS = sorted(n for n, kind in catalogue().items() if issubclass(kind, TwoLosses))


def test_the_methods_with_two_losses_have_it() -> None:
    assert {"neggrad_plus", "random_label", "salun", "scrub", "sfron"} <= set(METHODS)


def test_two_optimizers_take_turns_as_in_a_loop(small, split) -> None:
    data, net = still(small), smooth()
    settings = {"epochs": 3, "batch_size": 200, "lr": 0.1, "schedule": "constant", "alpha": 0.8}
    run = coun.unlearn(net, split, "neggrad_plus", data=data, forget_lr=1e-3, **settings)
    expected = copy.deepcopy(net)
    sgd = torch.optim.SGD(expected.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    adam = torch.optim.AdamW(expected.parameters(), 1e-3, weight_decay=DECAY)
    for _ in range(3):
        for optimizer, role, weight in ((adam, "forget", -0.2), (sgd, "retain", 0.8)):
            optimizer.zero_grad()
            (weight * loss(expected, data, split.rows(data, role))).backward()
            optimizer.step()
    close(list(run.model.parameters()), list(expected.parameters()), atol=1e-5)


def test_the_forget_rate_has_the_shape_of_the_schedule() -> None:
    method = make("neggrad_plus", {"lr": 0.1, "forget_lr": 1e-3, "lr_floor": 0.01, **FAST})
    forget, retain = method.fit_both(*[coun.objectives.cross_entropy()] * 2, 8).phases
    assert retain.optimizer is None
    assert forget.optimizer is not None
    for progress in (0.0, 0.3, 0.9):
        whole = method.optimization().rate(progress)
        assert forget.optimizer.rate(progress) == pytest.approx(whole * 1e-3 / method.lr)


@pytest.mark.parametrize("name", METHODS)
def test_it_changes_the_result_and_is_recorded_only_where_used(name, original, split) -> None:
    runs = [
        coun.unlearn(original, split, name, **FAST, **more) for more in ({}, {"forget_lr": 1e-4})
    ]
    assert weights_digest(runs[0].model) != weights_digest(runs[1].model)
    assert "forget_lr" not in runs[0].record.method.settings
    assert runs[1].record.method.settings["forget_lr"] == 1e-4


@pytest.mark.parametrize("name", ["salun", "scrub"])
def test_a_killed_run_resumes_with_both_states(name, original, split, tmp_path, killed_at):
    settings = {**FAST, "forget_lr": 1e-3}
    if name == "scrub":
        settings |= {"rewind": True, "reference_error": 50}
    whole = weights_digest(coun.unlearn(original, split, name, **settings).model)
    common = {"out": tmp_path / "run", "options": coun.Options(checkpoint_every=0)}
    with killed_at(9):  # in the second epoch
        coun.unlearn(original, split, name, **settings, **common)
    assert weights_digest(coun.unlearn(original, split, name, **settings, **common).model) == whole


def test_at_its_neutral_setting_neggrad_plus_is_still_finetune(original, split) -> None:
    runs = [
        coun.unlearn(original, split, name, **FAST, **more)
        for name, more in (
            ("finetune", {}),
            ("neggrad_plus", {"alpha": 1.0, "forget_lr": 1e-3}),
        )
    ]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)
