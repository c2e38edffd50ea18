"""Data-parallel processes: `torchrun` starts them, Lightning Fabric connects them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from coun.errors import CounError

T = TypeVar("T")


class ProcessGroup:
    """The equal processes that share a run; usually just this one.

    Each rank trains on its share of every batch and gradients are averaged, so
    `batch_size` stays the size of the joint batch. BatchNorm uses each rank's own share;
    its running statistics are rank 0's. Rank 0 alone writes files and prints.
    """

    def __init__(self, fabric: Any = None) -> None:
        self._fabric = fabric
        self.rank: int = fabric.global_rank if fabric else 0
        self.count: int = fabric.world_size if fabric else 1

    @staticmethod
    @cache
    def current() -> ProcessGroup:
        """The group that torchrun's environment describes, joined on the first call.

        Raises: CounError if there is one but Lightning Fabric is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return ProcessGroup()
        try:
            from lightning_fabric import Fabric
            from lightning_fabric.strategies.ddp import DDPStrategy
        except ImportError as error:
            raise CounError(
                "several processes need Lightning Fabric; pip install 'coun[parallel]'"
            ) from error
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        each = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        nodes = int(os.environ["WORLD_SIZE"]) // each
        # Buffers are not broadcast before each forward: CoUn's second view would overwrite
        # what the first one's backward still needs.
        strategy = DDPStrategy(broadcast_buffers=False)
        fabric = Fabric(accelerator=kind, devices=each, num_nodes=nodes, strategy=strategy)
        fabric.launch()
        atexit.register(torch.distributed.destroy_process_group)
        return ProcessGroup(fabric)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def shard(self, rows: Tensor) -> Tensor:
        """This rank's part of one batch's *rows*; what does not divide evenly is left out."""
        if self.count == 1:
            return rows
        return rows[: len(rows) // self.count * self.count][self.rank :: self.count]

    def wrap(self, model: nn.Module) -> nn.Module:
        """*model* with averaged gradients, if any of it is to be trained."""
        if not self._fabric or not any(p.requires_grad for p in model.parameters()):
            return model
        return cast(nn.Module, self._fabric.setup_module(model))

    def keep_head_in_graph(self, features: Tensor, logits: Tensor) -> Tensor:
        """*features*, through which the head gets a gradient too, of zeros.

        Fabric's averaging waits for every parameter's; a loss of features alone has none there.
        """
        return features + 0 * logits.sum() if self._fabric else features

    def average(self, modules: Iterable[nn.Module]) -> None:
        """Average the gradients of *modules* that are trained beside the model."""
        for parameter in (p for m in modules if self._fabric for p in m.parameters()):
            if parameter.grad is not None:
                parameter.grad = self._fabric.all_reduce(parameter.grad, reduce_op="mean")

    def mean(self, numbers: list[float]) -> list[float]:
        """The mean over ranks of each of *numbers*, of which every rank has as many."""
        if not self._fabric or not numbers:
            return numbers
        own = torch.tensor(numbers, dtype=torch.float64, device=self._fabric.device)
        return cast(list[float], self._fabric.all_reduce(own, reduce_op="mean").tolist())

    def first(self, find: Callable[[], T]) -> T:
        """What *find* returns to rank 0, which alone calls it."""
        found = find() if self.is_main else None
        return cast(T, self._fabric.broadcast(found) if self._fabric else found)

    def gather(self, local: Tensor) -> Tensor:
        """Every rank's (B, ...) rows as one (count * B, ...) tensor, with gradient.

        Each rank computes the same joint loss; as gradients are averaged over ranks and
        every rank's loss sends one back, the result is the joint batch's gradient.
        """
        if not self._fabric:
            return local
        parts = self._fabric.all_gather(local, sync_grads=True)
        return cast(Tensor, parts.flatten(0, 1))

    def barrier(self) -> None:
        """Until every rank is here."""
        if self._fabric:
            self._fabric.barrier()

    @torch.no_grad()
    def sync_buffers(self, model: nn.Module) -> None:
        """Give every rank rank 0's buffers."""
        if self._fabric:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
