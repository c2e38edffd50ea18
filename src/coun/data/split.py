"""Which training rows must be forgotten and which are retained: checked, hashed and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coun.data.examples import Data, stratified
from coun.data.requests import Class, Listed, Random, Request
from coun.data.split_parts import (
    ContentKind,
    check_draw,
    check_same_ids,
    check_typed,
    earlier_rows,
    forgotten_and_absent,
    ids_of,
    in_lines,
    labels_of,
    lost_rows,
    recorded_fields,
)
from coun.errors import CounError, counted

CALIBRATION_SEED = 0  # fixed, so that all methods and seeds leave the same test rows to measure on


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Forget requests, applied to one data set.

    Row numbers are those of the source (`Examples.numbers`), sorted, (n,) int64. Make a split
    with `Split.of` or one of the shorter `random`, `by_class`, `by_index` and `by_id`.

    Args:
        forget: all rows that must be forgotten by now, also those of earlier requests and
            those that are deleted from the source.
        retain: all other training rows.
        request: the typed requests of this time.
        earlier: the rows in *forget* that earlier requests forgot.
        drawn: the rows in *forget* that were drawn at random.
        held_out: numbers of test rows that the request names, or that a method was calibrated on
            (`calibration_rows`): no model was trained on them, and measurements leave them out.
        forgotten_classes: labels of the classes without a retained row; test accuracy leaves
            them out.
        content_kind: what *forget* consists of, whatever words named it.
        forget_ids: ids of the rows in *forget* by number, where the data has ids of its own;
            other data, in which a number means another row, is refused by them.
    """

    forget: Tensor
    retain: Tensor
    request: tuple[Request, ...] = ()
    earlier: Tensor = field(default_factory=_none)
    drawn: Tensor = field(default_factory=_none)
    held_out: Tensor = field(default_factory=_none)
    forgotten_classes: tuple[int, ...] = ()
    content_kind: ContentKind = "listed"
    forget_ids: Mapping[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """A few lines for people: the request, and how many rows have which role.

        >>> import coun
        >>> Split.random(coun.load("digits"), 0.1, seed=3)
        Split: 10% of the rows, drawn at random (seed 3)
          144 rows to forget, 144 of them new; 1,294 to retain
        """
        return in_lines(self)

    @classmethod
    def of(
        cls,
        data: Data,
        *requests: Request,
        seed: int = 0,
        scores: Any = None,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Apply *requests* to *data*: their union is forgotten.

        Args:
            seed: of random draws that have no seed of their own.
            scores: (N,) numbers per training row for the one request that needs them, or a
                mapping from request to such numbers.
            earlier: rows that must stay forgotten: an earlier split, or row numbers.

        Raises: CounError if a request does not fit the data, names no new row, or leaves
            nothing to retain.

        >>> import coun
        >>> data = coun.load("digits", limit=100)
        >>> first = Split.of(data, Class(name="3"), Class(name="5"))
        >>> second = Split.of(data, Random(fraction=0.1), earlier=first)
        >>> len(first.new), len(second.new), len(second.forget)
        (20, 8, 28)
        """
        check_typed(data, requests)
        past = _earlier(earlier, data)
        before = past.forget
        if not requests and len(before) == 0:
            raise CounError("no forget request is given; expected at least one")
        remaining = ~torch.isin(data.train.numbers, before)
        chosen = [before, data.canary_numbers[: None if requests else 0]]
        drawn, held_out = [past.drawn], [past.held_out]
        for request in requests:
            if isinstance(request, Listed):
                numbers, named_test = request.resolve(data, before)
                held_out.append(named_test)
            else:
                values = request.scores_from(scores)
                part = data
                if request.among_remaining and not bool(remaining.all()):
                    part = replace(data, train=data.train.take(remaining.nonzero().flatten()))
                    values = None if values is None else np.asarray(values)[remaining.numpy()]
                numbers = request.numbers(part, seed=seed, scores=values)
            chosen.append(numbers)
            if request.drawn:
                drawn.append(numbers)
        forget, tests = _sorted(torch.cat(chosen)), _sorted(torch.cat(held_out))
        gone, gone_tests = forgotten_and_absent(data)
        if len(forget) == len(before) and requests:
            if len(tests) > len(past.held_out):
                raise CounError(
                    f"the request names {counted(len(tests), 'row')} of the test part and no "
                    "further training row; no model saw them, so there is nothing to forget"
                )
            raise CounError(
                f"all rows that the request names were forgotten before, {len(before):,} rows "
                "in all; name at least one other row"
            )
        # Rows that were forgotten and then deleted stay forgotten, also where nobody says so.
        gone = gone[~torch.isin(gone, forget)]
        forget, before = _sorted(torch.cat([forget, gone])), _sorted(torch.cat([before, gone]))
        tests = _sorted(torch.cat([tests, gone_tests]))
        return cls._with_content(
            data,
            forget,
            forget_ids=past.forget_ids,
            request=tuple(request.completed(data, seed) for request in requests),
            earlier=before,
            drawn=_sorted(torch.cat(drawn)),
            held_out=tests,
            forgotten_classes=past.forgotten_classes,
        )

    @classmethod
    def random(
        cls,
        data: Data,
        fraction: float = 0.1,
        *,
        seed: int = 0,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Forget a uniform random *fraction*, 0 < fraction < 1, of the rows not forgotten yet.

        >>> import coun
        >>> len(Split.random(coun.load("digits"), 0.1).forget)
        144
        """
        check_draw(fraction, seed)
        return cls.of(data, Random(fraction=float(fraction), seed=seed), earlier=earlier)

    @classmethod
    def by_class(
        cls,
        data: Data,
        *names: str | int,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Forget every training row of the classes that are given by name or label.

        >>> import coun
        >>> Split.by_class(coun.load("digits"), 3, 5).forgotten_classes
        (3, 5)
        """
        if not names:
            raise CounError("no class to forget is given; expected at least one name or label")
        requests = [Class(name=str(name)) for name in names]
        return cls.of(data, *requests, earlier=earlier)

    @classmethod
    def by_index(
        cls,
        data: Data,
        rows: Iterable[int] | Tensor,
        *,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Forget the training rows with these `numbers`, each named at most once.

        >>> import coun
        >>> Split.by_index(coun.load("digits"), [4, 2]).forget
        tensor([2, 4])
        """
        return cls.of(data, Listed.of_numbers(rows), earlier=earlier)

    @classmethod
    def by_id(
        cls,
        data: Data,
        ids: Iterable[str],
        *,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Forget the rows with these ids, each named at most once.

        >>> import coun
        >>> Split.by_id(coun.load("digits"), ["4", "2"]).forget
        tensor([2, 4])
        """
        return cls.of(data, Listed.of_ids(ids), earlier=earlier)

    def after(self, data: Data, earlier: Split | Tensor | Iterable[int] | None) -> Split:
        """The same request where *earlier* rows must stay forgotten too.

        Raises: CounError if all rows of this split were forgotten before.
        """
        self.check_ids(data)
        past = _earlier(earlier, data)
        before = _sorted(torch.cat([past.forget, self.earlier]))
        forget = _sorted(torch.cat([self.forget, before]))
        if len(forget) == len(before):
            raise CounError(
                f"all {len(self.forget):,} rows of the request were forgotten before; "
                "name at least one other row"
            )
        return self._with_content(
            data,
            forget,
            forget_ids={**past.forget_ids, **self.forget_ids},
            request=self.request,
            earlier=before,
            drawn=_sorted(torch.cat([past.drawn, self.drawn])),
            held_out=_sorted(torch.cat([past.held_out, self.held_out])),
            forgotten_classes=past.forgotten_classes,
        )

    def extended(self, data: Data, rows: Tensor, test_rows: Tensor) -> Split:
        """The same split with more rows: training rows to forget, test rows to leave out.

        Args: rows, test_rows: row numbers, (n,) int64.
        """
        self.check_ids(data)
        more = Listed(rows=tuple(rows.tolist()), test_rows=tuple(test_rows.tolist()))
        return self._with_content(
            data,
            _sorted(torch.cat([self.forget, rows])),
            forget_ids=self.forget_ids,
            request=(*self.request, more),
            earlier=self.earlier,
            drawn=self.drawn,
            held_out=_sorted(torch.cat([self.held_out, test_rows])),
        )

    @classmethod
    def _with_content(
        cls, data: Data, forget: Tensor, *, allow_missing: bool = False, **fields: Any
    ) -> Split:
        """The split of *data* that forgets these numbers, with what they consist of."""
        numbers, labels = data.train.numbers, data.train.labels.cpu()
        forgotten = torch.isin(numbers, forget)
        retain = numbers[~forgotten]
        if data.absent is not None and allow_missing:
            absent = data.absent.numbers
            retain = torch.cat([retain, absent[~torch.isin(absent, forget)]])
        fields["forget_ids"] = {**fields.get("forget_ids", {}), **ids_of(data, forget)}
        split = cls(forget, retain.sort().values, **fields)
        with_rows = _sorted(torch.cat([labels[forgotten], split._absent_labels(data)]))
        whole = with_rows[~torch.isin(with_rows, labels[~forgotten])]
        # A class whose rows were deleted is known by the record only.
        recorded = set(fields.get("forgotten_classes", ())) - set(labels[~forgotten].tolist())
        split = replace(split, forgotten_classes=tuple(sorted({*whole.tolist(), *recorded})))
        if "content_kind" not in fields:
            parts = [kind for kind, _ in split.parts(data)]
            split = replace(split, content_kind=parts[0] if len(parts) == 1 else "mixed")
        if not allow_missing:
            split.check(data)
        return split

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
        lost = lost_rows(data, self.forget)
        if lost:
            raise CounError(
                f"the data lacks {counted(len(lost), 'row')} of the run that the request does not "
                f"name, '{lost[0]}' first; restore what is missing, or name it in the request too"
            )

    def check_ids(self, data: Data) -> None:
        """Raise CounError if a number to forget means another row in *data* than it did."""
        check_same_ids(data, self.forget, self.forget_ids)

    @property
    def new(self) -> Tensor:
        """Numbers of the rows that this request forgets and no earlier one did, (n,) int64."""
        return self.forget[~torch.isin(self.forget, self.earlier)]

    def rows(self, data: Data, role: str) -> Tensor:
        """Positions in `data.train` of the rows of *role*, in file order.

        Args: role: "retain"; "forget", the new rows, which methods work on; "forgotten", all
            rows that must be forgotten by now, which measurements look at; or "earlier".
        """
        numbers = {"forget": self.new, "forgotten": self.forget}
        wanted = numbers[role] if role in numbers else getattr(self, role)
        return torch.isin(data.train.numbers, wanted).nonzero().flatten()

    def test_rows(self, data: Data) -> Tensor:
        """Positions in `data.test` of the rows to measure on: all that the request leaves."""
        return (~torch.isin(data.test.numbers, self.held_out)).nonzero().flatten()

    def calibration_rows(self, data: Data) -> Tensor:
        """Positions in `data.test` of a fixed half of `test_rows`, balanced over classes.

        Methods that may read rows that no model has seen read these; `leaving_out` then keeps
        measurements to the other half.

        Raises: CounError if there are fewer than two test rows.
        """
        rows = self.test_rows(data)
        if len(rows) < 2:
            raise CounError(f"{len(rows)} test rows are left; expected at least 2 to divide")
        half = stratified(data.test.labels.cpu()[rows], len(rows) // 2, CALIBRATION_SEED)
        return rows[half]

    def leaving_out(self, tests: Tensor) -> Split:
        """Return the same split where measurements leave out more test rows.

        Args: tests: their row numbers, (n,) int64.
        """
        return replace(self, held_out=_sorted(torch.cat([self.held_out, tests])))

    def missing(self, data: Data) -> Tensor:
        """Numbers of rows to forget that the data no longer has, (n,) int64."""
        return self.forget[~torch.isin(self.forget, data.train.numbers)]

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
        }

    @classmethod
    def from_json(
        cls, data: Data, record: Mapping[str, Any], *, allow_missing: bool = False
    ) -> Split:
        """The split of *record*, also one of version 0.1, on *data*.

        Args: allow_missing: keep retained rows that are deleted from *data* in `retain`; the
            split then only serves as what a further request comes after.

        Raises: CounError if the record is of other data, or damaged.
        """
        forget, digest, numbering, fields = recorded_fields(data, record)
        split = recorded = cls._with_content(data, forget, allow_missing=allow_missing, **fields)
        if numbering is not None:
            places = [torch.searchsorted(numbering, part) for part in (split.forget, split.retain)]
            recorded = replace(split, forget=places[0], retain=places[1])
        if recorded.digest != digest:
            raise CounError(
                f"the recorded split has hash {digest[:12]} but this data gives "
                f"{recorded.digest[:12]}; the data or its order changed since the run"
            )
        return split

    def _absent_labels(self, data: Data) -> Tensor:
        if data.absent is None:
            return _none()
        return data.absent.labels[torch.isin(data.absent.numbers, self.forget)]


def _earlier(earlier: Split | Tensor | Iterable[int] | None, data: Data) -> Split:
    """What earlier requests forgot, as a split that may lack all else."""
    if isinstance(earlier, Split):
        earlier.check_ids(data)
        return earlier
    if earlier is None:
        return Split(_none(), _none())
    return Split(_sorted(earlier_rows(earlier, data)), _none())


def _sorted(numbers: Tensor) -> Tensor:
    """The numbers in order, each once."""
    return numbers.unique()  # type: ignore[no-untyped-call, no-any-return]
