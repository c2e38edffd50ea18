"""EU-k: train the last k blocks anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.methods.cf_k import CFk, tail
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class EUk(CFk):
    """Re-initialise the last k blocks and the head and train them in full; freeze the rest (EU-k).

    The new weights come from a fresh model; where no factory is known, from each layer's
    `reset_parameters`. Blocks are those of `cf_k`.

    Source: Goel et al., 2022 (exact unlearning-k), with the recipe of the original training.
        SCRUB's code puts back the *original's* initial weights, which no longer exist for a
        bare model; here they are drawn anew.
    """

    name: ClassVar[str] = "eu_k"

    epochs: Positive | None = Field(
        None, description="passes over the retain set; open: as many as the original's"
    )
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "multistep", description="multistep x0.1 at 50% and 75%; cosine; constant"
    )

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        return replace(
            super().with_defaults_from(original), epochs=self.epochs or original.get("epochs", 182)
        )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        prefixes = tail(model, task.classifier.head, self.k)
        if task.build is None:
            resettable(model, prefixes)  # refuses before any work is done
            yield Edit("reset the last blocks", lambda m: _reset(m, prefixes))
        else:
            state = task.fresh(self.name).state_dict()
            fresh = {key: value for key, value in state.items() if key.startswith(prefixes)}
            yield Edit("re-initialise the last blocks", lambda m: _assign(m, fresh))
        yield self.train_tail(model, prefixes)


def resettable(model: nn.Module, prefixes: tuple[str, ...]) -> list[nn.Module]:
    """The modules under *prefixes* that own parameters, each with a `reset_parameters`.

    Raises: CounError for one without.
    """
    found = []
    for name, module in model.named_modules():
        if (
            f"{name}.".startswith(prefixes)
            and next(module.parameters(recurse=False), None) is not None
        ):
            if not callable(getattr(module, "reset_parameters", None)):
                raise CounError(
                    f"module '{name}' ({type(module).__name__}) cannot be re-initialised: it has "
                    "no reset_parameters(); pass the model's factory (build=...), or a smaller k"
                )
            found.append(module)
    return found


def _reset(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    for module in resettable(model, prefixes):
        module.reset_parameters()  # type: ignore[operator]


def _assign(model: nn.Module, state: dict[str, Tensor]) -> None:
    model.load_state_dict(state, strict=False)
