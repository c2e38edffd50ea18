"""Unlearn models of unknown training with the fixed recipe and with the one that trials choose.

Five networks are trained by a plain loop, as other people train them, and given to coun as bare
weights. docs/results/recipes.md has the table.

    python benchmarks/recipes.py
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import coun
from coun.data.tokens import from_tokenized
from coun.files import write_text
from coun.models import build, copy_model
from coun.models.inputs import run as forward

PAGE = Path(__file__).parents[1] / "docs" / "results" / "recipes.md"
DATA = os.environ.get("COUN_DATA", "data")  # the folder that holds cifar10/
METHODS = ("finetune", "coun", "not", "scrub")
EPOCHS = 6
HEAD = """# Recipes for models of unknown training

A model that `coun` did not train comes without a recipe. This page shows what unlearning does to
five such models with the fixed recipe of the CoUn paper (SGD at 0.05), and with the optimizer and
learning rate that short trials choose (`coun.runs.probing`), which is the default.

## How it was measured

Each network is trained by a plain loop in torch and given to `coun.unlearn` as bare weights. A
random 10% of the training rows is forgotten in 6 epochs. One command repeats the measurement,
with one seed:

    python benchmarks/recipes.py

- **ViT, CIFAR-10**: 1,000 training images; three layers of width 64, patches of 8x8; AdamW at
  1e-3.
- **ViT, digits**: scikit-learn's digits; the same network with patches of 2x2.
- **CNN, digits**: the built-in `cnn`, which has BatchNorm; SGD at 0.05.
- **MLP, digits**: the built-in `mlp`; AdamW at 1e-3.
- **text**: 600 synthetic texts of 7 to 12 tokens, two classes; the built-in `text`; AdamW at
  1e-3.

## Results

One row is one method on one model. "before" is the test accuracy (%) of the model as it was
given. The next two columns are the test accuracy after unlearning with each recipe, and the last
two say what the trials chose and how many there were. Methods with other default rates than
fine-tuning (SCRUB: 5e-4) keep the ratio of the two. The trials of NoT start from the negated
weights.

"""
TAIL = """
What the table says, for these models and one seed:

- SGD at 0.05 destroys the ViT that has learned the digits; with the chosen recipe it keeps its
  accuracy.
- Networks that bear SGD at 0.05 keep it, so their numbers are those of the fixed recipe.
- NoT negates a weight matrix. On the ViT, 6 epochs do not repair that with either recipe; it
  needs more epochs (`--epochs`).
"""


class ViT(nn.Module):
    """A small transformer on patches, as in many notebooks."""

    def __init__(self, shape: tuple[int, ...], patch: int) -> None:
        super().__init__()
        tokens = (shape[1] // patch) ** 2
        self.patches = nn.Conv2d(shape[0], 64, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, 64))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                64, 4, 128, 0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(3)
        )
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x).mean(1))
        return logits


def texts(count: int, seed: int) -> list[dict[str, Any]]:
    """Texts in which one of two groups of words says the class."""
    random = torch.Generator().manual_seed(seed)
    items = []
    for row in range(count):
        noise = torch.randint(22, 60, (4 + row % 6,), generator=random)
        words = torch.randint(2, 12, (3,), generator=random) + 10 * (row % 2)
        items.append({"input_ids": [1, *words.tolist(), *noise.tolist()], "label": row % 2})
    return items


def trained(data: coun.Data, model: nn.Module, kind: str, rate: float, steps: int) -> nn.Module:
    """Train *model* by a plain loop with a cosine schedule."""
    generator = torch.Generator().manual_seed(0)
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(model.parameters(), rate)
    if kind == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), rate, 0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(data.train), (64,), generator=generator)
        logits = forward(model, data.views(data.train.fetch(rows), generator))
        optimizer.zero_grad()
        F.cross_entropy(logits, data.train.labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def starts() -> dict[str, tuple[coun.Data, Callable[[], nn.Module], str, float, int]]:
    """Data, network, optimizer, rate and steps of each start."""
    cifar = coun.load(f"hf:{DATA}/cifar10", limit=1000, test_limit=1000)
    digits = coun.load("digits")
    text = from_tokenized(texts(600, 0), texts(200, 1))

    def built(name: str, data: coun.Data) -> nn.Module:
        about: dict[str, Any] = {"shape": data.shape, "vocabulary": data.vocabulary}
        return build(name, classes=len(data.classes), **about)

    return {
        "ViT, CIFAR-10": (cifar, lambda: ViT(cifar.shape, 8), "adamw", 1e-3, 600),
        "ViT, digits": (digits, lambda: ViT(digits.shape, 2), "adamw", 1e-3, 700),
        "CNN, digits": (digits, lambda: built("cnn", digits), "sgd", 0.05, 300),
        "MLP, digits": (digits, lambda: built("mlp", digits), "adamw", 1e-3, 500),
        "text": (text, lambda: built("text", text), "adamw", 1e-3, 150),
    }


def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("coun").setLevel(logging.ERROR)  # the page says what was chosen
    lines = [
        "| model | method | before | SGD at 0.05 | chosen recipe | chosen | trials |",
        "|---|---|---:|---:|---:|---|---:|",
    ]
    for name, (data, make, kind, rate, steps) in starts().items():
        torch.manual_seed(0)
        model = trained(data, make(), kind, rate, steps)
        split = coun.Split.random(data, 0.1)
        before = coun.evaluate(coun.Run.from_weights(model, data))["test_accuracy"]
        for method in METHODS:
            fixed, chosen = (
                coun.unlearn(copy_model(model), split, method, data=data, epochs=EPOCHS, **settings)
                for settings in ({"lr": 0.05 if method != "scrub" else 5e-4}, {})
            )
            accuracy = [coun.evaluate(run)["test_accuracy"] for run in (fixed, chosen)]
            settings = chosen.record.method.settings
            trials = chosen.record.probe.trials if chosen.record.probe else []
            cells = [name, method, *(f"{value:.1f}" for value in (before, *accuracy))]
            cells += [f"{settings['optimizer']}, {settings['lr']:.3g}", str(len(trials))]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    write_text(PAGE, HEAD + "\n".join(lines) + "\n" + TAIL)


if __name__ == "__main__":
    main()
