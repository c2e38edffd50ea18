"""Rows that are named one by one."""

from __future__ import annotations

import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from coun.data.checks import whole_number
from coun.data.data_set import Data
from coun.data.requests.base import Request
from coun.errors import CounError, counted, nearest

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
BY_NUMBER = "--forget-index (coun request add: --index; in Python Split.by_index)"
OF_A_MASK = "; of a mask over the training rows, pass data.train.numbers[mask]"
SHOWN = 3  # names in a message
LONGEST = 100  # characters of a name in a message
SEARCHED = 100_000  # names among which a message looks for a similar one


class Listed(Request):
    """Forget the rows that are listed, by number or by id.

    Args:
        rows: row numbers in the source's own order, each at most once.
        ids: ids of rows, each at most once. Not together with the others.
        test_rows: numbers of test rows. No model was trained on them; measurements leave
            them out.

    >>> Listed(ids=("cat/7.png", "dog/3.png")).describe()
    '2 rows listed by id'
    """

    kind: Literal["listed"] = "listed"
    rows: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    test_rows: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _one_list(self) -> Listed:
        if self.ids and (self.rows or self.test_rows):
            raise ValueError("both ids and row numbers are given; expected one of them")
        return self

    @classmethod
    def of_numbers(cls, numbers: Iterable[int] | Tensor) -> Listed:
        """Make a request from row numbers. Raises: CounError for none, or no integers."""
        rows = row_numbers(numbers, signed=True)
        if rows.numel() == 0:
            raise CounError("the forget request names no row; expected at least one row number")
        return cls.model_construct(rows=tuple(rows.tolist()))

    @classmethod
    def of_ids(cls, ids: Iterable[str]) -> Listed:
        """Make a request from ids. Raises: CounError for what is not a list of texts."""
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise CounError(f"ids to forget are {str(ids)[:60]!r}; expected a list of ids")
        names = tuple(ids)
        wrong = next((name for name in names if not isinstance(name, str)), None)
        if wrong is not None or None in names:
            raise CounError(
                f"id {str(wrong)[:60]} is of type {type(wrong).__name__}; expected text, as "
                "data.ids has it"
            )
        return cls(ids=tuple(map(str, names)))

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        return torch.isin(data.train.numbers, self.numbers(data))

    def numbers(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        return self.resolve(data)[0]

    def resolve(self, data: Data, forgotten: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Numbers of the training rows and of the test rows that are named.

        An id that both parts have names both rows. A number names a test row only in a source
        that numbers both parts together.

        Args: forgotten: numbers of rows that were forgotten before, (n,); the data may have
            lost them.

        Raises: CounError for a row that is named twice or that the data does not have.
        """
        self._refuse_repetition()
        absent = data.absent
        if self.ids:
            if meaning := data.id_columns.other_meaning(self.ids):
                raise CounError(f"{meaning}; or name row numbers with {BY_NUMBER}")
            table = dict(zip(data.ids, data.train.numbers.tolist(), strict=True))
            if absent is not None:
                table |= dict(zip(absent.ids, absent.numbers.tolist(), strict=True))
            in_training = [table[name] for name in self.ids if name in table]
            held_out = data.named_test_rows
            unknown_ids = [name for name in self.ids if name not in table and name not in held_out]
            if unknown_ids:
                raise CounError(_unknown_ids(unknown_ids, [*table, *held_out]))
            return _int64(in_training), _int64(
                [held_out[name] for name in self.ids if name in held_out]
            )
        listed_numbers = _int64(self.rows)
        numbers = data.train.numbers
        if absent is not None:
            numbers = torch.cat([numbers, absent.numbers])
        if forgotten is not None:
            numbers = torch.cat([numbers, forgotten])
        numbers = numbers.unique()  # type: ignore[no-untyped-call]
        trained = torch.isin(listed_numbers, numbers)
        tested = torch.isin(listed_numbers, data.test_numbers) & ~trained & data.one_numbering
        outside = listed_numbers[~trained & ~tested]
        if len(outside):
            limit = f" that --limit {data.limit} keeps" if data.limit else ""
            raise CounError(
                f"forget index {int(outside[0])} is not a training row{limit}; expected row "
                f"numbers between {int(numbers.min())} and {int(numbers.max())}, "
                f"{len(numbers)} rows"
            )
        named_test = torch.cat([listed_numbers[tested], _int64(self.test_rows)])
        untested = named_test[~torch.isin(named_test, data.test_numbers)]
        if len(untested):
            raise CounError(f"row {int(untested[0])} is not a test row; expected its number")
        return listed_numbers[trained], named_test

    def describe(self) -> str:
        rows, tests = len(self.ids or self.rows), len(self.test_rows)
        counts = [counted(rows, "row")] * (rows > 0 or not tests)
        counts += [counted(tests, "test row")] * (tests > 0)
        # Whoever removes names from a record leaves numbers, whatever the rows were named by.
        return f"{' and '.join(counts)} listed" + " by id" * bool(self.ids)

    def _refuse_repetition(self) -> None:
        names: Sequence[object] = self.ids or self.rows
        if not names and not self.test_rows:
            raise CounError("the forget request names no row; expected at least one")
        if len(set(names)) < len(names):
            name, times = Counter(names).most_common(1)[0]
            what = "id" if self.ids else "row number"
            mask = "" if self.ids or set(self.rows) != {0, 1} else OF_A_MASK
            raise CounError(
                f"forget {what} {_short(name)} is named {times} times; expected once{mask}"
            )


def row_numbers(values: Any, what: str = "forget row number", *, signed: bool = False) -> Tensor:
    """*values* as row numbers, in order, (n,) int64.

    Args: signed: let numbers below 0 pass.

    Raises: CounError for what is not a flat list or an array of integers.
    """
    if isinstance(values, Tensor):
        if values.numel() and (values.dtype == torch.bool or values.dtype not in INTEGERS):
            mask = OF_A_MASK * (values.dtype == torch.bool)
            raise CounError(f"{what}s have type {values.dtype}; expected integers{mask}")
        rows = values.detach().cpu().flatten().long()
    elif isinstance(values, np.ndarray) and values.dtype != object:
        if values.size and values.dtype.kind not in "iu":
            mask = OF_A_MASK * (values.dtype.kind == "b")
            raise CounError(f"{what}s have type {values.dtype}; expected integers{mask}")
        rows = _int64(map(int, values.flatten()) if values.dtype == np.uint64 else ())
        if values.dtype != np.uint64:
            rows = torch.from_numpy(values.flatten().astype(np.int64))
    else:
        if isinstance(values, str | bytes) or not isinstance(values, Iterable):
            kind = type(values).__name__
            raise CounError(f"{what}s are of type {kind}; expected a list of integers")
        rows = _int64(_integer(value, what) for value in values)
    if not signed and bool((rows < 0).any()):
        raise CounError(f"{what} {int(rows.min())} is below 0; expected 0 or more")
    return rows


def _integer(value: Any, what: str) -> int:
    try:
        kind = getattr(value, "dtype", type(value))
        if isinstance(value, bool | np.bool_) or kind == torch.bool:
            raise TypeError
        number = operator.index(value)
    except TypeError:
        name = type(value).__name__
        raise CounError(
            f"{what} {str(value)[:40]!r} is of type {name}; expected integers"
        ) from None
    if not -(2**63) <= number < 2**63:
        raise CounError(f"{what} {str(value)[:24]} is too large; expected a row of the data")
    return number


def _int64(numbers: Iterable[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def _unknown_ids(unknown_ids: list[str], names: list[str]) -> str:
    first = unknown_ids[0]
    others = f" and {len(unknown_ids) - 1:,} more name" if len(unknown_ids) > 1 else " names"
    examples = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return (
        f"id {_short(first)}{others} no row{_similar(first, names)}; ids of this data look like "
        f"{examples}; 'coun rows' lists them"
    )


def _similar(spelled: str, names: list[str]) -> str:
    """Which of *names* may be meant by *spelled*; empty if none.

    A name with other numbers is never proposed: it is that of another person or thing.
    """
    plain, number = _plain(spelled), whole_number(spelled)
    for name in names:
        if _plain(name) == plain:
            how = "capitals, slashes or the Unicode form of its letters"
            return f" (did you mean '{name}'? It differs in {how} only)"
        if number is not None and whole_number(name) == number:
            return f" (did you mean '{name}'? It is the same number)"
    for name in names:  # a file name alone, or the whole path of a file
        end = _plain(name)
        if end.endswith(f"/{plain}") or plain.endswith(f"/{end}"):
            return f" (did you mean '{name}'?)"
    digits = _numbers_in(spelled)
    return nearest(spelled, (n for n in names[:SEARCHED] if _numbers_in(n) == digits))


def _numbers_in(name: str) -> list[int]:
    return [int(digits) for digits in re.findall("[0-9]{1,18}", name)]


def _plain(name: str) -> str:
    """Return *name* as another system may spell it: one file system keeps what another changes."""
    return unicodedata.normalize("NFC", name).casefold().replace("\\", "/").removeprefix("./")


def _short(name: object) -> str:
    """Return *name* in quotation marks; the middle of one that fills a screen is left out."""
    text = str(name)
    return f"'{text}'" if len(text) <= LONGEST else f"'{text[:60]} ... {text[-20:]}'"
