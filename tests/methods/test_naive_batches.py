"""Runs in small batches, with BatchNorm and random views, against loops that are written out.

`reads` records what every step read: which rows, in which views. The loops repeat each step on the
same inputs by the formula of the paper, with SGD and AdamW written out as well, and must end at the
same weights and the same BatchNorm statistics. test_naive_loops.py has methods without batches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import coun
from coun.engine import Task
from coun.methods import amun, contrast, lotus, make
from coun.objectives import BatchContext

LR, FLOOR, MOMENTUM, DECAY = 0.05, 0.01, 0.9, 5e-3
ROWS, FORGET, RETAIN, SIZE, EPOCHS = 70, 22, 48, 16, 3
SETTINGS: dict[str, Any] = {
    "epochs": EPOCHS,
    "batch_size": SIZE,
    "lr": LR,
    "lr_floor": FLOOR,
    "momentum": MOMENTUM,
    "weight_decay": DECAY,
    "schedule": "cosine",
    "warmup": 0.0,
}


class Noise:
    """Views that add noise."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return images + 0.1 * torch.randn(images.shape, generator=generator)

    def evaluate(self, images: Tensor) -> Tensor:
        return images


@dataclass
class Read:
    """What one step read, and the weights that it began with."""

    labels: dict[str, Tensor]
    slots: dict[str, Tensor]
    inputs: dict[tuple[str, int], Tensor]
    progress: float
    weights: dict[str, Tensor]

    def __call__(self, role: str, view: int = 0) -> Tensor:
        return self.inputs[role, view]


Loss = Callable[[nn.Sequential, Read], Tensor]
Gradients = Sequence[Tensor | None]


@pytest.fixture
def reads(monkeypatch) -> list[Read]:
    result: list[Read] = []
    begin = BatchContext.__init__

    def start(self, model, batches, **options):
        begin(self, model, batches, **options)
        labels = {role: batch.labels for role, batch in batches.items()}
        slots = {role: batch.slots for role, batch in batches.items()}
        weights = {k: v.clone() for k, v in model.inner.state_dict().items()}
        result.append(Read(labels, slots, self._inputs, options["progress"], weights))

    monkeypatch.setattr(BatchContext, "__init__", start)
    return result


@pytest.fixture
def held_out(monkeypatch) -> list[coun.Examples]:
    """The held-out rows of the last task."""
    result, begin = [], Task.__init__

    def start(self, *args, **options):
        begin(self, *args, **options)
        result[:] = [self.held_out]

    monkeypatch.setattr(Task, "__init__", start)
    return result


def data_of(classes: int) -> coun.Data:
    """Vectors of 6 numbers in some clusters."""
    generator = torch.Generator().manual_seed(classes)
    centres = torch.randn(classes, 6, generator=generator)
    y = torch.arange(ROWS + 40) % classes
    x = centres[y] + 0.8 * torch.randn(len(y), 6, generator=generator)
    return coun.from_arrays(x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:], views=Noise())


def network(classes: int) -> nn.Sequential:
    """A network without kinks, whose BatchNorm has statistics unlike those of the data."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        norm = nn.BatchNorm1d(8)
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        first, second, head = nn.Linear(6, 8, bias=False), nn.Linear(8, 8), nn.Linear(8, classes)
        return nn.Sequential(first, norm, nn.Tanh(), second, nn.Tanh(), head)


@dataclass
class Unlearned:
    model: nn.Module
    net: nn.Sequential
    data: coun.Data
    split: coun.Split

    def rows(self, role: str) -> tuple[Tensor, Tensor]:
        """Inputs and labels of all rows of *role*."""
        places = self.split.rows(self.data, role)
        return self.data.train.fetch(places), self.data.train.labels[places]


def unlearn(
    method: str,
    classes: int = 3,
    forget: Iterable[int] = range(5, 5 + FORGET),
    module: dict[str, Any] | None = None,
    **settings: Any,
) -> Unlearned:
    data, net = data_of(classes), network(classes)
    split = coun.Split.by_index(data, forget)
    plan = make(method, {**SETTINGS, **settings})
    plan = contrast(plan, **module) if module else plan
    return Unlearned(
        coun.unlearn(copy.deepcopy(net), split, plan, data=data).model, net, data, split
    )


def cosine(progress: float, lr: float = LR, floor: float = FLOOR) -> float:
    return floor + (lr - floor) * (1 + math.cos(math.pi * progress)) / 2


class Sgd:
    """Momentum and weight decay; a gradient of None leaves a parameter alone."""

    def __init__(self, rate: Callable[[float], float] = cosine) -> None:
        self.rate, self.velocity = rate, dict[int, Tensor]()

    def step(self, net: nn.Module, gradients: Gradients, progress: float, *_: Read) -> None:
        with torch.no_grad():
            for k, (p, g) in enumerate(zip(net.parameters(), gradients, strict=True)):
                if g is not None:
                    g = g + DECAY * p
                    self.velocity[k] = MOMENTUM * self.velocity[k] + g if k in self.velocity else g
                    p -= self.rate(progress) * self.velocity[k]


class AdamW:
    """The equations of AdamW, where weight decay does not pass through the moments."""

    def __init__(self, rate: Callable[[float], float] = cosine, decay: float = DECAY) -> None:
        self.rate, self.decay, self.steps = rate, decay, 0
        self.moments = dict[int, tuple[Tensor, Tensor]]()

    def step(self, net: nn.Module, gradients: Gradients, progress: float, *_: Read) -> None:
        self.steps += 1
        rate = self.rate(progress)
        with torch.no_grad():
            for k, (p, g) in enumerate(zip(net.parameters(), gradients, strict=True)):
                assert g is not None
                m, s = self.moments.get(k, (torch.zeros_like(p), torch.zeros_like(p)))
                self.moments[k] = m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
                p *= 1 - rate * self.decay
                spread = (s / (1 - 0.999**self.steps)).sqrt() + 1e-8
                p -= rate * m / (1 - 0.9**self.steps) / spread


def gradients_of(net: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters()), materialize_grads=True))


def descend(
    net: nn.Sequential,
    reads: Sequence[Read],
    loss: Loss,
    optimizer: Any = None,
    change: Callable[[nn.Sequential], object] = lambda net: None,
) -> nn.Sequential:
    """Make a copy of *net*, *change* it, and train it on *reads*; *change* it after every step."""
    net, optimizer = copy.deepcopy(net).train(), optimizer or Sgd()
    change(net)
    for number, read in enumerate(reads):
        optimizer.step(net, gradients_of(net, loss(net, read)), number / len(reads), read)
        change(net)
    return net


def assert_same(model: nn.Module, net: nn.Module, atol: float = 1e-5) -> None:
    for (name, a), b in zip(model.state_dict().items(), net.state_dict().values(), strict=True):
        torch.testing.assert_close(
            a, b, rtol=1e-4, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


def entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """log sum exp z - z_y, for each row."""
    return logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """The mean over rows of the sum of q log(q / p)."""
    logs = logits - logits.exp().sum(1, keepdim=True).log()
    return (torch.special.xlogy(target, target) - target * logs).sum(1).mean()


def loss_of(net: nn.Sequential, read: Read, role: str) -> Tensor:
    return entropies(net(read(role)), read.labels[role]).mean()


def retain_loss(net: nn.Sequential, read: Read) -> Tensor:
    return loss_of(net, read, "retain")


def pull(
    net: nn.Sequential, features: Tensor, read: Read, *, mean: bool = False, constant: bool = False
) -> Tensor:
    """CoUn's loss with temperature 0.2, of *features* and those of the second view."""
    second = net[:5](read("retain", 1))
    second = second.detach() if constant else second
    a, b = (z / z.square().sum(1, keepdim=True).sqrt() for z in (features, second))
    similar = a @ b.T / 0.2
    places = torch.arange(len(a))
    both = entropies(similar, places).mean() + entropies(similar.T, places).mean()
    return both / 2 if mean else both


def joined(gradients: Iterable[Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients])


def divided(vector: Tensor, net: nn.Module) -> list[Tensor]:
    parts = vector.split([p.numel() for p in net.parameters()])
    return [part.view_as(p) for part, p in zip(parts, net.parameters(), strict=True)]


def batch_gradients(net: nn.Sequential, x: Tensor, y: Tensor, size: int = SIZE) -> list[Tensor]:
    """The gradient of each batch of plain rows, in eval mode, as one vector."""
    probe = copy.deepcopy(net).eval()
    return [
        joined(gradients_of(probe, entropies(probe(u), v).mean()))
        for u, v in zip(x.split(size), y.split(size), strict=True)
    ]


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


def mixed_loss(net: nn.Sequential, read: Read, near: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy where every row of both sets has the same weight; one forward pass for both."""
    count = len(read.labels["retain"])
    each = entropies(
        net(torch.cat([read("retain"), near])), torch.cat([read.labels["retain"], labels])
    )
    return (RETAIN * each[:count].mean() + FORGET * each[count:].mean()) / ROWS


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
            wrong = entropies(net(read("forget")), next(labels)).mean()
            f = joined(gradients_of(net, wrong))
            r = joined(gradients_of(net, retain_loss(net, read)))
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
    """The loss of matching with weights 0.4 for retain and 0.3 for forget rows."""

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        y, v = read.labels["retain"], read.labels["forget"]
        logits = net(torch.cat([read("retain"), read("forget")]))
        retain, forget = logits[: len(y)], logits[len(y) :]
        keep = distance(retain, y, before[read.slots["retain"]])
        move = distance(forget, v, target[read.slots["forget"]])
        return entropies(retain, y).mean() + 0.4 * keep + 0.3 * move

    return loss


MATCHING = {"weight": 0.3, "retain_weight": 0.4, "forget_batch_size": 7}


def test_held_out(reads, held_out) -> None:
    run = unlearn("held_out", correction=0.0, **MATCHING)
    (held,) = held_out
    (x, _), (u, v) = run.rows("retain"), run.rows("forget")
    inputs = {"retain": x, "forget": u, "held": held.fetch(torch.arange(len(held)))}
    teacher = copy.deepcopy(run.net).eval()
    logs = {name: teacher(rows).log_softmax(1).detach() for name, rows in inputs.items()}
    odds, unseen = odds_of(logs["forget"].double(), v), odds_of(logs["held"].double(), held.labels)
    wanted = odds.clone()
    for label in range(3):
        places = torch.nonzero(v == label).flatten()
        places = places[odds[places].argsort()]
        shares = (torch.arange(len(places)).double() + 0.5) / len(places)
        wanted[places] = unseen[held.labels == label].quantile(shares)
    target = with_odds(logs["forget"], v, wanted)
    assert_same(run.model, descend(run.net, reads, matched(logs["retain"], target)))


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


def test_amun(reads, monkeypatch) -> None:
    pairs, attack = [], amun.adversarial
    monkeypatch.setattr(amun, "adversarial", lambda *a: pairs.append(attack(*a)) or pairs[-1])
    run = unlearn("amun", radius=0.5, steps=20)
    ((near, wrong),) = pairs
    u, v = run.rows("forget")
    assert (copy.deepcopy(run.net).eval()(near).argmax(1) == wrong).all()
    length = (near - u).norm(dim=1)
    doublings = torch.log2(length / 0.5)
    assert (length > 0.1).all()
    assert (doublings.round() - doublings).abs().max() < 1e-4  # at the edge of a ball
    assert (wrong != v).any()

    def loss(net: nn.Sequential, read: Read) -> Tensor:
        slots = read.slots["forget"]
        return mixed_loss(net, read, near[slots], wrong[slots])

    assert_same(run.model, descend(run.net, reads, loss))


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
