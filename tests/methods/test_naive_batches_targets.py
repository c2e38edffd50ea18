"""Small batches against written out loops (naive_batches.py): targets for forget rows."""

from __future__ import annotations

import copy
import math
import statistics

import pytest
import torch
from methods.naive_batches import (
    EPOCHS,
    FORGET,
    RETAIN,
    ROWS,
    Loss,
    Read,
    Sgd,
    assert_same,
    cosine,
    descend,
    divergence,
    entropies,
    mixed_loss,
    retain_loss,
    unlearn,
)
from torch import Tensor, nn

from coun.methods import lotus

NORMAL = statistics.NormalDist()


def test_regun(reads, held_out) -> None:
    run = unlearn("regun", weight=0.3, forget_batch_size=7)
    (held,) = held_out
    teacher = copy.deepcopy(run.net).eval()
    unseen = teacher(held.fetch(torch.arange(len(held)))).softmax(1).detach()
    by_class = torch.stack([unseen[held.labels == c].mean(0) for c in range(3)])

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        retain, y = retain_loss(net, read), read.labels["forget"]
        target = by_class[y].mean(0).expand(len(y), -1)
        return 0.7 * retain + 0.3 * divergence(target, net(read("forget")))

    assert_same(run.model, descend(run.net, reads, loss))


def odds_of(logs: Tensor, labels: Tensor) -> Tensor:
    """log p_y - log(1 - p_y), from log-probabilities."""
    true = logs[torch.arange(len(labels)), labels]
    return true - torch.log1p(-true.exp())


def distance(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """The Huber loss of the log-odds, and twice KL; *target* are log-probabilities."""
    gap = (odds_of(logits.log_softmax(1), labels) - odds_of(target, labels)).abs()
    huber = torch.where(gap <= 1, gap.square() / 2, gap - 0.5).mean()
    return huber + 2 * divergence(target.exp(), logits)


def with_odds(logs: Tensor, labels: Tensor, odds: Tensor) -> Tensor:
    """Log-probabilities with these odds of the true class, row by row."""
    rows = []
    for row, label, value in zip(logs.double().exp(), labels.tolist(), odds.double(), strict=True):
        own = value.sigmoid()
        rest = row * (1 - own) / (row.sum() - row[label])
        rest[label] = own
        rows.append(rest.log())
    return torch.stack(rows).float()


def matched(before: Tensor, target: Tensor) -> Loss:
    """The loss of matching with weights 0.4 for retain and, in batches of 7, 0.3 for forget rows.

    There are 22 forget rows and three batches, which therefore have eight of them.
    """

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        y, v = read.labels["retain"], read.labels["forget"]
        logits = net(torch.cat([read("retain"), read("forget")]))
        retain, forget = logits[: len(y)], logits[len(y) :]
        keep = distance(retain, y, before[read.slots["retain"]])
        move = distance(forget, v, target[read.slots["forget"]])
        return entropies(retain, y).mean() + 0.4 * keep + 0.3 * 8 / 7 * move

    return loss


MATCHING = {"weight": 0.3, "retain_weight": 0.4, "forget_batch_size": 7}


def test_held_out(reads, held_out) -> None:
    run = unlearn("held_out", correction=0.5, **MATCHING)
    (held,) = held_out
    (x, y), (u, v) = run.rows("retain"), run.rows("forget")
    inputs = {"retain": x, "forget": u, "held": held.fetch(torch.arange(len(held)))}
    teacher = copy.deepcopy(run.net).eval()
    logs = {name: teacher(rows).log_softmax(1).detach() for name, rows in inputs.items()}
    odds, unseen = odds_of(logs["forget"].double(), v), odds_of(logs["held"].double(), held.labels)
    known = odds_of(logs["retain"].double(), y)
    trained, classes = torch.cat([known, odds]), torch.cat([y, v])
    scores = []
    for slot, label in enumerate(v):
        alike = trained[classes == label]
        share = ((alike < odds[slot]).sum() + (alike <= odds[slot]).sum()) / (2 * len(alike))
        scores.append(NORMAL.inv_cdf(float(share)))
    kept = min(
        1.0,
        sum(((trained < u).sum() + (trained <= u).sum()).item() for u in unseen)
        / (len(trained) * len(unseen)),
    )
    spread = kept * statistics.pstdev(scores)
    added = math.sqrt(spread**2 + 1 - kept**2) - spread
    wanted = odds.clone()
    for slot, label in enumerate(v):
        place = sum((s < scores[slot]) + (s <= scores[slot]) for s in scores) / (2 * len(scores))
        share = NORMAL.cdf(kept * scores[slot] + added * NORMAL.inv_cdf(place))
        wanted[slot] = unseen[held.labels == label].quantile(share)
        if odds[slot] < 0 and wanted[slot] > odds[slot]:
            wanted[slot] = odds[slot]  # a row that the Original gets wrong is not taught
    net, shift, count = copy.deepcopy(run.net), 0.0, len(reads) // EPOCHS
    for epoch in range(EPOCHS):
        if epoch >= 1:
            odds = odds_of(net.eval()(u).log_softmax(1).detach().double(), v)
            low, high = -50.0, 50.0  # the mean probability of the true class is met between these
            for _ in range(60):
                middle = (low + high) / 2
                above = (odds + middle).sigmoid().sum() > wanted.sigmoid().sum()
                low, high = (low, middle) if above else (middle, high)
            shift += 0.5 * low
        target = with_odds(logs["forget"], v, wanted + shift)
        optimizer = Sgd(lambda t, epoch=epoch: cosine((epoch + 0.5) / EPOCHS))
        part = reads[epoch * count : (epoch + 1) * count]
        net = descend(net, part, matched(logs["retain"], target), optimizer)
    assert_same(run.model, net)


@pytest.mark.parametrize("size", [7, 1])
def test_many_forget_rows_come_up_once_in_each_epoch(reads, size) -> None:
    """Each weighs as much as among few: its share of the loss is that in a batch of *size*."""
    run = unlearn("held_out", correction=0.0, **{**MATCHING, "forget_batch_size": size})
    slots = [read.slots["forget"] for read in reads]
    for epoch in torch.cat(slots).split(FORGET):
        assert sorted(epoch.tolist()) == list(range(FORGET))
    assert len(reads) == 3 * EPOCHS
    few = unlearn(
        "held_out", correction=0.0, **{**MATCHING, "forget_batch_size": 8, "weight": 2.4 / size}
    )
    assert_same(run.model, few.model)


def test_rows_that_come_up_in_every_step_weigh_as_much_as_in_a_full_batch() -> None:
    """Five rows are half of a batch of ten, so that they have half of its weight."""

    def weights(size: int, weight: float) -> nn.Module:
        settings = {**MATCHING, "forget_batch_size": size, "weight": weight}
        return unlearn("held_out", forget=range(5), **settings).model

    assert_same(weights(10, 0.6), weights(5, 0.3))
    with pytest.raises(AssertionError):
        assert_same(weights(10, 0.6), weights(5, 0.6))


def test_class_matching_with_its_correction(reads) -> None:
    rows = range(1, ROWS, 3)
    run = unlearn("class_matching", forget=rows, correction=0.5, **MATCHING)
    (x, _), (u, v) = run.rows("retain"), run.rows("forget")
    teacher = copy.deepcopy(run.net).eval()
    before, logs = (teacher(inputs).log_softmax(1).detach() for inputs in (x, u))
    wanted = odds_of(before.double(), torch.ones(len(x), dtype=torch.int64)).mean()
    net, shift, count = copy.deepcopy(run.net), 0.0, len(reads) // EPOCHS
    for epoch in range(EPOCHS):
        if epoch >= 1:  # before each of the last two
            odds = odds_of(net.eval()(u).log_softmax(1).detach().double(), v)
            shift += 0.5 * float((wanted - odds).mean())
        target = with_odds(logs, v, (wanted + shift).expand(len(v)))
        optimizer = Sgd(lambda t, epoch=epoch: cosine((epoch + 0.5) / EPOCHS))
        part = reads[epoch * count : (epoch + 1) * count]
        net = descend(net, part, matched(before, target), optimizer)
    assert_same(run.model, net)


def moved(net: nn.Sequential, x: Tensor, label: Tensor, radius: float, steps: int) -> Tensor:
    """One row, step by step, until its class changes."""
    near, taken = x.clone(), 0
    while net(near[None]).argmax(1) == label:
        reach = radius * 2 ** (taken // steps)
        start = near.clone().requires_grad_()
        (slope,) = torch.autograd.grad(entropies(net(start[None]), label[None]).sum(), start)
        change = near + reach / 10 * slope / slope.norm() - x
        near = x + change * min(1.0, reach / float(change.norm()))
        taken += 1
    return near


@pytest.mark.parametrize("own_labels", [True, False])
def test_amun(reads, own_labels) -> None:
    run = unlearn("amun", radius=0.1, steps=6, own_labels=own_labels)
    u, v = run.rows("forget")
    original = copy.deepcopy(run.net).eval()
    near = torch.stack([moved(original, x, y, 0.1, 6) for x, y in zip(u, v, strict=True)])
    wrong = original(near).argmax(1)
    assert (near - u).norm(dim=1).max() > 0.4  # the radius has doubled twice

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        slots = read.slots["forget"]
        if not own_labels:
            return mixed_loss(net, read, near[slots], wrong[slots])
        inputs = [read("retain"), near[slots], read("forget")]
        labels = [read.labels["retain"], wrong[slots], read.labels["forget"]]
        each = entropies(net(torch.cat(inputs)), torch.cat(labels)).split([len(x) for x in inputs])
        sums = zip((RETAIN, FORGET, FORGET), each, strict=True)
        return sum(n * losses.mean() for n, losses in sums) / (ROWS + FORGET)

    assert_same(run.model, descend(run.net, reads, loss))


def test_lotus_without_its_noise(reads, held_out, monkeypatch) -> None:
    def smoothed(logits: Tensor, generator: object, tau: float) -> Tensor:
        if tau == 0:
            return nn.functional.one_hot(logits.argmax(1), 3).to(logits)
        return (logits / tau).softmax(1)

    monkeypatch.setattr(lotus, "gumbel_softmax", smoothed)
    run = unlearn("lotus", alpha=3.0, share=0.5, stop=-100, optimizer="sgd")
    (held,) = held_out
    u, v = run.rows("forget")
    teacher = copy.deepcopy(run.net).eval()

    def right(net: nn.Sequential, x: Tensor, y: Tensor) -> float:
        return float((net.eval()(x).argmax(1) == y).double().mean())

    reference = right(teacher, held.fetch(torch.arange(len(held))), held.labels)
    net, count = copy.deepcopy(run.net), len(reads) // EPOCHS
    for epoch in range(EPOCHS):
        tau = math.exp(3.0 * (right(net, u, v) - reference))

        def loss(net: nn.Sequential, read: Read, tau: float = tau) -> Tensor:
            both = {"retain": 0.0, "forget": tau}
            target = torch.cat([smoothed(teacher(read(r)), None, t) for r, t in both.items()])
            logs = net(torch.cat([read(role) for role in both])).log_softmax(1)
            return -(target.detach() * logs).sum(1).mean()

        optimizer = Sgd(lambda t, epoch=epoch: cosine((epoch + 0.5) / EPOCHS))
        part = reads[epoch * count : (epoch + 1) * count]
        net = descend(net, part, loss, optimizer)
    assert_same(run.model, net)
