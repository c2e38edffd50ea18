"""Data-parallel processes, started by `torchrun` and connected by Lightning Fabric."""

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
    """The processes that share a run; usually there is only one.

    Each process, called a rank, trains on its share of every batch, and gradients are averaged,
    so that `batch_size` stays the size of the joint batch. The contrastive loss gathers the
    embeddings of all ranks with their gradients, and modules that are trained beside the model
    (the noise of UNSIR, the autoencoders of LAF) have their gradients averaged as well. BatchNorm
    uses the share of each rank; its running statistics are those of rank 0. Only rank 0 writes
    files and prints. All methods work in this way but for amnesiac unlearning, which replays a
    training run and is refused.

    >>> ProcessGroup().count, ProcessGroup().is_main
    (1, True)
    """

    def __init__(self, fabric: Any = None) -> None:
        self._fabric = fabric
        self.rank: int = fabric.global_rank if fabric else 0
        self.count: int = fabric.world_size if fabric else 1

    @staticmethod
    @cache
    def current() -> ProcessGroup:
        """Return the group that torchrun describes in the environment; the first call joins it.

        Raises: CounError if there are several processes but Lightning Fabric is not installed,
            or if the environment describes no group.
        """
        size = os.environ.get("WORLD_SIZE", "1")
        if size in ("", "0", "1"):
            return ProcessGroup()
        if not size.isdecimal() or not {"RANK", "MASTER_ADDR"} <= os.environ.keys():
            raise CounError(
                f"the environment has WORLD_SIZE={size} but was not made by torchrun, which sets "
                "RANK and MASTER_ADDR as well; start coun with torchrun, or unset WORLD_SIZE"
            )
        try:
            from lightning_fabric import Fabric
            from lightning_fabric.strategies.ddp import DDPStrategy
        except ImportError as error:
            raise CounError(
                "several processes need Lightning Fabric; run pip install 'coun[parallel]'"
            ) from error
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        each = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        nodes = int(os.environ["WORLD_SIZE"]) // each
        # Buffers are not broadcast before each forward pass: that of CoUn's second view would
        # overwrite what the backward pass of the first view still needs.
        strategy = DDPStrategy(broadcast_buffers=False)
        fabric = Fabric(accelerator=kind, devices=each, num_nodes=nodes, strategy=strategy)
        fabric.launch()
        atexit.register(torch.distributed.destroy_process_group)
        return ProcessGroup(fabric)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def shard(self, slots: Tensor) -> Tensor:
        """Return this rank's part of a batch; rows that do not divide evenly are left out."""
        if self.count == 1:
            return slots
        return slots[: len(slots) // self.count * self.count][self.rank :: self.count]

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return *model* with averaged gradients, if any part of it is trained."""
        if not self._fabric or not any(p.requires_grad for p in model.parameters()):
            return model
        return cast(nn.Module, self._fabric.setup_module(model))

    def keep_head_in_graph(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return *features*, connected to the head by a gradient of zeros.

        Fabric's averaging waits for the gradient of every parameter, and a loss of features alone
        gives the head none.
        """
        return features + 0 * logits.sum() if self._fabric else features

    def average(self, modules: Iterable[nn.Module]) -> None:
        """Average the gradients of *modules* that are trained along with the model."""
        for parameter in (p for m in modules if self._fabric for p in m.parameters()):
            if parameter.grad is not None:
                parameter.grad = self._fabric.all_reduce(parameter.grad, reduce_op="mean")

    def mean(self, numbers: list[float]) -> list[float]:
        """Return the mean over ranks of each of *numbers*; every rank passes equally many."""
        if not self._fabric or not numbers:
            return numbers
        local = torch.tensor(numbers, dtype=torch.float64, device=self._fabric.device)
        return cast(list[float], self._fabric.all_reduce(local, reduce_op="mean").tolist())

    def first(self, find: Callable[[], T]) -> T:
        """Call *find* on rank 0 only, and return its result on every rank."""
        result = find() if self.is_main else None
        return cast(T, self._fabric.broadcast(result) if self._fabric else result)

    def gather(self, local: Tensor) -> Tensor:
        """Join the rows (B, ...) of every rank to one tensor (count * B, ...), with gradient.

        Each rank computes the same joint loss. Gradients are averaged over ranks, and the loss of
        every rank sends one back, so the result is the gradient of the joint batch.
        """
        if not self._fabric:
            return local
        parts = self._fabric.all_gather(local, sync_grads=True)
        return cast(Tensor, parts.flatten(0, 1))

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        if self._fabric:
            self._fabric.barrier()

    @torch.no_grad()
    def sync_buffers(self, model: nn.Module) -> None:
        """Copy the buffers of rank 0 to every rank."""
        if self._fabric:
            for buffer in model.buffers():
                torch.distributed.broadcast(buffer, 0)
