"""What the speed benchmarks share: synthetic tasks, turns, ratios, and the record."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import coun
from coun.engine import Compute, Engine, Task, environment, forward_flops
from coun.files import read_json, write_json
from coun.methods import make
from coun.models import Classifier, build
from coun.seeds import Seeds

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "speed.json"
CLASSES = 10


def synthetic(images: int, side: int = 32) -> coun.Data:
    """Random colour images with random labels; two of them are the test set."""
    torch.manual_seed(0)
    x = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    y = torch.randint(0, CLASSES, (images,))
    names = [str(i) for i in range(CLASSES)]
    return coun.from_arrays(x, y, x[:2], y[:2], classes=names)


class Trainer:
    """One network on one data set, trained by the engine one sweep at a time."""

    def __init__(self, data: coun.Data, model: str, *, compile: bool = False) -> None:
        torch.manual_seed(0)
        self.net = build(model, classes=CLASSES, shape=data.shape)
        example = data.views.evaluate(data.train.fetch(torch.arange(2)))
        classifier = Classifier(self.net, example=example)
        flops = forward_flops(classifier, example[:1])
        self.compute = Compute.choose(flops=flops, compile=compile)
        device = self.compute.device
        self.task = Task(data, None, Seeds(0), frozenset({"retain"}), classifier, None, device)

    def sweep(self, method: str, batch: int, **settings: Any) -> int:
        """One epoch of *method*; the images (views) that it forwarded."""
        chosen = make(method, {"epochs": 1, "batch_size": batch, "lr": 0.01, **settings})
        before = self.task.cost.forward_images
        Engine(self.task, self.compute).run(chosen.plan(self.net, self.task))
        settle(self.compute.device)
        return self.task.cost.forward_images - before


def bare(trainer: Trainer, batch: int, updates: int) -> int:
    """Forward and backward of *trainer*'s network on a fixed tensor, and nothing else."""
    net, compute = trainer.net.train(), trainer.compute
    compute.to_device(net)
    x = torch.randn(batch, *trainer.task.data.shape, device=compute.device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, CLASSES, (batch,), device=compute.device)
    for _ in range(updates):
        with compute.autocast():
            logits = net(x)
        nn.functional.cross_entropy(logits.float(), y).backward()
        net.zero_grad(set_to_none=True)
    settle(compute.device)
    return batch * updates


def settle(device: torch.device) -> None:
    """Wait until a GPU has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def turns(jobs: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Images per second of each job in each round.

    Jobs take turns, in alternating order, so that whatever else the machine does meets all
    of them alike. One round before the first is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name in list(jobs) if turn % 2 else reversed(jobs):
            start = time.perf_counter()
            images = jobs[name]()
            if turn:
                rates[name].append(images / (time.perf_counter() - start))
    return rates


def ratio(rates: dict[str, list[float]], over: str, under: str) -> dict[str, Any]:
    """Median, lowest and highest of *over* / *under*, round by round, and the rates."""
    each = [a / b for a, b in zip(rates[over], rates[under], strict=True)]
    return {
        "ratio": round(median(each), 3),
        "lowest": round(min(each), 3),
        "highest": round(max(each), 3),
        "rounds": len(each),
        "images_per_second": {name: round(median(rates[name]), 1) for name in (over, under)},
    }


def record(section: str, content: Any) -> None:
    """Put *content* under *section* of speed.json, with the command, machine and date."""
    computed = read_json(RESULTS) if RESULTS.exists() else {}
    where = Path(sys.argv[0]).resolve().relative_to(RESULTS.parents[2])
    computed[section] = {
        "command": " ".join(["python", str(where), *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "environment": environment(),
        "results": content,
    }
    write_json(RESULTS, computed)
