"""Every method runs on the networks of the paper, on a residual one and on a user's own."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from methods.canonical import CANONICAL, NEEDS_KERNELS
from prepared import prepared
from torch import nn

import coun
from coun.methods import catalogue

# Methods that look at layers or kernels run on the paper's large networks as well; for the others
# these would only be slow.
ON_LAYERS = (
    "boundary_expand",
    "cf_k",
    "coun",
    "ct",
    "fisher",
    "l1_sparse",
    "not",
    "prune",
    "ssd",
)
NETWORKS = [
    *((name, model) for name in sorted(catalogue()) for model in ("own", "resnet8")),
    *((name, "vgg16") for name in ON_LAYERS),
    *((name, "vit") for name in ON_LAYERS if name not in NEEDS_KERNELS),
]


def few(side: int) -> coun.Data:
    """12 training and 6 test images of noise in three classes: ARCANE has a network for each."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(0, 256, (18, 3, side, side), dtype=torch.uint8, generator=generator)
    y = torch.arange(18) % 3
    return coun.from_arrays(x[:12], y[:12], x[12:], y[12:])


class Plain(nn.Module):
    """A user's own network: a frozen stem, no BatchNorm, a head with a name of its own, a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2).requires_grad_(False)
        self.body = nn.Sequential(
            nn.GroupNorm(2, 4), nn.Conv2d(4, 8, 3), nn.GELU(), nn.LayerNorm([8, 5, 5])
        )
        self.scores = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = self.body(self.stem(x)).mean((2, 3))
        return self.scores(pooled), pooled


@cache
def original(model: str) -> tuple[coun.Data, coun.Run]:
    data = few(32 if model == "vgg16" else 16)  # which halves its images five times
    maker = Plain if model == "own" else model
    return data, prepared(coun.train(data, maker, epochs=1, batch_size=6, lr=0.01))


@pytest.mark.parametrize(("name", "model"), NETWORKS)
def test_it_runs(name: str, model: str) -> None:
    data, start = original(model)
    split = coun.Split.by_index(data, [3] if model == "own" else [3, 4, 5, 10])
    settings = {**CANONICAL[name], "batch_size": 6}
    if "epochs" in settings:
        settings["epochs"] = 1
    known = catalogue()[name].__dataclass_fields__
    settings = {k: v for k, v in settings.items() if k in known}
    run = coun.unlearn(start, split, name, **settings)
    assert all(bool(torch.isfinite(p).all()) for p in run.model.parameters())
    if model == "own" and name not in ("sisa", "arcane"):
        assert not any(p.requires_grad for p in run.model.stem.parameters())
        if not catalogue()[name].trains_from_scratch:
            torch.testing.assert_close(
                dict(run.model.stem.named_parameters()),
                dict(start.model.stem.named_parameters()),
                rtol=0,
                atol=0,
            )
    computed = coun.evaluate(run)
    assert 0 <= computed["unlearn_accuracy"] <= 100
