"""What every kind of forget request offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from torch import Tensor

from coun.data.data_set import Data
from coun.errors import CounError

Share = Annotated[float, Field(gt=0, lt=1)]


class ModelPredictions(NamedTuple):
    """What one trained model answers to the N training rows.

    Args:
        logits: (N, K).
        features: inputs of the last linear layer, (N, D).
        trained_on: (N,) bool, the rows that the model was trained on.

    >>> trained_on = torch.tensor([True, True, False, False])
    >>> half = ModelPredictions(torch.zeros(4, 3), torch.zeros(4, 8), trained_on)
    >>> half.logits[~half.trained_on].shape  # answers to rows that the model has not seen
    torch.Size([2, 3])
    """

    logits: Tensor
    features: Tensor
    trained_on: Tensor


class Request(BaseModel, ABC):
    """A forget request: in words that fit any data, until `choose` applies them to one.

    A kind of your own is a subclass with a `kind`; its fields are its settings. It is registered
    as an entry point of the group `coun.requests`, or named `./file.py:Class`.

    >>> import coun
    >>> from coun.data.requests import parse
    >>> request = parse({"kind": "class", "name": "3"})  # as a record or a config says it
    >>> request.describe(), len(coun.Split.of(coun.load("digits", limit=100), request).forget)
    ("class '3'", 10)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Any
    _code: str = ""  # what the user called the class, where it is not installed

    def imported_from(self, code: str) -> Self:
        """Return the same request, whose record and copies in other processes name *code*."""
        request = self.model_copy()
        request._code = code
        return request

    @model_serializer(mode="wrap")
    def _record(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        record: dict[str, Any] = fields(self)
        return {**record, "kind": self._code} if self._code and "kind" in record else record

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle a request of imported code by its record, because others must import it too."""
        return (_unpickled, (self.model_dump(),)) if self._code else super().__reduce_ex__(protocol)

    @property
    def among_remaining(self) -> bool:
        """Whether rows that were forgotten before are left out of what `choose` gets."""
        return False

    @property
    def half_models(self) -> int:
        """How many models, each trained on a random half of the rows, `score` looks at."""
        return 0

    @property
    def needs_original(self) -> bool:
        """Whether `score` looks at the Original."""
        return False

    @property
    def needs_scores(self) -> bool:
        """Whether `choose` takes scores of the rows."""
        return self.needs_original or self.half_models > 0

    @property
    def drawn(self) -> bool:
        """Whether the rows are a uniform random sample."""
        return False

    @abstractmethod
    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        """Choose the rows to forget.

        Args:
            data: the rows to choose from.
            seed: of a random draw.
            scores: (N,) numbers, one per training row, for a request that `needs_scores`.

        Returns: (N,) bool over `data.train`.
        """

    def numbers(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        """Numbers of the rows to forget, with those that the source no longer has."""
        return data.train.numbers[self.choose(data, seed=seed, scores=scores)]

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what the request names, for tables and messages."""

    def score(self, predictions: Sequence[ModelPredictions], data: Data) -> np.ndarray:
        """Score the rows by what models answer; (N,) float64."""
        raise CounError(f"a {self.kind} request does not look at models; leave out scores")

    def scores_from(self, scores: Any) -> Any:
        """Pick what `choose` takes from *scores*: numbers per row, or a mapping from requests.

        Raises: CounError if the request needs scores and there are none.
        """
        if not self.needs_scores:
            return None
        if isinstance(scores, Mapping):
            scores = scores.get(self)
        if scores is None:
            raise CounError(
                f"a {self.kind} request needs a score per training row; pass scores=..., such as "
                "those of coun.runs.request_scores"
            )
        return scores

    def completed(self, data: Data, seed: int) -> Request:
        """Return the request as a record keeps it: with the seed of a draw and full names."""
        return self

    def in_stages(self) -> tuple[Request, ...]:
        """The request as a series of requests, each of which includes those before it."""
        return (self,)


def _unpickled(record: dict[str, Any]) -> Request:
    from coun.data.requests import parse

    return parse(record, trust=True)  # the process that wrote the record had imported the code


def rows_of_share(total: int, fraction: float) -> int:
    """Number of rows that are *fraction* of *total*.

    Raises: CounError unless at least one row is forgotten and one retained.
    """
    count = round(total * fraction)
    if count in (0, total):
        left = "forgets nothing" if count == 0 else "leaves nothing to retain"
        raise CounError(
            f"forget fraction {fraction} of {total} rows {left}; "
            f"expected between {1 / total:.3g} and {1 - 1 / total:.3g}"
        )
    return count


def mask_of(rows: Any, total: int) -> Tensor:
    """(total,) bool, True at the positions *rows*."""
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.as_tensor(rows)] = True
    return mask
