"""The record of a split, read back: every entry is checked, also one of version 0.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests import Listed, parse, parse_recorded
from coun.data.requests.listed import row_numbers
from coun.data.split_rows import ContentKind, no_rows
from coun.errors import CounError


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
        request = tuple(parse_recorded(entry) for entry in entries)
        drawn = _recorded(record, "drawn", list | str)
        _recorded_rows(record, "forgotten_classes")
        if _recorded(record, "content_kind", str) not in get_args(ContentKind):
            raise _damaged("content_kind")
        fields: dict[str, Any] = {
            "forgotten_classes": tuple(record["forgotten_classes"]),
            "content_kind": record["content_kind"],
            "held_out": _recorded_rows(record, "held_out"),
            "earlier": _recorded_rows(record, "earlier"),
            "calibrated": _recorded_rows({"calibrated": [], **record}, "calibrated"),
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
            "drawn": forget if scenario.get("kind") == "random" else no_rows(),
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
