"""MSG: draw anew the weights that serve retain and forget rows alike, then fine-tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Phase, Stage, Task, batch_gradients
from coun.methods.projection import along
from coun.methods.prune import prunable
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.masks import top_k_masks
from coun.plans.method import FROZEN, LearningRate, LrFloor, Positive, RetainEpochs, Training


@dataclass(frozen=True, config=FROZEN)
class MSG(Training):
    """Draw again the weights with small gradients, and fine-tune the others slowly (MSG).

    Weights in which retain and forget gradients nearly cancel serve both sets alike. They are
    drawn anew, and fine-tuning on retain rows then teaches them what only these rows need, while
    the other weights move slowly.

    Formula: in every layer but the head the `fraction` of the weights with the smallest
        |G_retain - G_forget| is drawn anew (He, normal), where G is the sum of the gradients of
        batches, over all forget rows and equally many retain rows. Then CE(retain) is minimised,
        with the gradients of the weights that stayed multiplied by `slow`. With fraction 0 and slow
        1 the method is fine-tuning.
    Cost: one forward and one backward pass of every retain row in each epoch, and of twice as many
        rows as are forgotten before.
    Limits: a training too short to repair the new weights leaves all accuracies low. The
        contrastive module moves all weights at full speed. It needs the forget rows.
    Source: Masked Small Gradients, a submission to the NeurIPS 2023 unlearning competition and one
        of the two best methods of DeepUnlearn (Cadet et al., 2024, arXiv 2410.01276), and its code:
        5 epochs of SGD at 1e-3, batches of 64, a learning rate that rises for half of the run.
    Differences: the learning rate then falls along a cosine, in the code along a line. The code
        treats convolutions only, which leaves a transformer or a perceptron as it is.
    """

    name: ClassVar[str] = "msg"
    source: ClassVar[str] = "MSG, NeurIPS 2023 competition; Cadet et al., arXiv 2410.01276"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    edits_first: ClassVar[bool] = True

    epochs: RetainEpochs = Field(5)
    batch_size: Positive | None = Field(64, description="Retain rows per step.")
    lr: LearningRate = Field(1e-3)
    lr_floor: LrFloor = Field(0.0)
    warmup: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Fraction of the run in which the learning rate rises linearly from 0.",
    )
    fraction: float = Field(
        0.3, ge=0, lt=1, description="Share of the weights of each layer that is drawn anew."
    )
    slow: float = Field(
        0.1, ge=0, le=1, description="Factor of the gradients of the weights that stay."
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        weights = prunable(model, task.classifier.head)
        stay = staying(difference_of_gradients(task, size), weights, self.fraction)
        if self.fraction:
            yield Edit("draw weights anew", lambda m: draw_anew(m, stay))

        def term(context: BatchContext) -> Tensor:
            loss = cross_entropy("retain")(context)
            parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
            gradients = torch.autograd.grad(
                # The module's term may use the same forward pass, so its graph is kept.
                loss,
                list(parameters.values()),
                retain_graph=True,
                materialize_grads=True,
            )
            direction = [
                torch.where(stay[n], self.slow * g, g) if n in stay else g
                for n, g in zip(parameters, gradients, strict=True)
            ]
            return along(list(parameters.values()), direction, loss)

        slowed = cross_entropy("retain") if self.slow == 1 else Objective.of(term)
        yield self.fit(Phase(slowed, {"retain": size}))


def difference_of_gradients(task: Task, batch_size: int) -> dict[str, Tensor]:
    """Sum the gradients of retain batches, and subtract those of forget batches.

    Retain rows are drawn, as many as there are forget rows.
    """
    retain, count = task.indices("retain"), len(task.indices("forget"))
    order = torch.randperm(len(retain), generator=task.seeds.torch("retain rows"))
    part = task.define("retain rows", retain[order[:count]])
    total: dict[str, Tensor] = {}
    for role, sign in ((part, 1), ("forget", -1)):
        for _, gradients in batch_gradients(task, role, batch_size=batch_size):
            for name, g in gradients.items():
                total[name] = total.get(name, torch.zeros_like(g)) + sign * g
    return total


def staying(
    gradients: Mapping[str, Tensor], weights: Mapping[str, Tensor], fraction: float
) -> dict[str, Tensor]:
    """Mark, layer by layer, all *weights* but the *fraction* with the smallest gradients.

    >>> g = {"w": torch.tensor([[0.1, -2.0, 3.0, 0.2]])}
    >>> staying(g, g, 0.5)["w"].tolist()
    [[False, True, True, False]]
    """
    masks: dict[str, Tensor] = {}
    for name, weight in weights.items():
        count = weight.numel() - round(fraction * weight.numel())
        masks |= top_k_masks({name: gradients[name]}, count)
    return masks


@torch.no_grad()
def draw_anew(model: nn.Module, stay: Mapping[str, Tensor]) -> None:
    """Draw the weights outside of the masks *stay* anew (He, normal, fan out), in place."""
    for name, mask in stay.items():
        weight = model.get_parameter(name)
        fresh = nn.init.kaiming_normal_(
            torch.empty(weight.shape), mode="fan_out", nonlinearity="relu"
        )
        weight.copy_(torch.where(mask.to(weight.device), weight, fresh.to(weight)))
