"""Helpers of runs in small batches, with BatchNorm and random views, against written out loops.

The fixture `reads` records what every step read: which rows, in which views. The loops repeat each
step on the same inputs by the formula of the paper, with SGD and AdamW written out as well, and
must end at the same weights and the same BatchNorm statistics. test_naive_loops.py has methods
without batches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import coun
from coun.methods import contrast, make

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


def mixed_loss(net: nn.Sequential, read: Read, near: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy where every row of both sets has the same weight; one forward pass for both."""
    count = len(read.labels["retain"])
    each = entropies(
        net(torch.cat([read("retain"), near])), torch.cat([read.labels["retain"], labels])
    )
    return (RETAIN * each[:count].mean() + FORGET * each[count:].mean()) / ROWS
