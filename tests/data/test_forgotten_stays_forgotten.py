"""Whatever is asked for, deleted, limited or copied: a forgotten row is never read to train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from guarded import Guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from coun.data import Data, RowTable, Split, align, from_arrays, with_copies
from coun.data.requests import Class, Listed, Random
from coun.data.subsets import limited
from coun.engine import Task
from coun.errors import CounError
from coun.models import Classifier
from coun.seeds import Seeds

ROWS, CLASSES = 24, 3


def guard(data: Data, forbidden: set[int]) -> Data:
    """Data that is guarded from now on; its first row has given the shape of images."""
    watched: set[int] = set()
    guarded = replace(data, train=Guarded(data.train, watched))
    watched |= forbidden
    return guarded


def source(seed: int, copied: int, named: bool) -> tuple[np.ndarray, np.ndarray, list[str] | None]:
    """Pixels, labels and ids of a source, in which *copied* rows repeat others."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (ROWS, 4, 4), dtype=np.uint8)
    x[:copied] = x[rng.integers(copied, ROWS, copied)]
    return x, np.arange(ROWS) % CLASSES, [f"row {n}" for n in range(ROWS)] if named else None


class Source:
    """What is on the disk: rows are deleted from it, and it is opened again."""

    def __init__(self, seed: int, copied: int, named: bool, limit: int | None) -> None:
        self.x, self.y, self.ids = source(seed, copied, named)
        self.there, self.limit = list(range(ROWS)), limit

    def read(self, limit: int | None = None) -> Data:
        ids = None if self.ids is None else [self.ids[n] for n in self.there]
        rng = np.random.default_rng(99)
        test = rng.integers(0, 256, (CLASSES, 4, 4), dtype=np.uint8)
        x, y = self.x[self.there], self.y[self.there]
        present = sorted(set(y.tolist()))
        data = from_arrays(x, y, test[present], np.array(present), classes=["a", "b", "c"], ids=ids)
        return data if limit is None else limited(data, limit)

    def delete(self, numbers: set[int]) -> None:
        self.there = [n for n in self.there if n not in numbers]

    def reopen(self, table: RowTable, *, allow_missing: bool = False) -> Data:
        """The recorded rows of the source; a limited one is read whole, as `load_recorded` does."""
        data, _ = align(self.read(), table, allow_missing=allow_missing)
        return replace(data, limit=self.limit)


def check(data: Data, split: Split, forgotten: set[int], disk: Source) -> None:
    """No retained row is a forgotten one, and each row is the one that its number says."""
    assert forgotten == set(split.forget.tolist())
    assert not forgotten & set(split.retain.tolist())
    guarded = guard(data, forgotten)
    rows = split.rows(guarded, "retain")
    images = guarded.train.take(rows).fetch(torch.arange(len(rows)))
    for row, image in zip(rows.tolist(), images, strict=True):
        number = int(data.train.numbers[row])
        assert (image[0].numpy() == disk.x[number]).all()
        assert int(data.train.labels[row]) == disk.y[number]
        if disk.ids is not None:
            assert data.train.ids[row] == disk.ids[number]


some_rows = st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=4)
requests = st.one_of(
    st.tuples(st.just("random"), st.floats(0.05, 0.3), st.integers(0, 9)),
    st.tuples(st.just("class"), st.integers(0, CLASSES - 1), st.just(0)),
    st.tuples(st.sampled_from(["listed", "ids"]), some_rows, st.just(0)),
)
months = st.tuples(
    st.lists(requests, min_size=1, max_size=2),
    st.booleans(),  # with copies
    st.floats(0, 1),  # share of the forgotten rows that is deleted afterwards
    st.booleans(),  # the listed rows are deleted before they are named
)


def typed(entry, data: Data, disk: Source):
    kind, value, seed = entry
    if kind == "random":
        return Random(fraction=value, seed=seed)
    if kind == "class":
        return Class(name=data.classes[value])
    names = {int(n): i for n, i in zip(data.train.numbers, data.ids, strict=True)}
    if data.absent is not None:
        names |= {int(n): i for n, i in zip(data.absent.numbers, data.absent.ids, strict=True)}
    chosen = sorted(value & set(names)) or [min(names)]
    if kind == "ids":
        return Listed(ids=tuple(names[n] for n in chosen))
    return Listed(rows=tuple(chosen))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    copied=st.integers(0, 5),
    named=st.booleans(),
    limit=st.sampled_from([None, 18]),
    year=st.lists(months, min_size=1, max_size=5),
)
def test_a_year_of_requests_and_deletions(seed, copied, named, limit, year):
    disk = Source(seed, copied, named, limit)
    data, split, forgotten = disk.read(limit), None, set()
    table = RowTable.of(data)
    for entries, copies_too, deleted_share, deleted_first in year:
        data = disk.reopen(table)
        wanted = [typed(entry, data, disk) for entry in entries]
        listed = {n for r in wanted if isinstance(r, Listed) and r.rows for n in r.rows}
        # Of two copies without names, nobody can say which one was deleted.
        if deleted_first and (named or copied == 0) and len(disk.there) - len(listed) > 8:
            disk.delete(listed)
            data = disk.reopen(table, allow_missing=True)
        try:
            new = Split.of(data, *wanted, earlier=split)
            new = with_copies(data, new) if copies_too else new
        except CounError:  # nothing new to forget, or nothing left to retain
            if data.absent is not None and not set(data.absent.numbers.tolist()) <= forgotten:
                return
            continue
        split = Split.from_json(data, new.to_json())
        assert set(split.earlier.tolist()) == forgotten
        forgotten |= set(split.new.tolist())
        check(data, split, forgotten, disk)
        if copies_too:
            pixels = {disk.x[n].tobytes() for n in forgotten}
            assert not pixels & {disk.x[n].tobytes() for n in split.retain.tolist()}
        table = RowTable.of(data, split)
        rng = np.random.default_rng(seed)
        disk.delete({n for n in sorted(forgotten) if rng.random() < deleted_share})
        check(disk.reopen(table), split, forgotten, disk)


@settings(max_examples=25, deadline=None)
@given(entry=requests, earlier=st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=5))
def test_no_method_is_given_an_earlier_row(entry, earlier):
    disk = Source(1, 0, True, None)
    data = disk.read()
    first = Split.by_index(data, earlier)
    try:
        split = Split.of(data, typed(entry, data, disk), earlier=first)
    except CounError:
        return
    guarded = guard(data, earlier)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES))
    classifier = Classifier(net, example=torch.zeros(2, 1, 4, 4))
    reads = frozenset({"retain", "forget"})
    task = Task(guarded, split, Seeds(0), reads, classifier, None, torch.device("cpu"))
    for role in ("retain", "forget"):
        examples = task.source(role)
        examples.fetch(torch.arange(len(examples)))


def test_a_deleted_row_that_nobody_asked_to_forget_is_an_error(refused):
    disk = Source(0, 0, True, None)
    data = disk.read()
    table = RowTable.of(data, Split.by_index(data, [1]))
    disk.delete({1, 2})
    with refused("1 missing", "'row 2'"):
        disk.reopen(table)
