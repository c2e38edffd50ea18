"""Out-of-fold matching: its targets, its loss, what it needs and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from methods.closed_form import still
from prepared import prepared
from torch import nn

import coun
from coun.attacks.signals import log_odds
from coun.data import OutOfFold
from coun.engine import Task
from coun.methods import make
from coun.metrics import margins
from coun.models import Outputs, weights_digest
from coun.objectives.context import Batch, BatchContext
from coun.plans.matching import answers, averaged, distance, with_log_odds
from coun.seeds import Seeds

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.02}


def drawn(repeats: int, rows: int, classes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(repeats, rows, classes, generator=generator)).log_softmax(2)


def test_one_repeat_is_its_own_target() -> None:
    table, labels = drawn(1, 50, 4), torch.arange(50) % 4
    torch.testing.assert_close(averaged(table, labels), table[0], rtol=1e-4, atol=1e-4)


def test_the_mean_keeps_its_order_and_gets_the_spread_of_single_repeats() -> None:
    table, labels = drawn(3, 400, 5), torch.arange(400) % 5
    target = averaged(table, labels)
    torch.testing.assert_close(target.exp().sum(1), torch.ones(400))
    mean, single = margins(table.mean(0), labels), [margins(t, labels) for t in table]
    odds = margins(target, labels)
    assert np.array_equal(np.argsort(odds, kind="stable"), np.argsort(mean, kind="stable"))
    levels = np.linspace(0.02, 0.98, 49)
    pooled = np.quantile(np.concatenate(single), levels)
    assert np.abs(np.quantile(odds, levels) - pooled).max() < 0.15
    assert np.std(mean) < 0.8 * np.std(odds)
    for row in range(5):  # the odds among the other classes are those of the mean
        others = [c for c in range(5) if c != labels[row]]
        expected = table.mean(0)[row, others].log_softmax(0)
        torch.testing.assert_close(target[row, others].log_softmax(0), expected)


def test_the_distance_against_a_loop() -> None:
    logits, target, labels = torch.randn(6, 3), drawn(1, 6, 3)[0], torch.tensor([0, 1, 2, 0, 1, 2])
    total = 0.0
    for z, q, y in zip(logits.double(), target.double(), labels.tolist(), strict=True):
        p = z.softmax(0)
        d = abs(torch.logit(p[y]) - torch.logit(q.exp()[y])).item()
        total += (0.5 * d * d if d < 1 else d - 0.5) + 2 * float((q.exp() * (q - p.log())).sum())
    assert distance(logits, target, labels).item() == pytest.approx(total / 6, rel=1e-4)


def test_without_the_forget_term_only_retain_labels_are_learned(original, split) -> None:
    """At weight 0 the result does not depend on the predictions."""
    other = prepared(original, repeats=3)
    runs = [coun.unlearn(o, split, "out_of_fold", **FAST, weight=0.0) for o in (original, other)]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)
    runs = [coun.unlearn(o, split, "out_of_fold", **FAST) for o in (original, other)]
    assert weights_digest(runs[0].model) != weights_digest(runs[1].model)
    assert runs[0].record.identity != runs[1].record.identity


def test_forget_rows_come_nearer_to_their_targets_than_by_fine_tuning(fitted, split, small) -> None:
    data = still(small)
    start = prepared(replace(fitted, data=data))
    table = torch.zeros(1, len(data.train), 10).log_softmax(2)  # all classes are equally likely
    start.out_of_fold = OutOfFold(tuple(data.ids), table, data.classes)
    settings = {"epochs": 10, "batch_size": 32}
    sure = {}
    for name in ("finetune", "out_of_fold"):
        run = coun.unlearn(start, split, name, **settings)
        with torch.no_grad():
            logits = run.model(data.views.evaluate(data.train.images))
        assert coun.evaluate(run)["retain_accuracy"] > 90
        forget = split.rows(data, "forget")
        sure[name] = np.median(margins(logits[forget], data.train.labels[forget]))
    assert sure["out_of_fold"] < 0.6 * sure["finetune"]


def test_the_targets_are_moved_by_what_the_model_misses_in_the_mean(original, split) -> None:
    """Before the last two of three epochs, for all rows alike; the retain rows keep theirs."""
    method = make("out_of_fold", {"epochs": 3, "batch_size": 32, "forget_batch_size": 30})
    reads = frozenset({"retain", "forget"})
    task = Task(
        original.data, split, Seeds(0), reads, original.classifier, None, torch.device("cpu")
    )
    task.out_of_fold = original.out_of_fold
    labels = original.data.train.labels[split.rows(original.data, "forget")]
    target = method.targets(task, answers(task, "retain"))
    missed = (log_odds(target, labels) - log_odds(answers(task, "forget"), labels)).mean()
    logits, losses = torch.randn(62, 10), []
    for stage in method.plan(original.model, task):  # the model stays as it is
        batches = {
            "retain": Batch(torch.zeros(32, 1), torch.zeros(32).long(), torch.arange(32)),
            "forget": Batch(torch.zeros(30, 1), labels, torch.arange(30)),
        }
        context = BatchContext(
            original.model,
            batches,
            view=lambda role, number, images: images,
            forward=lambda model, x: Outputs(logits, x),
        )
        losses.append(stage.phases[0].objective(context))
    odds = log_odds(target, labels)
    for number, loss in enumerate(losses[1:], 1):
        moved = with_log_odds(target, labels, odds + number * missed)
        change = distance(logits[32:], moved, labels) - distance(logits[32:], target, labels)
        assert float(loss - losses[0]) == pytest.approx(0.1 * float(change), abs=1e-4)


def test_a_step_costs_one_pass_over_both_batches(original, split) -> None:
    run = coun.unlearn(original, split, "out_of_fold", **FAST, forget_batch_size=10)
    cost, steps = run.record.cost, run.record.cost.steps
    assert cost.samples_seen == cost.trained_images == 2 * 170 + 10 * steps
    # the answers before, and those of the forget rows before the second epoch
    assert cost.forward_images == cost.trained_images + 170 + 30 + 30


def test_the_original_takes_part_in_the_odds_of_the_other_classes_only(original, split) -> None:
    data, method = original.data, make("out_of_fold", {"original_share": 0.5})
    run = prepared(original, repeats=1)
    reads = frozenset({"retain", "forget"})
    task = Task(data, split, Seeds(0), reads, run.classifier, None, torch.device("cpu"))
    task.out_of_fold = run.out_of_fold
    target = method.targets(task, answers(task, "retain"))
    rows = split.rows(data, "forget")
    labels = data.train.labels[rows]
    folds = run.out_of_fold.of(data.train.take(rows))[0]
    with torch.no_grad():
        logits = run.model(data.views.evaluate(data.train.images[rows]))
    assert margins(target, labels) == pytest.approx(margins(folds, labels), abs=1e-3)
    for row, label in enumerate(labels.tolist()):
        others = [c for c in range(10) if c != label]
        mixed = folds[row, others].exp() * logits[row].softmax(0)[others] ** 0.5
        torch.testing.assert_close(
            target[row, others].softmax(0), mixed / mixed.sum(), rtol=1e-3, atol=1e-5
        )


def test_a_row_with_an_exact_copy_keeps_the_answers_of_the_original(original, split) -> None:
    """Rows 20 to 24 are also rows 60 to 64, with the same label but for the last."""
    images, labels = original.data.train.images.clone(), original.data.train.labels.clone()
    images[60:65], labels[60:65] = images[20:25], labels[20:25]
    labels[64] = (labels[24] + 1) % 10
    test = original.data.test
    data = coun.from_arrays(images, labels, test.images, test.labels)
    run = prepared(replace(original, data=replace(data, views=original.data.views)))
    reads = frozenset({"retain", "forget"})
    task = Task(run.data, split, Seeds(0), reads, run.classifier, None, torch.device("cpu"))
    task.out_of_fold = run.out_of_fold
    target = make("out_of_fold").targets(task, answers(task, "retain"))
    with torch.no_grad():
        logits = run.model(run.data.views.evaluate(images[20:50]))
    same = (target - logits.log_softmax(1)).abs().amax(1) < 1e-4
    assert same.tolist() == [True] * 4 + [False] * 26


def test_retain_rows_keep_what_the_model_answered(fitted, split, small) -> None:
    """With the term for retain rows, their confidence moves less far from where it was."""
    data = still(small)
    start = prepared(replace(fitted, data=data))
    labels = data.train.labels[split.rows(data, "retain")]
    images = data.views.evaluate(data.train.images[split.rows(data, "retain")])
    moved = []
    with torch.no_grad():
        before = margins(start.model(images), labels)
    for weight in (0.0, 1.0):
        settings = {**FAST, "lr": 0.05, "retain_weight": weight}
        run = coun.unlearn(start, split, "out_of_fold", **settings)
        with torch.no_grad():
            moved.append(np.abs(margins(run.model(images), labels) - before).mean())
    assert moved[1] < 0.9 * moved[0]


def test_its_epochs_are_a_share_of_the_originals() -> None:
    method = make("out_of_fold").with_defaults_from({"epochs": 50, "batch_size": 64})
    assert (method.epochs, method.batch_size, method.forget_batch_size) == (6, 64, 16)


def test_it_refuses_a_model_that_was_not_prepared(small, split) -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(coun.CounError, match="make them with coun prepare"):
        coun.unlearn(bare, split, "out_of_fold", data=small, **FAST)


def test_it_refuses_a_whole_class(original, small) -> None:
    with pytest.raises(coun.CounError, match="forgets class 3 as a whole"):
        coun.unlearn(original, coun.Split.by_class(small, 3), "out_of_fold", **FAST)


def test_it_takes_the_contrastive_module(original, split) -> None:
    plain = coun.unlearn(original, split, "out_of_fold", **FAST)
    both = coun.unlearn(original, split, "out_of_fold", **FAST, contrast={"weight": 0.1})
    assert weights_digest(plain.model) != weights_digest(both.model)
    assert both.record.method.name == "out_of_fold+info_nce"
