"""over_usual: the same CoUn training as the field usually writes it, against the engine.

    python benchmarks/speed/usual.py [--models resnet18,resnet8,cnn] [--batch 256] [--rounds 3]

Usual: a DataLoader with two workers, PIL transforms image by image, fp32, NCHW, a loss read
back every step; in a process of its own, so that nothing the engine sets reaches it. Ours: the
engine as it comes, and with --compile. Rates count forwarded views.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import measure
import numpy as np
import torch
from measure import Trainer
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from coun.data.views import COUN_MEAN, COUN_STD
from coun.models import build

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in (COUN_MEAN, COUN_STD))


class TwoViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Images as PIL objects, transformed twice."""

    def __init__(self, images: np.ndarray[Any, Any], labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, int]:
        image = Image.fromarray(self.images[row])
        return transform(image), transform(image), self.labels[row]


def transform(image: Image.Image) -> Tensor:
    """RandomCrop(32, padding=4), RandomHorizontalFlip, ToTensor, Normalize."""
    padded = ImageOps.expand(image, border=4)
    left, top = random.randint(0, 8), random.randint(0, 8)
    image = padded.crop((left, top, left + image.width, top + image.height))
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - MEAN) / STD


def contrastive(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Both directions, as the paper's appendix prints them."""
    a, b = nn.functional.normalize(a), nn.functional.normalize(b)
    similarity = torch.exp(a @ b.T / temperature)
    rows, columns = (similarity.diag() / similarity.sum(dim) for dim in (1, 0))
    return -rows.log().mean() - columns.log().mean()


class Usual:
    """A model, an optimizer and an epoch function."""

    def __init__(self, data: Any, model: str, batch: int) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = build(model, classes=measure.CLASSES, shape=data.shape).to(self.device)
        self.features: list[Tensor] = []
        head = [m for m in self.model.modules() if isinstance(m, nn.Linear)][-1]
        head.register_forward_hook(lambda _, args, out: self.features.append(args[0]))
        images = data.train.images.permute(0, 2, 3, 1).contiguous().numpy()
        dataset = TwoViews(images, data.train.labels.tolist())
        self.loader = DataLoader(dataset, batch, shuffle=True, num_workers=2)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )

    def epoch(self) -> int:
        """One epoch; the views it forwarded."""
        return sum(self.steps())

    def steps(self) -> Iterator[int]:
        self.model.train()
        total = 0.0
        for first, second, labels in self.loader:
            x, xx, y = (t.to(self.device) for t in (first, second, labels))
            self.features.clear()
            logits = self.model(x)
            self.model(xx)
            loss = nn.functional.cross_entropy(logits, y) + contrastive(*self.features, 0.1)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
            yield 2 * len(y)


def serve(pipe: Any, model: str, batch: int, images: int) -> None:
    """Run an epoch whenever asked, in a process that none of coun's engine ran in."""
    usual = Usual(measure.synthetic(images), model, batch)
    while pipe.recv():
        pipe.send(usual.epoch())


class Apart:
    """`Usual` in a process of its own; it works in its turn only."""

    def __init__(self, model: str, batch: int, images: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, model, batch, images))
        self.process.start()

    def epoch(self) -> int:
        self.pipe.send(True)
        return int(self.pipe.recv())

    def close(self) -> None:
        self.pipe.send(False)
        self.process.join()


def study(model: str, batch: int, rounds: int, updates: int) -> dict[str, Any]:
    """The ratios of one network."""
    data = measure.synthetic(batch * updates)
    usual, eager = Apart(model, batch, len(data.train)), Trainer(data, model)
    compiled = Trainer(data, model, compile=True)
    jobs = {
        "usual": usual.epoch,
        "eager": lambda: eager.phase("coun", batch),
        "compiled": lambda: compiled.phase("coun", batch),
    }
    rates = measure.turns(jobs, rounds)
    usual.close()
    computed: dict[str, Any] = {k: measure.ratio(rates, k, "usual") for k in ("eager", "compiled")}
    return {"batch": batch, "precision": eager.compute.precision, **computed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet18,resnet8,cnn,mlp")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    computed = {}
    for model in args.models.split(","):
        updates = {"resnet18": 2, "resnet8": 6}.get(model, 16)
        computed[model] = study(model, args.batch, args.rounds, updates)
        print(model, computed[model], flush=True)
    measure.record("over_usual", computed)


if __name__ == "__main__":
    main()
