"""The rows of a split: their roles, where they lie in the data, and what is recorded of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests import Class, Random, Request
from coun.data.subsets import stratified
from coun.errors import CounError, counted

ContentKind = Literal["random", "class", "listed", "mixed"]

CALIBRATION_SEED = 0  # fixed, so that all methods and seeds leave the same test rows to measure on


def no_rows() -> Tensor:
    """An empty list of row numbers."""
    return torch.zeros(0, dtype=torch.int64)


def union(*numbers: Tensor) -> Tensor:
    """All given numbers in order, each once, (n,) int64."""
    return torch.cat(numbers).unique()  # type: ignore[no-untyped-call, no-any-return]


def without(numbers: Tensor, removed: Tensor) -> Tensor:
    """Those of *numbers* (n,) that are not in *removed*, in their order."""
    return numbers[~torch.isin(numbers, removed)]


@dataclass(frozen=True, eq=False, repr=False)
class SplitRows:
    """What a split holds, and all that is looked up in it.

    `coun.data.split.Split` describes the fields and makes splits from requests and records.
    """

    forget: Tensor
    retain: Tensor
    request: tuple[Request, ...] = ()
    earlier: Tensor = field(default_factory=no_rows)
    drawn: Tensor = field(default_factory=no_rows)
    held_out: Tensor = field(default_factory=no_rows)
    calibrated: Tensor = field(default_factory=no_rows)
    forgotten_classes: tuple[int, ...] = ()
    content_kind: ContentKind = "listed"
    forget_ids: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """A few lines for people: the request, and how many rows have which role.

        >>> import coun
        >>> coun.Split.random(coun.load("digits"), 0.1, seed=3)
        Split: 10% of the rows, drawn at random (seed 3)
          144 rows to forget, 144 of them new; 1,294 to retain
        """
        lines = [
            f"Split: {self.describe()}",
            f"  {len(self.forget):,} rows to forget, {len(self.new):,} of them new; "
            f"{len(self.retain):,} to retain",
        ]
        if self.forgotten_classes:
            labels = ", ".join(map(str, self.forgotten_classes))
            lines.append(f"  whole classes, by label: {labels}")
        if len(self.held_out):
            lines.append(f"  {len(self.held_out):,} test rows are left out of measurements")
        return "\n".join(lines)

    def check(self, data: Data) -> None:
        """Raise CounError unless this split fits *data*.

        Forget and retain are disjoint, neither is empty, and together they cover the training
        rows. Rows to forget may be deleted from the data; retained rows may not.
        """
        if len(self.forget) == 0 or len(self.retain) == 0:
            empty = "forget" if len(self.forget) == 0 else "retain"
            raise CounError(f"the {empty} set is empty; expected at least one row in each")
        if bool(torch.isin(self.forget, self.retain).any()):
            raise CounError("forget and retain share rows; expected disjoint sets")
        self.check_ids(data)
        numbers = data.train.numbers
        covered = torch.isin(numbers, torch.cat([self.forget, self.retain])).all()
        if not bool(covered and torch.isin(self.retain, numbers).all()):
            raise CounError(
                f"forget ({len(self.forget)}) and retain ({len(self.retain)}) do not fit the "
                f"{len(numbers)} training rows; was the split made for other data?"
            )
        lost_ids = lost_rows(data, self.forget)
        if lost_ids:
            raise CounError(
                f"the data lacks {counted(len(lost_ids), 'row')} of the run that the request does "
                f"not name, '{lost_ids[0]}' first; restore what is missing, or name it in the "
                "request too"
            )

    def check_ids(self, data: Data) -> None:
        """Raise CounError if a number to forget means another row in *data* than it did."""
        if not self.forget_ids:
            return
        for number, name in ids_of(data, self.forget).items():
            requested_name = self.forget_ids.get(number, name)
            if requested_name != name:
                raise CounError(
                    f"row {number} is '{name}' in this data, but the request was made for "
                    f"'{requested_name}'; make the split from run.data"
                )

    @property
    def new(self) -> Tensor:
        """Numbers of the rows that this request forgets and no earlier one did, (n,) int64."""
        return without(self.forget, self.earlier)

    def rows(self, data: Data, role: str) -> Tensor:
        """Positions in `data.train` of the rows of *role*, in file order.

        Args: role: "retain"; "forget", the new rows, which methods work on; "forgotten", all
            rows that must be forgotten by now, which measurements look at; or "earlier".
        """
        numbers = {"forget": self.new, "forgotten": self.forget}
        numbers_of_role = numbers[role] if role in numbers else getattr(self, role)
        return torch.isin(data.train.numbers, numbers_of_role).nonzero().flatten()

    def test_rows(self, data: Data) -> Tensor:
        """Positions in `data.test` of the rows to measure on: all that the request leaves."""
        return (~torch.isin(data.test.numbers, self.held_out)).nonzero().flatten()

    def calibration_rows(self, data: Data) -> Tensor:
        """Positions in `data.test` of a fixed half of `test_rows`, balanced over classes.

        Methods that may read rows that no model has seen read these; `leaving_out` then keeps
        measurements to the other half. A later request gets the same rows, as far as they are
        there: otherwise each request would take half of the test rows that the one before left.

        Raises: CounError if there are fewer than two test rows.
        """
        again = torch.isin(data.test.numbers, self.calibrated).nonzero().flatten()
        if len(again) > 1:
            return again
        rows = self.test_rows(data)
        if len(rows) < 2:
            raise CounError(f"{len(rows)} test rows are left; expected at least 2 to divide")
        half = stratified(data.test.labels.cpu()[rows], len(rows) // 2, CALIBRATION_SEED)
        return rows[half]

    def rows_to_calibrate(self, data: Data) -> int:
        """How many test rows there are of which methods may read half: `test_rows`, at first."""
        again = int(torch.isin(data.test.numbers, self.calibrated).sum())
        return 2 * again if again > 1 else len(self.test_rows(data))

    def leaving_out(self, tests: Tensor) -> Self:
        """Return the same split where measurements leave out the test rows that a method reads.

        Args: tests: their row numbers, (n,) int64.
        """
        return replace(
            self,
            held_out=union(self.held_out, tests),
            calibrated=union(self.calibrated, tests),
        )

    def missing(self, data: Data) -> Tensor:
        """Numbers of rows to forget that the data no longer has, (n,) int64."""
        return without(self.forget, data.train.numbers)

    def parts(self, data: Data) -> list[tuple[Literal["random", "class", "listed"], Tensor]]:
        """Divide the forgotten rows by what they consist of.

        Returns: (kind, row numbers) pairs without empty ones: rows drawn at random, rows of
            whole classes, and all others. A list that holds all rows of a class counts as
            that class. Missing rows whose label is unknown count as listed. Canaries are in no
            part.
        """
        labels = labels_of(data, self.forget)
        random = torch.isin(self.forget, self.drawn)
        classes = torch.tensor(self.forgotten_classes, dtype=torch.int64)
        whole = torch.isin(labels, classes) & ~random
        masks = {"random": random, "class": whole, "listed": ~random & ~whole}
        usual = ~torch.isin(self.forget, data.canary_numbers)
        parts = {kind: self.forget[mask & usual] for kind, mask in masks.items()}
        return [(kind, rows) for kind, rows in parts.items() if len(rows)]  # type: ignore[misc]

    @property
    def scenario(self) -> dict[str, Any]:
        """What the request is, as records of version 0.1 say it."""
        if len(self.request) == 1 and not len(self.earlier):
            if isinstance(self.request[0], Random):
                return {"kind": "random", "fraction": self.request[0].fraction}
            if isinstance(self.request[0], Class):
                return {"kind": "class", "name": self.request[0].name}
        return {"kind": "index", "count": len(self.forget)}

    @property
    def seed(self) -> int | None:
        """The seed of the first random draw, None where nothing was drawn."""
        return next((r.seed for r in self.request if isinstance(r, Random)), None)

    @property
    def forget_class(self) -> int | None:
        """The label of the one class that was forgotten whole, None for none or several."""
        return self.forgotten_classes[0] if len(self.forgotten_classes) == 1 else None

    def describe(self) -> str:
        """Say in a few words what is forgotten: the requests, then the rows of earlier ones."""
        words = " and ".join(request.describe() for request in self.request) or "no new request"
        before = f", after {len(self.earlier):,} rows of earlier requests"
        return words + before * bool(len(self.earlier))

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
            "request": [request.model_dump(mode="json") for request in self.request],
            "forgotten_classes": list(self.forgotten_classes),
            "content_kind": self.content_kind,
            "forget_count": len(self.forget),
            "new_count": len(self.new),
            "retain_count": len(self.retain),
            "sha256": self.digest,
            "forget": self.forget.tolist(),
            "earlier": self.earlier.tolist(),
            "drawn": "all" if len(self.drawn) == len(self.forget) else self.drawn.tolist(),
            "held_out": self.held_out.tolist(),
            # Left out where there are none, as in records of version 0.1.
            **({"calibrated": self.calibrated.tolist()} if len(self.calibrated) else {}),
        }

    def absent_labels(self, data: Data) -> Tensor:
        """Labels of the rows to forget that are deleted from the data, (n,) int64."""
        if data.absent is None:
            return no_rows()
        return data.absent.labels[torch.isin(data.absent.numbers, self.forget)]


def ids_of(data: Data, numbers: Tensor) -> dict[int, str]:
    """Ids by number of those rows in *numbers*, where the data has ids of its own."""
    if getattr(data.train, "names", None) is None:
        return {}
    rows = torch.isin(data.train.numbers, numbers).nonzero().flatten()
    pairs = zip(data.train.numbers[rows].tolist(), rows.tolist(), strict=True)
    ids = {number: data.ids[row] for number, row in pairs}
    if data.absent is not None:
        absent = dict(zip(data.absent.numbers.tolist(), data.absent.ids, strict=True))
        ids |= {number: absent[number] for number in numbers.tolist() if number in absent}
    return ids


def labels_of(data: Data, numbers: Tensor) -> Tensor:
    """Labels (n,) int64 of training rows by number, deleted ones included; -1 where unknown.

    Args: numbers: sorted row numbers, (n,) int64.
    """
    labels = torch.full_like(numbers, -1)
    place = torch.searchsorted(numbers, data.train.numbers).clamp(max=len(labels) - 1)
    present = numbers[place] == data.train.numbers
    labels[place[present]] = data.train.labels.cpu()[present]
    if data.absent is not None:
        deleted = torch.isin(data.absent.numbers, numbers)
        place = torch.searchsorted(numbers, data.absent.numbers[deleted])
        labels[place] = data.absent.labels[deleted]
    return labels


def lost_rows(data: Data, forget: Tensor) -> list[str]:
    """Ids of training rows that are deleted from *data* and not among those to *forget*.

    Deleted test rows are not a loss of this kind: no model was trained on them, and measurements
    use those that are left.
    """
    if data.absent is None:
        return []
    is_lost = ~torch.isin(data.absent.numbers, forget)
    return [data.absent.ids[row] for row in is_lost.nonzero().flatten().tolist()]
