"""Small batches against written out loops (naive_batches.py): methods that train on retain rows."""

from __future__ import annotations

import copy

import pytest
import torch
from methods.naive_batches import (
    EPOCHS,
    LR,
    RETAIN,
    ROWS,
    AdamW,
    Read,
    Sgd,
    assert_same,
    batch_gradients,
    cosine,
    descend,
    divided,
    entropies,
    gradients_of,
    pull,
    retain_loss,
    unlearn,
)
from torch import Tensor, nn


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({}, cosine),
        ({"schedule": "constant"}, lambda t: LR),
        ({"schedule": "multistep"}, lambda t: LR * 0.1 ** ((t >= 0.5) + (t >= 0.75))),
        ({"warmup": 0.4}, lambda t: LR * t / 0.4 if t < 0.4 else cosine((t - 0.4) / 0.6)),
    ],
)
def test_fine_tuning_reads_each_row_once_an_epoch_by_every_schedule(reads, settings, rate) -> None:
    run, optimizer = unlearn("finetune", **settings), Sgd(rate)
    assert_same(run.model, descend(run.net, reads, retain_loss, optimizer))
    for start in range(0, len(reads), len(reads) // EPOCHS):
        slots = [read.slots["retain"] for read in reads[start : start + len(reads) // EPOCHS]]
        assert sorted(torch.cat(slots).tolist()) == list(range(RETAIN))


def test_fine_tuning_with_adamw(reads) -> None:
    run, optimizer = unlearn("finetune", optimizer="adamw"), AdamW()
    assert_same(run.model, descend(run.net, reads, retain_loss, optimizer))


def test_the_last_epochs_learn_labels_on_plain_rows(reads) -> None:
    run = unlearn("coun", unaugmented_epochs=1)
    x, _ = run.rows("retain")
    for number, read in enumerate(reads):
        plain = x[read.slots["retain"]]
        assert torch.equal(read("retain"), plain) == (number >= len(reads) * 2 // EPOCHS)
        assert not torch.equal(read("retain", 1), plain)


def negated(net: nn.Sequential) -> None:
    with torch.no_grad():
        net[0].weight.neg_()


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_not_with_and_without_the_module(reads, weight) -> None:
    run = unlearn("not", module={"weight": weight, "temperature": 0.2})
    start = copy.deepcopy(run.net)
    negated(start)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        features = net[:5](read("retain"))
        total = entropies(net[5](features), read.labels["retain"]).mean()
        return total + weight * pull(net, features, read) if weight else total

    assert_same(run.model, descend(start, reads, loss))


@pytest.mark.parametrize(
    "settings",
    [{"second_view_labels": 0.4}, {"directions": "mean", "second_view_gradient": False}],
)
def test_coun(reads, settings) -> None:
    run = unlearn("coun", weight=0.7, temperature=0.2, **settings)
    constant = settings.get("second_view_gradient") is False

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        features = net[:5](read("retain"))
        total = entropies(net[5](features), read.labels["retain"]).mean()
        total = total + 0.7 * pull(net, features, read, mean=constant, constant=constant)
        if "second_view_labels" in settings:
            # The statistics of BatchNorm move once for this view, in `pull`.
            norm = net[1]
            hidden = nn.functional.batch_norm(
                net[0](read("retain", 1)), None, None, norm.weight, norm.bias, training=True
            )
            total = total + 0.4 * entropies(net[2:](hidden), read.labels["retain"]).mean()
        return total

    assert_same(run.model, descend(run.net, reads, loss))


def test_l1_sparse_with_the_module(reads) -> None:
    module = {"weight": 0.5, "temperature": 0.2}
    run = unlearn("l1_sparse", gamma=0.01, until=2, module=module)

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        features = net[:5](read("retain"))
        gamma = 0.01 * max(0.0, 1 - read.progress * EPOCHS / 2)
        total = entropies(net[5](features), read.labels["retain"]).mean()
        total = total + gamma * sum(p.abs().sum() for p in net.parameters())
        return total + 0.5 * pull(net, features, read)

    assert_same(run.model, descend(run.net, reads, loss))


def test_prune(reads) -> None:
    run = unlearn("prune", sparsity=0.5)
    sizes = torch.cat([run.net[k].weight.detach().abs().flatten() for k in (0, 3)])
    smallest = sizes.sort().values[len(sizes) // 2]

    def pruned(net: nn.Sequential) -> None:
        with torch.no_grad():
            for k in (0, 3):
                net[k].weight.mul_(run.net[k].weight.abs() >= smallest)

    assert_same(run.model, descend(run.net, reads, retain_loss, change=pruned))


def test_cf_k_trains_the_head_on_features_in_eval_mode(reads) -> None:
    run = unlearn("cf_k", k=0)
    net, optimizer = copy.deepcopy(run.net).eval(), Sgd()
    for number, read in enumerate(reads):
        *_, weight, bias = gradients_of(net, retain_loss(net, read))
        rest: list[Tensor | None] = [None] * (len(list(net.parameters())) - 2)
        optimizer.step(net, [*rest, weight, bias], number / len(reads))
    assert_same(run.model, net)


def test_msg(reads) -> None:
    # As many rows are forgotten as retained, and a batch holds all, so that no draw matters.
    half = ROWS // 2
    run = unlearn("msg", forget=range(half), fraction=0.3, slow=0.1, batch_size=half)
    (total,) = batch_gradients(run.net, *run.rows("retain"), half)
    total = total - batch_gradients(run.net, *run.rows("forget"), half)[0]
    factors = []
    start = copy.deepcopy(run.net)
    start.load_state_dict(reads[0].weights)
    for (name, p), g in zip(run.net.named_parameters(), divided(total, run.net), strict=True):
        drawn = start.get_parameter(name) != p
        if name in ("0.weight", "3.weight"):
            assert int(drawn.sum()) == round(0.3 * drawn.numel())
            assert g[drawn].abs().max() <= g[~drawn].abs().min()
            factors.append(torch.where(drawn, 1.0, 0.1))
        else:
            assert not drawn.any()
            factors.append(torch.ones_like(p))
    net, optimizer = start.train(), Sgd()
    for number, read in enumerate(reads):
        gradients = gradients_of(net, retain_loss(net, read))
        slowed = [f * g for f, g in zip(factors, gradients, strict=True)]
        optimizer.step(net, slowed, number / len(reads))
    assert_same(run.model, net)
