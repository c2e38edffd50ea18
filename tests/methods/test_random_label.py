"""RL: which labels, for which rows, and what they weigh."""

from __future__ import annotations

import contextlib

import pytest
import torch
from methods.closed_form import ONE_STEP, close, moved, smooth, still
from scipy.stats import chisquare
from torch.nn import functional as F

import coun
from coun.engine import Compute, Engine
from coun.methods import make
from coun.objectives.contrastive.registry import LOSSES
from coun.plans.contrastive_module import Contrasted, ContrastiveModule

CPU = Compute(torch.device("cpu"), "fp32")
MODES = ["per_batch", "per_epoch", "fixed"]


@pytest.fixture
def watch(small, split, make_task, monkeypatch):
    """A function that runs a method and gives, per update, its batches and its target labels."""

    def run(method, both=False):
        seen, targets, real = [], [], F.cross_entropy

        def noted(logits, target, **more):
            targets.append(target.clone())
            return real(logits, target, **more)

        @contextlib.contextmanager
        def observe(batches):
            seen.append((batches, targets.copy()))
            targets.clear()
            yield

        net = smooth()
        task = make_task(still(small), net, split, reads=("retain", "forget"))
        with monkeypatch.context() as patch:
            patch.setattr(F, "cross_entropy", noted)
            Engine(task, CPU, observe=observe).run(method.plan(net, task))
        return (seen, net) if both else seen

    return run


def rl(**settings):
    return make("random_label", {"batch_size": 32, **settings}).with_defaults_from({})


def test_per_batch_passes_over_the_forget_set_then_the_retain_set(watch):
    seen = watch(rl(epochs=2))
    # 30 and 170 rows in batches of 32.
    assert [list(b) for b, _ in seen] == ([["forget"]] + [["retain"]] * 6) * 2
    for batches, (target,) in seen:
        if "retain" in batches:
            assert torch.equal(target, batches["retain"].labels)


@pytest.mark.parametrize("labels", ["per_batch", "per_epoch"])
def test_labels_are_uniform_over_all_classes_and_drawn_anew(watch, labels):
    drawn, true, by_row = [], [], {}
    for batches, targets in watch(rl(epochs=100, labels=labels, batch_size=50)):
        if "forget" in batches:
            drawn.append(targets[-1])
            true.append(batches["forget"].labels)
            for row, label in zip(batches["forget"].slots.tolist(), targets[-1].tolist()):  # noqa: B905
                by_row.setdefault(row, []).append(label)
    drawn, true = torch.cat(drawn), torch.cat(true)
    assert len(drawn) >= 3000
    assert chisquare(torch.bincount(drawn, minlength=10)).pvalue > 1e-3
    assert 0.07 < (drawn == true).float().mean() < 0.13
    assert len(by_row) == 30
    assert all(len(set(result)) > 5 for result in by_row.values())


def test_fixed_labels_are_one_wrong_label_per_row(watch):
    by_row = {}
    for batches, (_, target) in watch(rl(epochs=5, labels="fixed")):
        forget = batches["forget"]
        assert not (target == forget.labels).any()
        for row, label in zip(forget.slots.tolist(), target.tolist(), strict=True):
            by_row.setdefault(row, set()).add(label)
    assert len(by_row) == 30
    assert all(len(result) == 1 for result in by_row.values())
    assert len(set().union(*by_row.values())) > 5


@pytest.mark.parametrize("labels", ["per_epoch", "fixed"])
def test_mixed_batches_hold_their_share_of_both_sets(watch, labels):
    seen = watch(rl(epochs=1, labels=labels))
    # 200 rows in batches of 32 are seven updates.
    assert len(seen) == 7
    assert {len(b["forget"].slots) for b, _ in seen} == {5}
    assert sorted(r for b, _ in seen for r in b["retain"].slots.tolist()) == list(range(170))
    assert {r for b, _ in seen for r in b["forget"].slots.tolist()} == set(range(30))


def test_a_mixed_step_is_the_gradient_of_the_mean_over_all_rows(watch, small, split):
    method = make("random_label", {**ONE_STEP, "labels": "per_epoch"})
    ((batches, (_, target)),), net = watch(method, both=True)
    data, start = still(small), smooth()
    keep, drop = (split.rows(data, role)[batches[role].slots] for role in ("retain", "forget"))
    scores = start(data.views.evaluate(data.train.fetch(torch.cat([keep, drop]))))
    value = F.cross_entropy(scores, torch.cat([data.train.labels[keep], target]))
    expected = torch.autograd.grad(value, list(start.parameters()))
    close(moved(net, start), [-0.1 * g for g in expected])


@pytest.mark.parametrize("labels", MODES)
def test_the_data_keeps_its_labels(original, split, small, labels):
    before = small.train.labels.clone()
    coun.unlearn(original, split, "random_label", labels=labels, epochs=1)
    assert torch.equal(small.train.labels, before)


@pytest.mark.parametrize("labels", MODES)
def test_the_contrastive_module_sees_retain_rows_only(watch, labels):
    entered = []

    class Watching(LOSSES["supcon"]):
        def loss(self, a, b, labels):
            entered.append(labels.clone())
            return super().loss(a, b, labels)

    seen = watch(Contrasted(rl(epochs=2, labels=labels), ContrastiveModule(Watching())))
    kept = [batches["retain"].labels for batches, _ in seen if "retain" in batches]
    assert len(entered) == len(kept) > 0
    assert all(torch.equal(x, y) for x, y in zip(entered, kept, strict=True))
