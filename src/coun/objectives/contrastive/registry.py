"""The contrastive losses by name, each with its settings and the term that it adds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.errors import unknown
from coun.models import Classifier
from coun.objectives.context import BatchContext
from coun.objectives.contrastive.cross_view import Directions, info_nce_loss
from coun.objectives.contrastive.nt_xent import debiased_loss, moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss, sce_loss
from coun.objectives.contrastive.supcon import supcon_loss
from coun.objectives.objective import Objective
from coun.trust import Trust, import_extension, is_code

FROZEN = ConfigDict(extra="forbid")
Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0)]
Part = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=FROZEN)
class ContrastiveLoss:
    """Base class of losses between the penultimate features of views 0 and 1 of a retain batch.

    With data-parallel processes the loss is that of the joint batch. There is no projection head:
    the loss uses the features that the classifier reads, as in CoUn. The fields are settings.

    Class attributes:
        name: the name of the loss in `LOSSES`.
        source: the publication that the loss comes from.
    """

    name: ClassVar[str]
    source: ClassVar[str]

    second_view_gradient: bool = Field(
        True,
        description="Whether gradients flow through view 2. If false, view 2 is a constant target "
        "and a step costs 4 forward passes instead of 6.",
    )

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of embeddings a, b (N, D) of the two views, with labels (N,)."""
        raise NotImplementedError

    def state(
        self, teacher: Callable[[], Classifier], generator: torch.Generator
    ) -> tuple[Any, ...]:
        """Make the modules whose state the loss keeps from step to step."""
        return ()

    def objective(self, state: tuple[Any, ...] = ()) -> Objective:
        """Make the term, for phases that read role "retain"."""

        def term(context: BatchContext) -> Tensor:
            first = context.gather(context.outputs("retain", 0).features)
            second = context.outputs("retain", 1, grad=self.second_view_gradient).features
            labels = context.gather(context.labels("retain"))
            return self.loss(first, context.gather(second), labels)

        return Objective.of(term)


@dataclass(frozen=True, config=FROZEN)
class InfoNCE(ContrastiveLoss):
    """Cross-view InfoNCE in both directions, the loss of CoUn."""

    name: ClassVar[str] = "info_nce"
    source: ClassVar[str] = "CoUn, Khalil et al., NeurIPS 2025, Eq. 1-2"
    temperature: Temperature = 0.1
    directions: Directions = "sum"

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return info_nce_loss(a, b, temperature=self.temperature, directions=self.directions)


@dataclass(frozen=True, config=FROZEN)
class NTXent(ContrastiveLoss):
    """NT-Xent, with 2N-2 negatives from both views."""

    name: ClassVar[str] = "nt_xent"
    source: ClassVar[str] = "SimCLR, Chen et al., ICML 2020"
    temperature: Temperature = 0.5

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return nt_xent_loss(a, b, temperature=self.temperature)


@dataclass(frozen=True, config=FROZEN)
class Debiased(ContrastiveLoss):
    """NT-Xent with a correction for negatives of the same class."""

    name: ClassVar[str] = "debiased"
    source: ClassVar[str] = "Chuang et al., NeurIPS 2020"
    temperature: Temperature = 0.5
    prior: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return debiased_loss(a, b, temperature=self.temperature, prior=self.prior)


@dataclass(frozen=True, config=FROZEN)
class SupCon(ContrastiveLoss):
    """Supervised contrastive loss: all rows of the class are positives."""

    name: ClassVar[str] = "supcon"
    source: ClassVar[str] = "Khosla et al., NeurIPS 2020 (L_out, no tau/base factor)"
    temperature: Temperature = 0.1

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return supcon_loss(a, b, labels, temperature=self.temperature)


@dataclass(frozen=True, config=FROZEN)
class BarlowTwins(ContrastiveLoss):
    """Barlow Twins: the cross-correlation of the views should be the identity."""

    name: ClassVar[str] = "barlow_twins"
    source: ClassVar[str] = "Zbontar et al., ICML 2021"
    off_diagonal: Amount = 0.005

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return barlow_twins_loss(a, b, off_diagonal=self.off_diagonal)


@dataclass(frozen=True, config=FROZEN)
class VICReg(ContrastiveLoss):
    """VICReg: invariance, variance and covariance of the views."""

    name: ClassVar[str] = "vicreg"
    source: ClassVar[str] = "Bardes et al., ICLR 2022"
    invariance: Amount = 25.0
    variance: Amount = 25.0
    covariance: Amount = 1.0

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return vicreg_loss(
            a, b, invariance=self.invariance, variance=self.variance, covariance=self.covariance
        )


@dataclass(frozen=True, config=FROZEN)
class SCE(ContrastiveLoss):
    """Similarity contrastive estimation: soft targets from the similarities within view 2."""

    name: ClassVar[str] = "sce"
    source: ClassVar[str] = "Denize et al., WACV 2023 (queue-free)"
    temperature: Temperature = 0.1
    target_temperature: Temperature = 0.05
    positive: Part = 0.5

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        return sce_loss(
            a,
            b,
            temperature=self.temperature,
            target_temperature=self.target_temperature,
            positive=self.positive,
        )


@dataclass(frozen=True, config=FROZEN)
class CO2(ContrastiveLoss):
    """CO2: InfoNCE with a regulariser for the consistency of the views' similarities."""

    name: ClassVar[str] = "co2"
    source: ClassVar[str] = "Wei et al., ICLR 2021 (queue-free)"
    temperature: Temperature = 0.1
    consistency: Amount = 1.0
    consistency_temperature: Temperature = 0.05

    def loss(self, a: Tensor, b: Tensor, labels: Tensor) -> Tensor:
        info_nce = info_nce_loss(a, b, temperature=self.temperature)
        return info_nce + self.consistency * co2_loss(
            a, b, temperature=self.consistency_temperature
        )


class Memory(nn.Module):
    """MoCo's momentum encoder, and its queue of keys (K, D) with rows of length 1."""

    queue: Tensor
    place: Tensor

    def __init__(self, encoder: Classifier, keys: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = encoder
        rows = torch.randn(keys, encoder.in_features, generator=generator)
        self.register_buffer("queue", F.normalize(rows, dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def follow(self, model: nn.Module, momentum: float) -> None:
        """Move the encoder's parameters towards those of *model*.

        Its buffers are not moved, because its own forward passes update them.
        """
        pairs = zip(self.encoder.parameters(), model.parameters(), strict=True)
        for encoder_parameter, parameter in pairs:
            encoder_parameter.lerp_(parameter, 1 - momentum)

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replace the oldest keys by *keys* (N, D); of more than K keys, only the last K count."""
        keys = F.normalize(keys.float(), dim=1)[-len(self.queue) :]
        where = (self.place + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[where] = keys
        self.place.copy_((self.place + len(keys)) % len(self.queue))


@dataclass(frozen=True, config=FROZEN)
class MoCo(ContrastiveLoss):
    """MoCo v2: the negatives come from a queue of keys of a momentum encoder.

    Shuffled BatchNorm, which needs several devices, and the MLP head of v2 are left out.
    """

    name: ClassVar[str] = "moco"
    source: ClassVar[str] = "MoCo v2, Chen et al., 2020; momentum and queue of He et al., CVPR 2020"
    temperature: Temperature = 0.2
    momentum: Part = 0.999
    keys: Annotated[int, Field(gt=0)] = 4096

    def state(
        self, teacher: Callable[[], Classifier], generator: torch.Generator
    ) -> tuple[Any, ...]:
        return (Memory(teacher(), self.keys, generator),)

    def objective(self, state: tuple[Any, ...] = ()) -> Objective:
        (memory,) = state

        def term(context: BatchContext) -> Tensor:
            memory.follow(context.model, self.momentum)
            memory.encoder.train()
            query = context.outputs("retain", 0).features
            key = context.outputs("retain", 1, model=memory.encoder).features
            value = moco_loss(query, key, memory.queue.clone(), temperature=self.temperature)
            memory.enqueue(context.gather(key))
            return value

        return Objective.of(term)


LOSSES: dict[str, type[ContrastiveLoss]] = {
    kind.name: kind
    for kind in (InfoNCE, NTXent, MoCo, Debiased, SupCon, BarlowTwins, VICReg, SCE, CO2)
}


def find_loss(name: str, *, trust: Trust) -> type[ContrastiveLoss]:
    """Return the contrastive loss called *name*.

    Args:
        name: a name in `LOSSES`, or `package.module:Class` or `./file.py:Class`, a subclass of
            `ContrastiveLoss` with a name of its own.
        trust: whether such a class may be imported: True for a name that the user gave.

    Raises: CounError for an unknown loss, or a class that is not trusted, is not a loss, or has the
        name of another loss.

    >>> find_loss("info_nce", trust=False).__name__
    'InfoNCE'
    """
    if name in LOSSES:
        return LOSSES[name]
    if not is_code(name):
        raise unknown("contrastive loss", name, [*LOSSES, "package.module:Class"])
    kind: type[ContrastiveLoss] = import_extension(
        name,
        "contrastive loss",
        "a subclass of coun.objectives.contrastive.registry.ContrastiveLoss with a name",
        fits=lambda kind: (
            isinstance(kind, type)
            and issubclass(kind, ContrastiveLoss)
            and isinstance(vars(kind).get("name"), str)
        ),
        catalogue=LOSSES,
        trust=trust,
    )
    return kind
