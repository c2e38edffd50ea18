"""What a split knows of its data and reads from its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from coun.data.examples import AbsentRows, Data
from coun.data.requests import Listed, Request, parse
from coun.data.requests.listed import row_numbers
from coun.errors import CounError, require_type

if TYPE_CHECKING:
    from coun.data.split import Split

ContentKind = Literal["random", "class", "listed", "mixed"]


def earlier_rows(earlier: Tensor | Iterable[int], data: Data) -> Tensor:
    """Check numbers of rows that were forgotten before; (n,) int64."""
    numbers = row_numbers(earlier, "earlier row number")
    known = data.train.numbers
    if data.absent is not None:
        known = torch.cat([known, data.absent.numbers])
    strange = numbers[~torch.isin(numbers, known)]
    if len(strange):
        raise CounError(
            f"earlier row {int(strange[0])} is not a training row of this data; expected row "
            "numbers of rows that were forgotten before, or the earlier split"
        )
    return numbers


def check_typed(data: Any, requests: Iterable[Any]) -> None:
    """Refuse what is not data, and what is no request."""
    require_type(data, Data, "data", "what coun.load, from_arrays or from_dataset returns")
    wrong = next((entry for entry in requests if not isinstance(entry, Request)), None)
    if wrong is not None:
        raise CounError(
            f"{str(wrong)[:60]!r} is of type {type(wrong).__name__}, not a request; pass "
            "requests such as Listed(...) one by one, or use Split.by_id"
        )


def check_draw(fraction: Any, seed: Any) -> None:
    """Refuse a share that is not between 0 and 1, and a seed that is no integer."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.number):
        raise CounError(f"forget fraction is {fraction!r}; expected a number between 0 and 1")
    if seed is not None and not isinstance(seed, int | np.integer):
        raise CounError(f"seed is {seed!r}; expected an integer")
    if not 0 < fraction < 1:
        raise CounError(f"forget fraction is {fraction}; expected a number between 0 and 1")


def check_same_ids(data: Data, forget: Tensor, ids: Mapping[int, str]) -> None:
    """Refuse data in which a row number to forget has another id than in *ids*."""
    if not ids:
        return
    for number, name in ids_of(data, forget).items():
        wanted = ids.get(number, name)
        if wanted != name:
            raise CounError(
                f"row {number} is '{name}' in this data, but the request was made for "
                f"'{wanted}'; make the split from run.data"
            )


def ids_of(data: Data, numbers: Tensor) -> dict[int, str]:
    """Ids by number of those rows in *numbers*, where the data has ids of its own."""
    if getattr(data.train, "names", None) is None:
        return {}
    rows = torch.isin(data.train.numbers, numbers).nonzero().flatten()
    found = zip(data.train.numbers[rows].tolist(), rows.tolist(), strict=True)
    ids = {number: data.ids[row] for number, row in found}
    if data.absent is not None:
        absent = dict(zip(data.absent.numbers.tolist(), data.absent.ids, strict=True))
        ids |= {number: absent[number] for number in numbers.tolist() if number in absent}
    return ids


def forgotten_and_absent(data: Data) -> tuple[Tensor, Tensor]:
    """Numbers of the deleted training and test rows that the run's request named."""
    parts = [part or AbsentRows.none() for part in (data.absent, data.absent_test)]
    train, test = (
        torch.zeros(0, dtype=torch.int64) if p.named is None else p.numbers[p.named] for p in parts
    )
    return train, test


def recorded_fields(
    data: Data, record: Mapping[str, Any]
) -> tuple[Tensor, str, Tensor | None, dict[str, Any]]:
    """Read the record of a split.

    Returns: the rows to forget, (n,) int64; the hash; for a record of version 0.1 today's
        number for each of its numbers; and the further fields of `Split`.
    """
    forget = _recorded_rows(record, "forget")
    if len(forget) == 0:
        raise _damaged("forget")
    digest = _recorded(record, "sha256", str)
    numbering = None
    if "request" in record:
        entries = _recorded(record, "request", list)
        if not all(isinstance(entry, Mapping) for entry in entries):
            raise _damaged("request")
        request = tuple(parse(entry) for entry in entries)
        drawn = _recorded(record, "drawn", list | str)
        _recorded_rows(record, "forgotten_classes")
        if _recorded(record, "content_kind", str) not in get_args(ContentKind):
            raise _damaged("content_kind")
        fields: dict[str, Any] = {
            "forgotten_classes": tuple(record["forgotten_classes"]),
            "content_kind": record["content_kind"],
            "held_out": _recorded_rows(record, "held_out"),
            "earlier": _recorded_rows(record, "earlier"),
            "drawn": forget if drawn == "all" else _recorded_rows(record, "drawn"),
        }
    else:
        numbering = _numbering_of_version_0_1(data)
        if bool((forget >= len(numbering)).any()):
            raise CounError("the recorded split names rows that this data does not have")
        forget = numbering[forget]
        scenario = _recorded(record, "scenario", Mapping)
        label = _recorded(record, "forget_class", int | None)
        request = (Listed.of_numbers(forget),)
        if scenario.get("kind") == "random":
            request = (parse({**scenario, "seed": _recorded(record, "seed", int)}),)
        elif scenario.get("kind") == "class":
            request = (parse(scenario),)
        fields = {
            "forgotten_classes": () if label is None else (label,),
            "drawn": forget
            if scenario.get("kind") == "random"
            else torch.zeros(0, dtype=torch.int64),
        }
    return forget, digest, numbering, {**fields, "request": request}


def _numbering_of_version_0_1(data: Data) -> Tensor:
    """Today's number for each row number of version 0.1, sorted, (n,) int64.

    Where a part of one folder is held out, version 0.1 numbered the training rows alone.
    """
    last = int(torch.cat([data.train.numbers, data.test.numbers]).max())
    numbers = torch.arange(last + 1)
    return numbers[~torch.isin(numbers, data.test.numbers)] if data.one_numbering else numbers


def _damaged(name: str) -> CounError:
    return CounError(
        f"the record of the forget request is damaged at '{name}'; restore the run folder from "
        "a copy, or run the step again"
    )


def _recorded(record: Mapping[str, Any], name: str, kind: Any) -> Any:
    """The entry *name* of a record, of the given type."""
    if not isinstance(record, Mapping) or name not in record:
        raise _damaged(name)
    if not isinstance(record[name], kind):
        raise _damaged(name)
    return record[name]


def _recorded_rows(record: Mapping[str, Any], name: str) -> Tensor:
    """The entry *name* of a record as numbers, (n,) int64."""
    try:
        return row_numbers(_recorded(record, name, list))
    except CounError:
        raise _damaged(name) from None


def labels_of(data: Data, numbers: Tensor) -> Tensor:
    """Labels (n,) int64 of training rows by number, deleted ones included; -1 where unknown.

    Args: numbers: sorted row numbers, (n,) int64.
    """
    labels = torch.full_like(numbers, -1)
    place = torch.searchsorted(numbers, data.train.numbers).clamp(max=len(labels) - 1)
    there = numbers[place] == data.train.numbers
    labels[place[there]] = data.train.labels.cpu()[there]
    if data.absent is not None:
        ours = torch.isin(data.absent.numbers, numbers)
        where = torch.searchsorted(numbers, data.absent.numbers[ours])
        labels[where] = data.absent.labels[ours]
    return labels


def lost_rows(data: Data, forget: Tensor) -> list[str]:
    """Ids of training rows that are deleted from *data* and not among those to *forget*.

    Deleted test rows are no loss of this kind: no model was trained on them, and measurements
    use those that are left.
    """
    if data.absent is None:
        return []
    lost = ~torch.isin(data.absent.numbers, forget)
    return [data.absent.ids[row] for row in lost.nonzero().flatten().tolist()]


def in_lines(split: Split) -> str:
    """A few lines for people: the request, and how many rows have which role."""
    lines = [
        f"Split: {split.describe()}",
        f"  {len(split.forget):,} rows to forget, {len(split.new):,} of them new; "
        f"{len(split.retain):,} to retain",
    ]
    if split.forgotten_classes:
        labels = ", ".join(map(str, split.forgotten_classes))
        lines.append(f"  whole classes, by label: {labels}")
    if len(split.held_out):
        lines.append(f"  {len(split.held_out):,} test rows are left out of measurements")
    return "\n".join(lines)
