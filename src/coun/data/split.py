"""Which training rows must go, which stay: index sets, checked, hashed and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coun.data.examples import Data
from coun.errors import CounError, unknown


@dataclass(frozen=True, eq=False)
class Split:
    """A forget request, resolved against one data set.

    Args:
        forget, retain: row numbers in the source's own training order (the `index` of the
            examples), sorted, (n,) int64; disjoint, together all of `data.train`.
        scenario: how it was asked for, e.g. `{"kind": "random", "fraction": 0.1}`.
        seed: the seed of the draw, None where nothing was drawn.
        forget_class: the label that was forgotten whole; the test accuracy then leaves it out.

    Make one with `Split.random`, `Split.by_class` or `Split.by_index`.
    """

    forget: Tensor
    retain: Tensor
    scenario: dict[str, Any]
    seed: int | None = None
    forget_class: int | None = None

    @classmethod
    def random(cls, data: Data, fraction: float = 0.1, *, seed: int = 0) -> Split:
        """Forget a uniform random *fraction* of the training rows, 0 < fraction < 1."""
        total = len(data.train)
        if not 0 < fraction < 1:
            raise CounError(f"forget fraction is {fraction}; expected a number between 0 and 1")
        count = round(total * fraction)
        if count in (0, total):
            left = "forgets nothing" if count == 0 else "leaves nothing to retain"
            raise CounError(
                f"forget fraction {fraction} of {total} rows {left}; "
                f"expected between {1 / total:.3g} and {1 - 1 / total:.3g}"
            )
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        chosen = torch.zeros(total, dtype=torch.bool)
        chosen[order[:count]] = True
        return cls._of(data, chosen, {"kind": "random", "fraction": fraction}, seed=seed)

    @classmethod
    def by_class(cls, data: Data, name: str | int) -> Split:
        """Forget every training row of one class, given by name or label."""
        text = str(name)
        if text in data.classes:
            label = data.classes.index(text)
        elif text.isdecimal() and int(text) < len(data.classes):
            label = int(text)
        else:
            raise unknown("class", text, data.classes)
        chosen = data.train.labels.cpu() == label
        if not chosen.any():
            raise CounError(f"class '{data.classes[label]}' has no training row; nothing to forget")
        scenario = {"kind": "class", "name": data.classes[label]}
        return cls._of(data, chosen, scenario, forget_class=label)

    @classmethod
    def by_index(cls, data: Data, rows: Iterable[int] | Tensor) -> Split:
        """Forget the training rows whose `index` is named, each at most once."""
        wanted = torch.as_tensor(list(rows) if not isinstance(rows, Tensor) else rows)
        if wanted.numel() == 0:
            raise CounError("the forget request names no row; expected at least one index")
        if wanted.is_floating_point() or wanted.dtype == torch.bool:
            raise CounError(f"forget indices have type {wanted.dtype}; expected integers")
        wanted, times = torch.unique(wanted.flatten().long(), return_counts=True)
        if (times > 1).any():
            row = int(wanted[times > 1][0])
            raise CounError(f"forget index {row} is named {int(times.max())} times; expected once")
        chosen = torch.isin(data.train.index, wanted)
        strange = wanted[~torch.isin(wanted, data.train.index)]
        if len(strange):
            kept = f" that --limit {data.limit} kept" if data.limit else ""
            raise CounError(
                f"forget index {int(strange[0])} is not a training row{kept}; expected indices "
                f"between {int(data.train.index.min())} and {int(data.train.index.max())}, "
                f"{len(data.train)} rows"
            )
        return cls._of(data, chosen, {"kind": "index", "count": len(wanted)})

    @classmethod
    def _of(cls, data: Data, chosen: Tensor, scenario: dict[str, Any], **kw: Any) -> Split:
        index = data.train.index
        split = cls(index[chosen].sort().values, index[~chosen].sort().values, scenario, **kw)
        split.check(data)
        return split

    def check(self, data: Data) -> None:
        """Raise CounError unless forget and retain are disjoint, complete and not empty."""
        both = torch.cat([self.forget, self.retain])
        if len(self.forget) == 0 or len(self.retain) == 0:
            empty = "forget" if len(self.forget) == 0 else "retain"
            raise CounError(f"the {empty} set is empty; expected at least one row in each")
        if len(both) != len(set(both.tolist())):
            raise CounError("forget and retain share rows; expected disjoint sets")
        if not torch.equal(both.sort().values, data.train.index.sort().values):
            raise CounError(
                f"forget ({len(self.forget)}) and retain ({len(self.retain)}) together are not the "
                f"{len(data.train)} training rows; was the split made for other data?"
            )

    def rows(self, data: Data, role: str) -> Tensor:
        """Positions in `data.train` of the rows of *role* ('retain' or 'forget'), in file order."""
        return torch.isin(data.train.index, getattr(self, role)).nonzero().flatten()

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted forget and retain rows."""
        digest = hashlib.sha256()
        for part in (self.forget, self.retain):
            digest.update(str(len(part)).encode() + part.numpy().tobytes())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """A record that `from_json` turns back into this split; retain follows from the data."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "forget_class": self.forget_class,
            "forget_count": len(self.forget),
            "retain_count": len(self.retain),
            "sha256": self.digest,
            "forget": self.forget.tolist(),
        }

    @classmethod
    def from_json(cls, data: Data, record: dict[str, Any]) -> Split:
        """The split of *record* on *data*; refuses a record that other data made."""
        chosen = torch.isin(data.train.index, torch.tensor(record["forget"], dtype=torch.int64))
        split = cls._of(
            data,
            chosen,
            record["scenario"],
            seed=record["seed"],
            forget_class=record["forget_class"],
        )
        if split.digest != record["sha256"]:
            raise CounError(
                f"the recorded split has hash {record['sha256'][:12]} but this data gives "
                f"{split.digest[:12]}; the data or its order changed since the run"
            )
        return split
