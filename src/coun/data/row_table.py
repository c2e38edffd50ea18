"""The table by which a run finds its rows again, in data that was moved or thinned out.

A run records the id, number, label and pixel hash of each row. With that table, `align` finds
the rows in data that was moved, or from which forgotten rows were deleted, and names every
other change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data.content import HASH_BYTES, listing, row_hashes
from coun.data.data_set import AbsentRows, Data
from coun.data.examples import Examples, RenamedExamples, TensorExamples
from coun.data.keyed_rows import PREFIX, with_names
from coun.data.lazy import joined_examples
from coun.data.row_matching import FORGOTTEN, MAY_BE_MISSING, CurrentRows, joined, match_rows
from coun.data.sources import load
from coun.data.split import Split
from coun.errors import CounError, first_line
from coun.files import atomically

VERSION = 1
REPLACED = "forgotten and then replaced"  # a kind of change


@dataclass(frozen=True, eq=False)
class RowTable:
    """What a run records of its rows, to find them again.

    Args:
        ids: N names.
        numbers, labels: (N,) int64.
        hashes: (N, 16) uint8 of `row_hashes`.
        parts: (N,) text, "train" or "test".
        roles: (N,) text: "retain", "forget", "earlier", "held_out" or "test".
        classes: class names by label.
        named: the parts with ids of their own, other than row numbers.
        one_numbering: as of the data.
        limited: which parts a limit had cut.
        keys: by which `align` recognises forgotten rows whose names were removed; not stored.

    Training rows come first, in their order, with those already deleted at the end.

    >>> import coun
    >>> data = coun.load("digits", limit=20)
    >>> table = RowTable.of(data, coun.Split.by_index(data, [22]))
    >>> table.ids[0], str(table.roles[0]), str(table.parts[0])
    ('22', 'forget', 'train')
    """

    ids: tuple[str, ...]
    numbers: np.ndarray
    labels: np.ndarray
    hashes: np.ndarray
    parts: np.ndarray
    roles: np.ndarray
    classes: tuple[str, ...]
    named: tuple[str, ...]
    one_numbering: bool = False
    limited: tuple[str, ...] = ()
    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, data: Data, split: Split | None = None) -> RowTable:
        """Describe the rows of *data* and their roles in *split*; all are retained without one.

        >>> import coun
        >>> data = coun.load("digits", limit=20)
        >>> len(RowTable.of(data).ids)
        379
        """
        roles = np.full(len(data.train), "retain", dtype="<U8")
        absent_roles = np.full(0, "forget", dtype="<U8")
        test_roles = np.full(len(data.test), "test", dtype="<U8")
        absent = data.absent or AbsentRows.none()
        absent_test = data.absent_test or AbsentRows.none()
        absent_test_roles = np.full(len(absent_test.ids), "test", dtype="<U8")
        if split is not None:
            roles[torch.isin(data.train.numbers, split.new).numpy()] = "forget"
            roles[torch.isin(data.train.numbers, split.earlier).numpy()] = "earlier"
            test_roles[torch.isin(data.test.numbers, split.held_out).numpy()] = "held_out"
            before = torch.isin(absent.numbers, split.earlier).numpy()
            absent_roles = np.where(before, "earlier", "forget").astype("<U8")
            left_out = torch.isin(absent_test.numbers, split.held_out).numpy()
            absent_test_roles = np.where(left_out, "held_out", "test").astype("<U8")
        elif len(absent.numbers):
            raise CounError("data with deleted rows needs the split that forgets them")
        assert absent.hashes is not None
        assert absent_test.hashes is not None
        count = len(data.train) + len(absent.ids)
        limits = (("train", data.limit), ("test", data.origin.get("test_limit")))
        return cls(
            (*data.train.ids, *absent.ids, *data.test.ids, *absent_test.ids),
            joined(data.train.numbers, absent.numbers, data.test_numbers),
            joined(data.train.labels, absent.labels, data.test.labels, absent_test.labels),
            np.concatenate(
                [row_hashes(data.train), absent.hashes, row_hashes(data.test), absent_test.hashes]
            ),
            np.array(["train"] * count + ["test"] * len(data.test_numbers)),
            np.concatenate([roles, absent_roles, test_roles, absent_test_roles]),
            data.classes,
            named=tuple(
                part
                for part, examples in (("train", data.train), ("test", data.test))
                if getattr(examples, "names", None) is not None
            ),
            one_numbering=data.one_numbering,
            limited=tuple(part for part, limit in limits if limit is not None),
        )

    def save(self, path: Path) -> None:
        """Write the table as parquet; ids that are only the row number are not stored."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = map(str, self.numbers.tolist())
        ids = [None if i == n else i for i, n in zip(self.ids, numbers, strict=True)]
        hashes = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(HASH_BYTES), len(ids), [None, pa.py_buffer(self.hashes.tobytes())]
        )
        columns = {
            "id": pa.array(ids, pa.string()),
            "number": pa.array(self.numbers, pa.int64()),
            "label": pa.array(self.labels, pa.int64()),
            "hash": hashes,
            "part": pa.array(self.parts.tolist(), pa.string()),
            "role": pa.array(self.roles.tolist(), pa.string()),
        }
        about = {"version": VERSION, "classes": self.classes, "named": self.named}
        about |= {"one_numbering": self.one_numbering, "limited": self.limited}
        table = pa.table(columns).replace_schema_metadata({"coun": json.dumps(about)})
        with atomically(path) as temporary:
            pq.write_table(
                table,
                temporary,
                compression="zstd",
                compression_level=9,
                use_dictionary=["label", "part", "role"],
                column_encoding={"number": "DELTA_BINARY_PACKED", "id": "DELTA_BYTE_ARRAY"},
            )

    @classmethod
    def load(cls, path: Path) -> RowTable:
        """Read a table that `save` wrote. Raises: CounError if it is missing or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            about = json.loads(table.schema.metadata[b"coun"])
            columns = {name: table.column(name).to_pylist() for name in table.column_names}
            hashes = np.frombuffer(b"".join(columns["hash"]), np.uint8).reshape(-1, HASH_BYTES)
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise CounError(
                f"cannot read the row table {path}: {first_line(error)}; restore it from a copy "
                "of the run folder"
            ) from None
        if about["version"] != VERSION:
            raise CounError(
                f"{path} has version {about['version']}; this coun reads {VERSION}; update coun"
            )
        pairs = zip(columns["id"], columns["number"], strict=True)
        return cls(
            tuple(str(number) if name is None else name for name, number in pairs),
            np.array(columns["number"], np.int64),
            np.array(columns["label"], np.int64),
            hashes,
            np.array(columns["part"]),
            np.array(columns["role"]),
            tuple(about["classes"]),
            tuple(about["named"]),
            about["one_numbering"],
            tuple(about["limited"]),
        )


def load_recorded(
    table: RowTable,
    source: str,
    *,
    limit: int | None = None,
    allow_missing: bool = False,
    **origin: Any,
) -> tuple[Data, Tensor]:
    """Load *source* and `align` it with *table*.

    Where a limit was used, deleting a row changes which rows the limit keeps. The whole source
    is then loaded, and the recorded rows are taken from it.

    Args:
        limit, origin: as for `coun.load`, from the record.
        allow_missing: as for `align`.

    Returns: the data, and the numbers of training rows that it no longer has.

    Raises: CounError as `coun.load` and `align` do.

    >>> import coun
    >>> data = coun.load("digits", limit=20)
    >>> again, missing = load_recorded(RowTable.of(data), "digits", limit=20)
    >>> again.train.numbers.equal(data.train.numbers), missing.tolist()
    (True, [])
    """
    try:
        data = load(source, limit=limit, partial=True, **origin)
        return align(data, table, allow_missing=allow_missing)
    except CounError:
        if not table.limited:
            raise
    whole = {key: value for key, value in origin.items() if key != "test_limit"}
    data = load(source, partial=True, **whole)
    aligned, missing = align(data, table, allow_missing=allow_missing)
    return replace(aligned, limit=limit, origin=origin), missing


def align(data: Data, table: RowTable, *, allow_missing: bool = False) -> tuple[Data, Tensor]:
    """Find the rows of *table* in *data*, and give them their recorded numbers and places.

    Rows are matched by id where the source has ids, else by content, so that deleted rows
    never shift the numbers of others. Rows that were to be forgotten may be deleted, or have
    another label by now; they keep the recorded one.
    Deleted test rows are accepted too; `deleted_test_rows` says which. Rows of a part that had a
    limit may be more than recorded; the others are left out.

    Args:
        data: what is there now.
        table: what a run recorded.
        allow_missing: accept any deleted row; `Split.check` then requires that the next
            request names it.

    Returns: data with the recorded rows, whose `absent` holds the deleted ones, and the
        numbers of the deleted training rows, (n,) int64.

    Raises: CounError for other missing rows, and for new, changed or relabelled ones; names
        them.

    >>> import coun
    >>> data = coun.load("digits", limit=20)
    >>> table = RowTable.of(data, coun.Split.by_index(data, data.train.numbers[:2]))
    >>> without_first = replace(data, train=data.train.take(torch.arange(1, 20)))
    >>> len(align(without_first, table)[1])
    1
    """
    current = CurrentRows.of(data, table.classes)
    recorded, table = table, with_names(table, current, table.keys)
    place = match_rows(current, table)
    problems = _problems(current, table, place, data, allow_missing)
    if problems:
        advice = "restore it, or train again"
        if list(problems) == [REPLACED]:  # nobody should restore what was to be forgotten
            advice = "delete what is there now, or give it another name"
        if any(name.startswith(PREFIX) for ids in problems.values() for name in ids):
            advice = (
                "a registry forgot these rows and hashed their names, which only its own keys "
                "recognise: open a version inside the folder of the registry, not a copy of it"
            )
        texts = [f"{len(ids):,} {kind}: {listing(ids)}" for kind, ids in problems.items()]
        raise CounError(
            f"the data differs from what the run recorded: {'; '.join(texts)}; {advice}"
        )
    in_training = table.parts == "train"
    unchanged = (
        data.classes == table.classes
        and np.array_equal(place, np.arange(len(current.ids)))
        and np.array_equal(current.numbers, table.numbers)
        and np.array_equal(current.labels, table.labels)
        and np.array_equal(current.in_training, in_training)
    )
    if unchanged:
        return data, torch.zeros(0, dtype=torch.int64)
    # A copy of a deleted row, or a row of the other part with its id, does not name it again.
    absent = _absent(recorded, in_training & (place < 0))
    absent_test = _absent(recorded, ~in_training & (place < 0))
    aligned = replace(
        data,
        train=_part(data, table, place, training=True),
        test=_part(data, table, place, training=False),
        classes=table.classes,
        absent=absent if absent.ids else None,
        absent_test=absent_test if absent_test.ids else None,
        one_numbering=table.one_numbering,
    )
    return aligned, absent.numbers


def _problems(
    current: CurrentRows, table: RowTable, place: np.ndarray, data: Data, allow_missing: bool
) -> dict[str, list[str]]:
    """What differs and may not: ids by the kind of change."""
    there = np.flatnonzero(place >= 0)
    at = place[there]
    changed = there[(current.hashes[at] != table.hashes[there]).any(1)]
    forgotten = np.isin(table.roles, FORGOTTEN)
    # The record says as what a forgotten row was trained; its label may have been put right since.
    relabelled = there[(current.labels[at] != table.labels[there]) & ~forgotten[there]]
    in_training = table.parts == "train"
    optional = np.isin(table.roles, MAY_BE_MISSING) | ~in_training
    missing = np.flatnonzero((place < 0) & ~optional & (not allow_missing))
    new = np.setdiff1d(np.arange(len(current.ids)), at)
    cut = {"train": data.limit, "test": data.origin.get("test_limit")}
    whole = [part for part in table.limited if cut[part] is None]
    if table.one_numbering and whole:
        new = new[:0]
    new = new[[("train" if current.in_training[row] else "test") not in whole for row in new]]
    by_kind = {
        "missing": [table.ids[row] for row in missing],
        "changed": [table.ids[row] for row in changed[~forgotten[changed]]],
        REPLACED: [table.ids[row] for row in changed[forgotten[changed]]],
        "relabelled": [table.ids[row] for row in relabelled],
        "new": [current.ids[row] for row in new],
    }
    return {kind: ids for kind, ids in by_kind.items() if ids}


def deleted_test_rows(data: Data) -> str:
    """Say in one line which test rows are deleted that no request named; empty if there are none.

    Those of a class of which no row is left went with it: measurements leave forgotten classes out.

    Args: data: as `align` gives it.
    """
    if data.absent_test is None or data.absent_test.named is None:
        return ""
    left = torch.cat([data.train.labels.cpu(), data.test.labels.cpu()])
    unasked = ~data.absent_test.named & torch.isin(data.absent_test.labels, left)
    rows = unasked.nonzero().flatten().tolist()
    if not rows:
        return ""
    ids = [data.absent_test.ids[row] for row in rows]
    readable = [name for name in ids if not name.startswith(PREFIX)]
    return (
        f"{len(rows):,} test row{'s are' if len(rows) > 1 else ' is'} missing"
        f"{', ' * bool(readable)}{listing(readable)}; measurements use the "
        f"{len(data.test):,} that are left"
    )


def _absent(table: RowTable, rows: np.ndarray) -> AbsentRows:
    """The recorded rows at *rows*, (N,) bool, as rows that are deleted."""
    ids = tuple(table.ids[row] for row in np.flatnonzero(rows))
    numbers, labels = (torch.from_numpy(values[rows]) for values in (table.numbers, table.labels))
    named = torch.from_numpy(np.isin(table.roles[rows], MAY_BE_MISSING))
    return AbsentRows(numbers, labels, ids, table.hashes[rows], named)


def _part(
    data: Data, table: RowTable, place: np.ndarray, *, training: bool
) -> TensorExamples | RenamedExamples:
    """The recorded rows of one part that are there, with what the record says of them."""
    rows = np.flatnonzero(((table.parts == "train") == training) & (place >= 0))
    examples, positions = data.train if training else data.test, torch.from_numpy(place[rows])
    if table.one_numbering:
        examples = _pooled(data.train, data.test)
    elif not training:
        positions = positions - len(data.train)
    chosen = examples.take(positions)
    recorded: dict[str, Any] = {
        "labels": torch.from_numpy(table.labels[rows]),
        "numbers": torch.from_numpy(table.numbers[rows]),
        "names": tuple(table.ids[row] for row in rows)
        if ("train" if training else "test") in table.named
        else None,
    }
    if isinstance(chosen, TensorExamples):
        return replace(chosen, **recorded)
    return RenamedExamples(chosen, **recorded)


def _pooled(train: Examples, test: Examples) -> Examples:
    """The rows of both parts; in memory if both are."""
    if not (isinstance(train, TensorExamples) and isinstance(test, TensorExamples)):
        return joined_examples(train, test)
    return TensorExamples(
        torch.cat([train.images, test.images]),
        torch.cat([train.labels, test.labels]),
        torch.cat([train.numbers, test.numbers]),
        (*train.ids, *test.ids),
    )
