"""Small batches against written out loops (naive_batches.py): losses of both kinds of rows."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from methods.naive_batches import (
    LR,
    AdamW,
    Gradients,
    Read,
    Sgd,
    assert_same,
    batch_gradients,
    cosine,
    descend,
    divergence,
    divided,
    entropies,
    gradients_of,
    joined,
    loss_of,
    mixed_loss,
    network,
    pull,
    retain_loss,
    unlearn,
)
from torch import Tensor, nn


@pytest.mark.parametrize("limit", [None, 0.7])
def test_neggrad_stops_at_its_limit_row_by_row(reads, limit) -> None:
    run, most = unlearn("neggrad", max_loss=limit), limit or math.log(3)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        return -entropies(net(read("forget")), read.labels["forget"]).clamp(max=most).mean()

    assert_same(run.model, descend(run.net, reads, loss))


class TwoOptimizers:
    """DualOptim: AdamW with weight decay 0.05 for forget rows; each has a state of its own."""

    def __init__(self, forget_lr: float) -> None:
        adamw = AdamW(lambda t: cosine(t) * forget_lr / LR, decay=0.05)
        self.by_role = {"retain": Sgd(), "forget": adamw}

    def step(self, net: nn.Module, gradients: Gradients, progress: float, read: Read) -> None:
        (role,) = read.labels
        self.by_role[role].step(net, gradients, progress)


@pytest.mark.parametrize("forget_lr", [None, 0.002])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_neggrad_plus(reads, forget_lr, weight) -> None:
    module = {"weight": weight, "temperature": 0.2}
    settings = {"alpha": 0.8, "forget_lr": forget_lr, "forget_batch_size": 6}
    run = unlearn("neggrad_plus", module=module, **settings)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        total = torch.zeros(())
        if "retain" in read.labels:
            features = net[:5](read("retain"))
            total = 0.8 * entropies(net[5](features), read.labels["retain"]).mean()
        if "forget" in read.labels:
            total = total - 0.2 * loss_of(net, read, "forget")
        if "retain" in read.labels and weight:
            total = total + weight * pull(net, features, read)
        return total

    optimizer = TwoOptimizers(forget_lr) if forget_lr else None
    assert_same(run.model, descend(run.net, reads, loss, optimizer))


@pytest.mark.parametrize("forget_lr", [None, 0.002])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_scrub(reads, forget_lr, weight) -> None:
    settings = {"gamma": 0.9, "alpha": 0.3, "temperature": 2.0, "max_steps": 2}
    module = {"weight": weight, "temperature": 0.2}
    run = unlearn("scrub", module=module, forget_batch_size=10, forget_lr=forget_lr, **settings)
    teacher = copy.deepcopy(run.net).eval()

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        (role,) = read.labels
        features = net[:5](read(role))
        target = (teacher(read(role)).detach() / 2).softmax(1)
        distance = 4 * divergence(target, net[5](features) / 2)
        if role == "forget":
            return -distance
        total = 0.9 * entropies(net[5](features), read.labels[role]).mean() + 0.3 * distance
        return total + weight * pull(net, features, read) if weight else total

    optimizer = TwoOptimizers(forget_lr) if forget_lr else None
    assert_same(run.model, descend(run.net, reads, loss, optimizer))


def flipped(net: nn.Sequential, read: Read) -> Tensor:
    """The loss of fixed wrong labels; of two classes only one is wrong."""
    return mixed_loss(net, read, read("forget"), 1 - read.labels["forget"])


def test_random_label_with_two_optimizers(reads) -> None:
    run = unlearn("random_label", classes=2, labels="fixed", forget_lr=0.002)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        if "retain" in read.labels:
            return retain_loss(net, read)
        return entropies(net(read("forget")), 1 - read.labels["forget"]).mean()

    assert_same(run.model, descend(run.net, reads, loss, TwoOptimizers(0.002)))


@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("fraction", [0.4, 1.0])
def test_salun(reads, fraction, weight) -> None:
    module = {"weight": weight, "temperature": 0.2}
    run = unlearn("salun", classes=2, labels="fixed", fraction=fraction, module=module)
    size = sum(batch_gradients(run.net, *run.rows("forget"))).abs()
    kept = torch.zeros(len(size), dtype=torch.bool)
    kept[size.argsort(descending=True)[: int(fraction * len(size))]] = True
    masks = divided(kept, run.net)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        total = flipped(net, read)
        if weight:  # retain rows pass through the model once more, by themselves
            total = total + weight * pull(net, net[:5](read("retain")), read)
        return total

    def frozen(net: nn.Sequential) -> None:
        with torch.no_grad():
            for p, start, mask in zip(net.parameters(), run.net.parameters(), masks, strict=True):
                p.copy_(torch.where(mask, p, start))

    assert_same(run.model, descend(run.net, reads, loss, change=frozen))


def test_rl_proximal(reads) -> None:
    run = unlearn("rl_proximal", classes=2, labels="fixed", fraction=0.6)
    start, step = joined(run.net.parameters()).detach(), iter(range(len(reads) + 1))

    def shrunk(net: nn.Sequential) -> None:
        number = next(step)
        if number:
            change = joined(net.parameters()).detach() - start
            count = int(0.6 * (1 - (number - 1) / len(reads)) * len(change))
            limit = change.abs().sort().values[count - 1]
            change = change.sign() * (change.abs() - limit).clamp(min=0)
            with torch.no_grad():
                for p, q in zip(net.parameters(), divided(start + change, net), strict=True):
                    p.copy_(q)

    assert_same(run.model, descend(run.net, reads, flipped, change=shrunk))


def test_projection(reads) -> None:
    run = unlearn("projection", weight=0.3, max_loss=0.9)
    net, optimizer = copy.deepcopy(run.net).train(), Sgd()
    for number, read in enumerate(reads):
        down = joined(gradients_of(net, retain_loss(net, read)))
        losses = entropies(net(read("forget")), read.labels["forget"]).clamp(max=0.9)
        up = joined(gradients_of(net, losses.mean()))
        up = up - max(0.0, float(up @ down)) / (down @ down) * down
        optimizer.step(net, divided(down - 0.3 * up, net), number / len(reads))
    assert_same(run.model, net)


def test_sfron_begins_each_group_with_its_ascent(reads) -> None:
    run = unlearn("sfron", every=2, strength=3.0, power=0.5, max_norm=0.5)
    assert [*reads[0].labels, *reads[1].labels, *reads[2].labels] == ["forget", "retain", "retain"]
    fisher = {}
    for role in ("forget", "retain"):
        batches = batch_gradients(run.net, *run.rows(role))
        fisher[role] = sum(g.square() for g in batches) / len(batches)
    mask = fisher["forget"] >= fisher["retain"]
    net, optimizer = copy.deepcopy(run.net).train(), Sgd()
    for number, read in enumerate(reads):
        progress = number / len(reads)
        if "retain" in read.labels:
            gradients = gradients_of(net, retain_loss(net, read))
        else:
            each = entropies(net(read("forget")), read.labels["forget"])
            weights = each.detach() ** -0.5
            strength = 3.0 * (1 + math.cos(math.pi * progress)) / 2
            loss = -strength * (weights / weights.sum() * each).sum()
            up = joined(gradients_of(net, loss)) * mask
            gradients = divided(up * min(1.0, 0.5 / float(up.norm())), net)
        optimizer.step(net, gradients, progress)
    assert_same(run.model, net)


def test_munba_by_the_formulas_of_its_code(reads, monkeypatch) -> None:
    drawn, draw = [], torch.randint
    monkeypatch.setattr(torch, "randint", lambda *a, **k: drawn.append(draw(*a, **k)) or drawn[-1])
    run = unlearn("munba", max_norm=0.7)
    labels = iter(drawn)
    net, optimizer = copy.deepcopy(run.net).train(), Sgd()
    for number, read in enumerate(reads):
        if "forget" not in read.labels:
            gradients = gradients_of(net, retain_loss(net, read))
        else:
            r = joined(gradients_of(net, retain_loss(net, read)))
            wrong = entropies(net(read("forget")), next(labels)).mean()
            f = joined(gradients_of(net, wrong))
            rr, rf, ff = (float(x) for x in (r @ r, r @ f, f @ f))
            one = math.sqrt((rr * ff - rf * math.sqrt(rr * ff)) / (rr * rr * ff - rr * rf * rf))
            other = (1 - rr * one * one) / (rf * one)
            assert one > 0
            assert other > 0
            step = one * r + other * f
            gradients = divided(step * min(1.0, 0.7 / float(step.norm())), net)
        optimizer.step(net, gradients, number / len(reads))
    assert_same(run.model, net)


def test_negmerge(reads) -> None:
    run, start = unlearn("negmerge", copies=3, scale=2.0), joined(network(3).parameters()).detach()
    changes = []
    for k in range(3):
        part = reads[k * len(reads) // 3 : (k + 1) * len(reads) // 3]
        optimizer = Sgd(lambda t, lr=LR / 2**k: cosine(t, lr))
        tuned = descend(run.net, part, lambda net, read: loss_of(net, read, "forget"), optimizer)
        changes.append(joined(tuned.parameters()).detach() - start)
    vectors = torch.stack(changes)
    agree = (vectors > 0).all(0) | (vectors < 0).all(0)
    result = copy.deepcopy(run.net)
    merged = divided(start - 2.0 * vectors.mean(0) * agree, result)
    with torch.no_grad():
        for p, q in zip(result.parameters(), merged, strict=True):
            p.copy_(q)
    assert_same(run.model, result)


def test_contrastive_unlearning_anchor_by_anchor(reads) -> None:
    settings = {"omega": 2, "temperature": 0.7, "scale": 1.5, "retain_weight": 0.8}
    run = unlearn("contrastive_unlearning", **settings)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        features = net[:5](torch.cat([read("retain"), read("forget")]))
        unit = features / features.square().sum(1, keepdim=True).sqrt()
        y, total, count = read.labels["retain"], torch.zeros(()), len(read.labels["retain"])
        for anchor, label in zip(unit[count:], read.labels["forget"], strict=True):
            similar = unit[:count] @ anchor / 0.7
            total = total - similar[y != label].mean() + similar[y == label].exp().sum().log()
        retain = entropies(net[5](features[:count]), y).mean()
        return 1.5 * total / len(read.labels["forget"]) + 0.8 * retain

    assert_same(run.model, descend(run.net, reads, loss))
