"""Any method that trains on retain rows, carried out in a federation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic.dataclasses import dataclass as settings_dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Stage, Task
from coun.errors import CounError
from coun.federated.federation import KEY, Federation
from coun.federated.rounds import FEWEST, USE_ANOTHER, in_rounds
from coun.models import Classifier
from coun.models.ensemble import Layout
from coun.plans.contrastive_module import Contrasted
from coun.plans.method import FROZEN, Method


@settings_dataclass(frozen=True, config=FROZEN)
class FederatedMethod(Method):
    """Base class of methods that exist in a federation only.

    >>> from coun.federated import catalogue
    >>> sorted(catalogue()), issubclass(catalogue()["pgd"], FederatedMethod)
    (['fed_eraser', 'pgd'], True)
    """

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        raise CounError(
            f"{self.name} works in a federation only; start from a run that was trained with "
            "clients (coun train --clients), or choose another method"
        )

    def check_clients(self, federation: Federation, data: Data, split: Split | None) -> None:
        """Refuse a request that does not fit the clients, see `Method.check`. Raises: CounError."""

    def federated_plan(
        self, model: nn.Module, task: Task, federation: Federation
    ) -> Iterator[Stage]:
        """Yield the stages that turn *model* into the unlearned model, as `Method.plan` does."""
        raise NotImplementedError


@dataclass(frozen=True)
class Federated(Method):
    """A method carried out in a federation.

    Edits of weights are made by the server, and training stages become rounds of local training
    on the rows that every client still holds: `Federated(NoT(...), ...)` is NoT as published.
    The name remains that of the method, and the settings tell that it was federated.

    Args:
        method: a method that reads retain rows only, or a `FederatedMethod`.
        federation: who holds which rows, and how long a round is.

    Raises: CounError for a method that cannot be federated.

    >>> from coun.methods import make
    >>> federated = Federated(make("not"), Federation(clients=4))
    >>> federated.name, federated.federation.clients
    ('not', 4)
    """

    method: Method
    federation: Federation

    COPIED: ClassVar[tuple[str, ...]] = (
        *("name", "source", "reads", "trains", "exact", "trains_from_scratch", "needs_original"),
        *("edits_first", "changes_inputs", "changes_features", "prepares"),
        *("needs_out_of_fold", "contrast_of"),
    )

    def __post_init__(self) -> None:
        for key in self.COPIED:
            self.__dict__[key] = getattr(self.method, key)
        federated = isinstance(self.method, FederatedMethod)
        if not self.trains or (not federated and self.reads != {"retain"}):
            raise CounError(
                f"{self.name} does not train on retain rows alone, so the clients of a federation "
                f"cannot carry it out; {USE_ANOTHER}"
            )
        if isinstance(self.method, Contrasted) and self.method.module.has_state:
            raise CounError(
                f"{self.name} trains modules beside the model, which cannot be averaged, so it "
                "cannot be federated; use another loss, such as info_nce"
            )
        if self.method.needs_kept_epochs:
            raise CounError(
                f"{self.name} returns to an earlier epoch, and no federation keeps any; use "
                "finetune, not or retrain"
            )

    @classmethod
    def contrast_refusal(cls) -> str:
        return "it is in a federation already; add the module to the method inside"

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        self.method.check(classifier, data, split)
        self.layout(data)
        clients = self.federation.bound_to(data).clients_of(data)
        retained = clients if split is None else clients[split.rows(data, "retain")]
        if int(retained.bincount(minlength=1).max()) < FEWEST:
            raise CounError(
                f"none of the {self.federation.clients} clients has {FEWEST} rows to train on; "
                "use fewer clients, or more rows"
            )
        if isinstance(self.method, FederatedMethod):
            self.method.check_clients(self.federation, data, split)

    def layout(self, data: Data) -> Layout | None:
        if self.method.layout(data) is not None:
            raise CounError(f"{self.name} trains several networks and cannot be federated")
        return None

    def with_defaults_from(self, original: Mapping[str, Any]) -> Federated:
        return replace(self, method=self.method.with_defaults_from(original))

    def settings(self) -> dict[str, Any]:
        return {**self.method.settings(), KEY: self.federation.model_dump(mode="json")}

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        federation = self.federation.bound_to(task.data)
        if isinstance(self.method, FederatedMethod):
            yield from self.method.federated_plan(model, task, federation)
        else:
            yield from in_rounds(self.method.plan(model, task), task, federation, complete=True)
