"""Data-parallel processes: `torchrun` starts them, Lightning Fabric connects them."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from coun.errors import CounError


class Ranks:
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
    def current() -> Ranks:
        """The group that torchrun's environment describes, joined on the first call.

        Raises: CounError if there is one but Lightning Fabric is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Ranks()
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
        return Ranks(fabric)

    @property
    def leads(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This rank's part of one batch's *rows*; what does not divide evenly is left out."""
        if self.count == 1:
            return rows
        return rows[: len(rows) // self.count * self.count][self.rank :: self.count]

    def wrap(self, model: nn.Module) -> nn.Module:
        """*model* with averaged gradients."""
        return cast(nn.Module, self._fabric.setup_module(model)) if self._fabric else model

    def gather(self, local: Tensor) -> Tensor:
        """Every rank's (B, ...) rows as one (count * B, ...) tensor, with gradient.

        Each rank computes the same joint loss; as gradients are averaged over ranks and
        every rank's loss sends one back, the result is the joint batch's gradient.
        """
        if not self._fabric:
            return local
        parts = self._fabric.all_gather(local, sync_grads=True)
        return cast(Tensor, parts.flatten(0, 1))

    def wait(self) -> None:
        """Until every rank is here."""
        if self._fabric:
            self._fabric.barrier()

    @torch.no_grad()
    def agree(self, model: nn.Module) -> None:
        """Give every rank rank 0's buffers."""
        if self._fabric:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
