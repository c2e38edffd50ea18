"""EU-k: train the last k blocks anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.methods.cf_k import CFk, tail
from coun.plans.method import FROZEN, LearningRate, Positive, Schedule


@dataclass(frozen=True, config=FROZEN)
class EUk(CFk):
    """Re-initialise the last k blocks and the head and train them fully; freeze the rest (EU-k).

    What the last layers know of the forget rows is thrown away, and they are trained again
    from fresh weights on retain rows only. Blocks are those of `cf_k`; the fresh weights come
    from a new model or, where no factory is known, from the `reset_parameters` of each layer.

    Formula: theta_k is drawn anew; then L = CE(retain), with gradients for the last k blocks and
        the head only.
    Cost: as many epochs as the Original was trained for, so as much as a Retrain by default. It
        saves only time in the backward pass.
    Limits: the frozen encoder still holds what it has learned of the forget rows, in spite of
        "exact" in the name of the publication.
    Source: Goel et al., 2022 (exact unlearning-k), with the recipe of the Original's training.
    Differences: SCRUB's code restores the *Original's* initial weights, which are not available for
        a bare model; here new ones are drawn. The code of Goel et al. keeps BatchNorm as it was.
    """

    name: ClassVar[str] = "eu_k"

    epochs: Positive | None = Field(
        None, description="Passes over the retain rows. Default: inherited from the Original."
    )
    lr: LearningRate = Field(0.1)
    schedule: Schedule = Field("multistep")

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        return replace(
            super().with_defaults_from(original), epochs=self.epochs or original.get("epochs", 182)
        )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        prefixes = tail(model, task.classifier.head, self.k)
        if task.build is None:
            resettable(model, prefixes)  # so that an error comes before any work is done
            yield Edit("reset the last blocks", lambda m: _reset(m, prefixes))
        else:
            state = task.fresh(self.name).state_dict()
            fresh = {key: value for key, value in state.items() if key.startswith(prefixes)}
            yield Edit("re-initialise the last blocks", lambda m: _assign(m, fresh))
        yield self.fit_tail(model, prefixes)


def resettable(model: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Module]:
    """Return the modules under *prefixes* that own parameters.

    Raises: CounError if one of them has no `reset_parameters`.
    """
    modules = []
    for name, module in model.named_modules():
        owns = next(module.parameters(recurse=False), None) is not None
        if not owns or not f"{name}.".startswith(prefixes):
            continue
        if not callable(getattr(module, "reset_parameters", None)):
            raise CounError(
                f"module '{name}' ({type(module).__name__}) cannot be re-initialised: it has "
                "no reset_parameters(); pass the model's factory (build=...), or a smaller k"
            )
        modules.append(module)
    return modules


def _reset(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    for module in resettable(model, prefixes):
        module.reset_parameters()  # type: ignore[operator]


def _assign(model: nn.Module, state: dict[str, Tensor]) -> None:
    model.load_state_dict(state, strict=False)
