"""How requests are to be fulfilled, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from coun.certificates import Check
from coun.errors import CounError
from coun.methods import Method, find, make
from coun.registry.baseline import Baseline
from coun.registry.costs import retrain_settings
from coun.registry.gates import Gates
from coun.runs.choice import AUTO, BUDGET, Choice, choose_method
from coun.runs.choosing import request_facts
from coun.trust import is_code

LOST = (
    "of the versions that led to the served one, neither a Retrain nor the first is kept for a "
    "method to start from"
)


class Fulfilled(BaseModel):
    """What `Registry.fulfil` did.

    Attributes:
        requests: their numbers.
        result: "FULFILLED", "FULFILLED_BY_RETRAINING" or "FAILED".
        version: the version that is served now.
        method, settings: what the new version was made with; of the last attempt if it failed.
        reason: why this method was chosen.
        checks: what the gates found, of the last attempt.
        attempts: the methods that were tried, in order.
        certificates: paths of the certificates, one for each request.
        next_step: what a person has to do now, in one sentence; empty if nothing.
    """

    model_config = ConfigDict(frozen=True)

    requests: tuple[int, ...]
    result: str
    version: int
    method: str
    settings: dict[str, Any]
    reason: str
    checks: tuple[Check, ...]
    attempts: tuple[str, ...]
    certificates: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True)
class Plan:
    """How to fulfil requests.

    Args:
        method: a method, which may be `package.module:Class` or `./file.py:Class`, or "auto" for
            the rule of `choose_method`.
        settings: of the method.
        budget: what "auto" may cost, as a share of a Retrain.
        gates: what a version must show.
        seed: of the method and the audit.
        page: whether to write the page of the audit beside the certificate.
        retrains: run folders of Retrains without the rows, for the audit.

    >>> from coun.registry.gates import Gates
    >>> plan = Plan("out_of_fold", {"epochs": 3}, gates=Gates(min_test_accuracy=90))
    >>> plan.budget  # which only the method "auto" reads
    0.3
    """

    method: str = AUTO
    settings: Mapping[str, Any] = field(default_factory=dict)
    budget: float = BUDGET
    gates: Gates = field(default_factory=Gates)
    seed: int = 0
    page: bool = True
    retrains: tuple[Path, ...] = ()

    def choices(self, baseline: Baseline) -> list[Choice]:
        """The methods to try, in order; the last one is a Retrain.

        Raises: CounError for an unknown method or setting, or if nothing is left to start from.
        """
        if self.method != AUTO:
            made = make(self.method, dict(self.settings), trust=True)
            chosen = Choice(made.name, dict(self.settings), "the user named it")
            if made.exact:
                return [chosen]
            if not made.name.isidentifier():
                raise CounError(
                    f"the method {self.method} calls itself '{made.name}'; expected letters, "
                    "digits and underscores"
                )
            if baseline.number is None:
                raise CounError(
                    f"{LOST}, and training that goes on from another version would add up; use "
                    "--method retrain, which starts afresh"
                )
            return [chosen, Choice("retrain", {}, f"{made.name} did not pass the gates")]
        if self.settings:
            raise CounError("--set needs --method NAME, because auto chooses the settings")
        if baseline.number is None:
            return [Choice("retrain", {}, f"{LOST}; a Retrain starts afresh")]
        start, split = baseline.start()
        facts = request_facts(start, split, start.record.original or retrain_settings(start))
        choices: list[Choice] = []
        while not choices or choices[-1].name != "retrain":
            exclude = [choice.name for choice in choices]
            choices.append(choose_method(**facts, budget=self.budget, exclude=exclude))
        return choices

    def kind(self, name: str) -> type[Method]:
        """The class of the method *name* of a choice, also of one that the user named by code."""
        return find(self.spelled(name), trust=True)

    def spelled(self, name: str) -> str:
        """What finds the method *name* of a choice: the name, or the code that the user named."""
        by_code = is_code(self.method) and find(self.method, trust=True).name == name
        return self.method if by_code else name

    def to_json(self) -> dict[str, Any]:
        """What decides whether an interrupted fulfilment is continued."""
        return {
            "method": self.method,
            "settings": {key: str(value) for key, value in self.settings.items()},
            "budget": self.budget,
            "min_test_accuracy": self.gates.min_test_accuracy,
            "max_remembered": self.gates.max_remembered,
            "max_retain_change": self.gates.max_retain_change,
            "retrains": [str(folder) for folder in self.retrains],
            "seed": self.seed,
        }
