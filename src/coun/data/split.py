"""Which training rows must be forgotten and which are retained, from requests or a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import AbsentRows, Data
from coun.data.requests import Class, Listed, Random, Request
from coun.data.requests.listed import row_numbers
from coun.data.split_record import recorded_fields
from coun.data.split_rows import SplitRows, ids_of, no_rows, union, without
from coun.errors import CounError, counted, require_type


class Split(SplitRows):
    """Forget requests, applied to one data set.

    Row numbers are those of the source (`Examples.numbers`), sorted, (n,) int64. Make a split
    with `Split.of` or one of the shorter `random`, `by_class`, `by_index` and `by_id`. Their
    indices in `data.train`, and so in `data.ids`, are `rows(data, "forget")`.

    Args:
        forget: all rows that must be forgotten by now, also those of earlier requests and
            those that are deleted from the source.
        retain: all other training rows.
        request: the typed requests of this time.
        earlier: the rows in *forget* that earlier requests forgot.
        drawn: the rows in *forget* that were drawn at random.
        held_out: numbers of test rows that the request names, or that a method was calibrated on
            (`calibration_rows`): no model was trained on them, and measurements leave them out.
        calibrated: those of *held_out* that a method was calibrated on; a later one reads them
            again.
        forgotten_classes: labels of the classes without a retained row; test accuracy leaves
            them out.
        content_kind: what *forget* consists of, however the rows were named.
        forget_ids: ids of the rows in *forget* by number, where the data has ids of its own.
            They serve to refuse other data in which a number means another row.

    >>> import coun
    >>> split = coun.Split.by_class(coun.load("digits", limit=100), "8")
    >>> len(split.forget), len(split.retain), split.forgotten_classes
    (10, 90, (8,))
    """

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
        _check_typed(data, requests)
        past = _earlier(earlier, data)
        before = past.forget
        if not requests and len(before) == 0:
            raise CounError("no forget request is given; expected at least one")
        chosen = [before, data.canary_numbers if requests else no_rows()]
        drawn, held_out = [past.drawn], [past.held_out]
        for request in requests:
            if isinstance(request, Listed):
                numbers, named_test = request.resolve(data, before)
                held_out.append(named_test)
            else:
                numbers = _numbers(request, data, before, seed=seed, scores=scores)
            chosen.append(numbers)
            if request.drawn:
                drawn.append(numbers)
        forget, tests = union(*chosen), union(*held_out)
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
        deleted, deleted_tests = _forgotten_and_absent(data)
        absent = without(deleted, forget)
        return cls._with_content(
            data,
            union(forget, absent),
            forget_ids=past.forget_ids,
            request=tuple(request.completed(data, seed) for request in requests),
            earlier=union(before, absent),
            drawn=union(*drawn),
            held_out=union(tests, deleted_tests),
            # Test rows that are asked to be forgotten must not be read again.
            calibrated=without(past.calibrated, union(no_rows(), *held_out[1:])),
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
        """Forget a uniform random share of the rows that are not forgotten yet.

        Args:
            data: the data, of whose training rows the share is drawn.
            fraction: the share, above 0 and below 1.
            seed: of the draw.
            earlier: rows that must stay forgotten: an earlier split, or row numbers.

        Raises: CounError for another fraction, and as `of` does.

        >>> import coun
        >>> len(Split.random(coun.load("digits"), 0.1).forget)
        144
        """
        _check_draw(fraction, seed)
        return cls.of(data, Random(fraction=float(fraction), seed=seed), earlier=earlier)

    @classmethod
    def by_class(
        cls,
        data: Data,
        *names: str | int,
        earlier: Split | Tensor | Iterable[int] | None = None,
    ) -> Split:
        """Forget every training row of some classes.

        Args:
            data: the data.
            names: names or labels of the classes.
            earlier: rows that must stay forgotten: an earlier split, or row numbers.

        Raises: CounError for a class that the data lacks, and as `of` does.

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
        """Forget the training rows with these numbers.

        Args:
            data: the data.
            rows: numbers in the order of the whole source, each at most once.
            earlier: rows that must stay forgotten: an earlier split, or row numbers.

        Raises: CounError for a number that is not that of a training row, and as `of` does.

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
        """Forget the rows with these ids.

        Args:
            data: the data.
            ids: ids as in `data.ids`, each at most once. Test rows may be among them; they are
                left out of measurements.
            earlier: rows that must stay forgotten: an earlier split, or row numbers.

        Raises: CounError for an id that no row has, and as `of` does.

        >>> import coun
        >>> Split.by_id(coun.load("digits"), ["4", "2"]).forget
        tensor([2, 4])
        """
        return cls.of(data, Listed.of_ids(ids), earlier=earlier)

    def after(self, data: Data, earlier: Split | Tensor | Iterable[int] | None) -> Split:
        """Return the same request, where *earlier* rows must stay forgotten too.

        Args:
            data: the data that both requests are about.
            earlier: an earlier split, or row numbers.

        Raises: CounError if all rows of this split were forgotten before.

        >>> import coun
        >>> data = coun.load("digits", limit=100)
        >>> march = Split.by_class(data, "3")
        >>> april = Split.by_class(data, "5").after(data, march)
        >>> len(april.new), len(april.forget)
        (10, 20)
        """
        self.check_ids(data)
        past = _earlier(earlier, data)
        before = union(past.forget, self.earlier)
        forget = union(self.forget, before)
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
            drawn=union(past.drawn, self.drawn),
            held_out=union(past.held_out, self.held_out),
            calibrated=union(
                without(past.calibrated, without(self.held_out, self.calibrated)), self.calibrated
            ),
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
            union(self.forget, rows),
            forget_ids=self.forget_ids,
            request=(*self.request, more),
            earlier=self.earlier,
            drawn=self.drawn,
            held_out=union(self.held_out, test_rows),
            calibrated=without(self.calibrated, test_rows),
        )

    @classmethod
    def from_json(
        cls, data: Data, record: Mapping[str, Any], *, allow_missing: bool = False
    ) -> Split:
        """The split of *record*, also one of version 0.1, on *data*.

        Args: allow_missing: keep retained rows that are deleted from *data* in `retain`; the
            split then only serves as what a further request comes after.

        Raises: CounError if the record is of other data, or damaged.

        >>> import coun
        >>> data = coun.load("digits", limit=100)
        >>> split = Split.random(data, 0.1)
        >>> Split.from_json(data, split.to_json()).forget.equal(split.forget)
        True
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

    @classmethod
    def _with_content(
        cls, data: Data, forget: Tensor, *, allow_missing: bool = False, **fields: Any
    ) -> Split:
        """The split of *data* that forgets these numbers, with what they consist of."""
        numbers, labels = data.train.numbers, data.train.labels.cpu()
        forgotten = torch.isin(numbers, forget)
        retain = numbers[~forgotten]
        if data.absent is not None and allow_missing:
            retain = torch.cat([retain, without(data.absent.numbers, forget)])
        fields["forget_ids"] = {**fields.get("forget_ids", {}), **ids_of(data, forget)}
        split = cls(forget, retain.sort().values, **fields)
        with_rows = union(torch.cat([labels[forgotten], split.absent_labels(data)]))
        whole = without(with_rows, labels[~forgotten])
        # A class whose rows were deleted is known by the record only.
        recorded = set(fields.get("forgotten_classes", ())) - set(labels[~forgotten].tolist())
        split = replace(split, forgotten_classes=tuple(sorted({*whole.tolist(), *recorded})))
        if "content_kind" not in fields:
            parts = [kind for kind, _ in split.parts(data)]
            split = replace(split, content_kind=parts[0] if len(parts) == 1 else "mixed")
        if not allow_missing:
            split.check(data)
        return split


def _numbers(request: Request, data: Data, before: Tensor, *, seed: int, scores: Any) -> Tensor:
    """Numbers of the rows that *request* names or draws, where *before* were forgotten, (n,)."""
    values = request.scores_from(scores)
    remaining = ~torch.isin(data.train.numbers, before)
    if request.among_remaining and not bool(remaining.all()):
        data = replace(data, train=data.train.take(remaining.nonzero().flatten()))
        values = None if values is None else np.asarray(values)[remaining.numpy()]
    return request.numbers(data, seed=seed, scores=values)


def _earlier(earlier: Split | Tensor | Iterable[int] | None, data: Data) -> Split:
    """What earlier requests forgot, as a split that may lack all else."""
    if isinstance(earlier, Split):
        earlier.check_ids(data)
        return earlier
    if earlier is None:
        return Split(no_rows(), no_rows())
    return Split(union(_earlier_rows(earlier, data)), no_rows())


def _earlier_rows(earlier: Tensor | Iterable[int], data: Data) -> Tensor:
    """Check numbers of rows that were forgotten before; (n,) int64."""
    numbers = row_numbers(earlier, "earlier row number")
    numbers_of_rows = data.train.numbers
    if data.absent is not None:
        numbers_of_rows = torch.cat([numbers_of_rows, data.absent.numbers])
    unknown_numbers = without(numbers, numbers_of_rows)
    if len(unknown_numbers):
        raise CounError(
            f"earlier row {int(unknown_numbers[0])} is not a training row of this data; expected "
            "row numbers of rows that were forgotten before, or the earlier split"
        )
    return numbers


def _check_typed(data: Any, requests: Iterable[Any]) -> None:
    """Refuse data and requests of the wrong type."""
    require_type(data, Data, "data", "what coun.load, from_arrays or from_dataset returns")
    wrong = next((entry for entry in requests if not isinstance(entry, Request)), None)
    if wrong is not None:
        raise CounError(
            f"{str(wrong)[:60]!r} is of type {type(wrong).__name__}, not a request; pass "
            "requests such as Listed(...) one by one, or use Split.by_id"
        )


def _check_draw(fraction: Any, seed: Any) -> None:
    """Refuse a share that is not between 0 and 1, and a seed that is not an integer."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.number):
        raise CounError(f"forget fraction is {fraction!r}; expected a number between 0 and 1")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer | None):
        raise CounError(f"seed is {seed!r}; expected an integer")
    if not 0 < fraction < 1:
        raise CounError(f"forget fraction is {fraction}; expected a number between 0 and 1")


def _forgotten_and_absent(data: Data) -> tuple[Tensor, Tensor]:
    """Numbers of the deleted training and test rows that the run's request named."""
    parts = [part or AbsentRows.none() for part in (data.absent, data.absent_test)]
    train, test = (no_rows() if p.named is None else p.numbers[p.named] for p in parts)
    return train, test
