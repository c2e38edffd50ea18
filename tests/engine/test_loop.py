"""The training loop: the rows it reads, the cost it counts, and that a kill changes no bit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

import coun
from coun.engine import Fit, Phase, Stage, Task
from coun.engine.batches import _BatchSampler, steps_per_epoch
from coun.engine.process_group import ProcessGroup
from coun.methods import Method
from coun.models import weights_digest
from coun.objectives import cross_entropy
from coun.seeds import Seeds


def dropout_net() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 10)
    )


def test_another_seed_gives_other_weights(small: coun.Data) -> None:
    digests = {
        weights_digest(coun.train(small, "cnn", epochs=1, seed=seed).model) for seed in (0, 0, 1)
    }
    assert len(digests) == 2


def test_a_second_role_is_read_completely_in_each_round_and_in_a_new_order(
    small: coun.Data, split: coun.Split, original: coun.Run
) -> None:
    task = Task(
        small,
        split,
        Seeds(0),
        frozenset({"forget"}),
        original.classifier,
        None,
        torch.device("cpu"),
    )
    order = _BatchSampler(task, "forget", 16, (0, 0, 0), ProcessGroup())
    rounds = []
    for turn in range(3):
        rows = torch.cat([order.at(turn * 2 + i) for i in range(2)])
        assert rows.sort().values.tolist() == list(range(30))
        rounds.append(rows.tolist())
    assert rounds[0] != rounds[1] != rounds[2]


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(10, 5, 2), (11, 5, 3), (12, 5, 3), (1, 5, 1), (3, 1, 3)]
)
def test_a_phase_has_as_many_steps_as_a_loader_has_batches(
    rows: int, size: int, expected: int
) -> None:
    assert steps_per_epoch(rows, size) == expected == math.ceil(rows / size)


def test_the_first_step_is_sgd_computed_by_hand(small: coun.Data, split: coun.Split) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    data = replace(small, views=coun.Views(letters="N", mean=(0.5,), std=(0.5,)))
    rows = split.rows(data, "retain")
    unlearned = coun.unlearn(
        net, split, "finetune", data=data, epochs=1, batch_size=len(rows), lr=0.3
    )
    x = (data.train.fetch(rows).float() / 255 - 0.5) / 0.5
    loss = nn.functional.cross_entropy(net(x), data.train.labels[rows])
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    for old, g, new in zip(net.parameters(), gradients, unlearned.model.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.3 * (g + 5e-4 * old), atol=1e-6, rtol=0)


def test_a_role_that_was_not_declared_is_refused(small: coun.Data, split: coun.Split) -> None:
    @dataclass(frozen=True)
    class Peeks(Method):
        """A method that reads a role that it did not declare."""

        name: ClassVar[str] = "peeks"
        source: ClassVar[str] = "a test"

        def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
            yield Fit((Phase(cross_entropy("forget"), {"forget": 8}),), 1)

    with pytest.raises(coun.CounError, match="reads forget rows but declares that it reads retain"):
        coun.unlearn(dropout_net(), split, Peeks(), data=small)


def test_a_loss_that_is_not_finite_stops_the_run(
    small: coun.Data, original: coun.Run, split: coun.Split, tmp_path: Path
) -> None:
    with pytest.raises(coun.CounError, match="loss became (nan|inf).*lower lr"):
        coun.unlearn(original, split, "finetune", lr=1e12, epochs=3, out=tmp_path / "x")
    assert not (tmp_path / "x" / "model.safetensors").exists()


def test_a_step_that_does_not_fit_into_memory_is_named(
    original: coun.Run, split: coun.Split, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 9 TiB")

    monkeypatch.setattr(torch.Tensor, "backward", fail)
    with pytest.raises(coun.CounError, match="a training step does not fit into the memory of cpu"):
        coun.unlearn(original, split, "finetune", batch_size=50, epochs=1)


def test_the_cost_counts_what_was_executed(original: coun.Run, split: coun.Split) -> None:
    rows, epochs = len(split.retain), 2
    costs = {
        name: coun.unlearn(original, split, method, epochs=epochs, **kw).record["cost"]
        for name, method, kw in [
            ("ft", "finetune", {}),
            ("coun", "coun", {}),
            ("cheap", "coun", {"second_view_gradient": False}),
        ]
    }
    image = original.data.views.evaluate(original.data.train.fetch(torch.tensor([0])))
    macs = 0

    def add(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal macs
        weights = module.weight.numel()
        macs += weights * (out.shape[-1] * out.shape[-2] if out.ndim == 4 else 1)

    hooks = [
        m.register_forward_hook(add)
        for m in original.model.modules()
        if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    original.model(image)
    for hook in hooks:
        hook.remove()
    one_pass = 2 * macs * rows * epochs
    assert costs["ft"]["flops"] == 3 * one_pass
    assert costs["coun"]["flops"] == 6 * one_pass
    assert costs["cheap"]["flops"] == 4 * one_pass
    assert costs["coun"]["samples_seen"] == rows * epochs
    assert costs["coun"]["forward_images"] == 2 * rows * epochs


def test_the_random_state_of_the_caller_is_unchanged(small: coun.Data) -> None:
    net = dropout_net()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    coun.train(small, net, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_last_epochs_can_learn_from_images_as_they_are(small: coun.Data) -> None:
    """A transform counts the batches that it changes at random, and those that it does not."""
    rows = len(small.train)  # of a batch; fewer rows are read to look at the network

    class Counted:
        random, exact = 0, 0

        def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
            self.random += len(images) == rows
            return images.float()

        def evaluate(self, images: Tensor) -> Tensor:
            self.exact += len(images) == rows
            return images.float()

    views = Counted()
    settings = {"epochs": 3, "batch_size": rows}
    augmented = coun.train(replace(small, views=views), "mlp", **settings, unaugmented_epochs=2)
    assert (views.random, views.exact) == (1, 2)
    # Both of its views are the same images, so the weights are those of a training without.
    assert weights_digest(augmented.model) == weights_digest(
        coun.train(replace(small, views=Counted()), "mlp", **settings).model
    )


def test_more_unaugmented_epochs_than_epochs_are_refused(small: coun.Data, tmp_path: Path) -> None:
    expected = "unaugmented_epochs of {} is 3, and it has 2 epochs; expected at most as many"
    with pytest.raises(coun.CounError, match=expected.format("retrain")):
        coun.train(small, "mlp", epochs=2, unaugmented_epochs=3, out=tmp_path / "original")
    original = coun.train(small, "mlp", epochs=7, unaugmented_epochs=5)
    split = coun.Split.random(small, 0.1)
    with pytest.raises(coun.CounError, match=expected.format("finetune")):  # 50/182 of 7 epochs
        coun.unlearn(original, split, "finetune", unaugmented_epochs=3, out=tmp_path / "unlearned")
    assert not list(tmp_path.iterdir())
    # The models of folds have fewer epochs than the Original, all of them unaugmented then.
    assert coun.prepare(original, folds=2, repeats=1, epochs=2).record.out_of_fold.epochs == 2
