"""A run's rows are found again in data that was moved or thinned out."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from data.arrays import noise

from coun.data import RowTable, Split, align, from_arrays
from coun.data.row_table import deleted_test_rows


@pytest.fixture(scope="module")
def data():
    return from_arrays(*noise(), *noise(9, 1), classes=["a", "b", "c"])


def without(data, rows, *, names=None):
    """The data as a user has it once *rows* were deleted: later rows move up."""
    stays = torch.tensor([row for row in range(len(data.train)) if row not in rows])
    x, y = data.train.images[stays], data.train.labels[stays]
    kept = None if names is None else [names[row] for row in stays.tolist()]
    return from_arrays(
        x.numpy(), y.numpy(), data.test.images.numpy(), data.test.labels.numpy(),
        classes=data.classes, ids=kept,
    )  # fmt: skip


def test_a_table_is_read_back(data, tmp_path):
    split = Split.by_index(data, [3, 5], earlier=[8])
    table = RowTable.of(data, split)
    table.save(tmp_path / "rows.parquet")
    again = RowTable.load(tmp_path / "rows.parquet")
    assert again.ids == table.ids
    assert again.classes == table.classes
    for name in ("numbers", "labels", "hashes", "parts", "roles"):
        assert np.array_equal(getattr(again, name), getattr(table, name))
    assert (again.roles == "forget").nonzero()[0].tolist() == [3, 5]
    assert (again.roles == "earlier").nonzero()[0].tolist() == [8]


def test_a_damaged_table_is_refused(tmp_path, refused):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nothing")
    with refused("rows.parquet", "row table"):
        RowTable.load(tmp_path / "rows.parquet")


def test_fifty_thousand_rows_take_less_than_two_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    count, held = 50_000, 10_000
    total = count + held
    table = RowTable(
        tuple(f"train/person {rng.integers(10**6):06d}/IMG_{n:05d}.jpg" for n in range(total)),
        np.arange(total),
        rng.integers(0, 100, total),
        rng.integers(0, 256, (total, 16), dtype=np.uint8),
        np.array(["train"] * count + ["test"] * held),
        np.array(["retain"] * count + ["test"] * held),
        tuple(map(str, range(100))),
        named=("train", "test"),
    )
    table.save(tmp_path / "rows.parquet")
    assert (tmp_path / "rows.parquet").stat().st_size < 2e6


def test_unchanged_data_is_given_back_as_it_is(data):
    aligned, missing = align(data, RowTable.of(data))
    assert aligned is data
    assert not len(missing)


@pytest.mark.parametrize("names", [None, [f"row {n}" for n in range(30)]])
def test_deleted_rows_shift_nothing(data, names, refused):
    data = without(data, [], names=names)
    split = Split.by_index(data, [3, 5], earlier=[8])
    table = RowTable.of(data, split)
    aligned, missing = align(without(data, [3, 8], names=names), table)
    assert missing.tolist() == [3, 8]
    assert aligned.train.numbers.tolist() == [n for n in range(30) if n not in (3, 8)]
    assert aligned.ids == tuple(n for r, n in enumerate(data.ids) if r not in (3, 8))
    for position, number in enumerate(aligned.train.numbers.tolist()):
        assert torch.equal(aligned.train.images[position], data.train.images[number])
    assert Split.from_json(aligned, split.to_json()).digest == split.digest
    again = RowTable.of(aligned, split)
    assert sorted(again.numbers[again.parts == "train"].tolist()) == list(range(30))
    twice, missing = align(without(data, [3, 5, 8], names=names), again)
    assert missing.tolist() == [5, 3, 8]
    assert len(twice.train) == 27
    with refused("1 missing", f"'{data.ids[9]}'"):
        align(without(data, [3, 9], names=names), table)


def test_nobody_is_told_to_restore_a_forgotten_row_that_was_replaced(data, refused):
    data = without(data, [], names=[f"row {n}" for n in range(30)])
    table = RowTable.of(data, Split.by_index(data, [3], earlier=[5]))

    def with_placeholders(*rows):
        images = data.train.images.clone()
        images[list(rows)] = 0
        return replace(data, train=replace(data.train, images=images))

    with refused("2 forgotten and then replaced: 'row 3', 'row 5'; delete what is there"):
        align(with_placeholders(3, 5), table)
    with refused("1 changed: 'row 9'", "replaced: 'row 3', 'row 5'", "restore it"):
        align(with_placeholders(3, 5, 9), table)


@pytest.mark.parametrize("names", [None, [f"row {n}" for n in range(30)]])
def test_other_changes_are_named(data, names, refused):
    data = without(data, [], names=names)
    table = RowTable.of(data, Split.by_index(data, [3, 5]))
    images = data.train.images.clone()
    images[9] = 0
    with refused("1 changed", f"'{data.ids[9]}'"):
        align(replace(data, train=replace(data.train, images=images)), table)
    labels = data.train.labels.clone()
    labels[9] = (labels[9] + 1) % 3
    with refused("1 relabelled", f"'{data.ids[9]}'"):
        align(replace(data, train=replace(data.train, labels=labels)), table)
    x, y = (np.concatenate(pair) for pair in zip(noise(), noise(1, 7), strict=True))
    more = None if names is None else [*names, "new one"]
    test = noise(9, 1)
    with refused("1 new", f"'{'30' if names is None else 'new one'}'"):
        align(from_arrays(x, y, *test, classes=data.classes, ids=more), table)
    other = from_arrays(*noise(), *noise(9, 1), classes=["a", "b", "d"], ids=names)
    with refused("class 'd'"):
        align(other, table)
    with refused("1 missing"):
        align(without(data, [9], names=names), table)


@pytest.mark.parametrize("names", [None, [f"row {n}" for n in range(30)]])
def test_the_label_of_a_forgotten_row_may_be_put_right(data, names):
    data = without(data, [], names=names)
    table = RowTable.of(data, Split.by_index(data, [3], earlier=[5]))
    labels = data.train.labels.clone()
    labels[[3, 5]] = (labels[[3, 5]] + 1) % 3
    aligned, missing = align(replace(data, train=replace(data.train, labels=labels)), table)
    assert aligned.train.labels.equal(data.train.labels)  # as the model was trained with them
    assert aligned.train.numbers.equal(data.train.numbers)
    assert not len(missing)
    rest = without(replace(data, train=replace(data.train, labels=labels)), [5], names=names)
    aligned, missing = align(rest, table)
    assert aligned.train.labels.equal(data.train.labels[data.train.numbers != 5])
    assert missing.tolist() == [5]


def test_of_two_copies_the_retained_one_stays(data):
    images = data.train.images.clone()
    images[6] = images[3]
    copied = without(replace(data, train=replace(data.train, images=images)), [])
    table = RowTable.of(copied, Split.by_index(copied, [3]))
    aligned, missing = align(without(copied, [6]), table)
    assert missing.tolist() == [3]
    assert 6 in aligned.train.numbers.tolist()


def test_a_deleted_class_keeps_the_labels_of_the_others(data):
    split = Split.by_class(data, "a")
    table = RowTable.of(data, split)
    stays = (data.train.labels != 0).nonzero().flatten()
    test = (data.test.labels != 0).nonzero().flatten()
    less = from_arrays(
        data.train.images[stays].numpy(), data.train.labels[stays].numpy() - 1,
        data.test.images[test].numpy(), data.test.labels[test].numpy() - 1, classes=["b", "c"],
    )  # fmt: skip
    aligned, missing = align(less, table)
    assert aligned.classes == ("a", "b", "c")
    assert aligned.train.labels.unique().tolist() == [1, 2]
    assert sorted(missing.tolist()) == split.forget.tolist()
    assert Split.from_json(aligned, split.to_json()).forgotten_classes == (0,)


def test_rows_that_are_already_deleted_can_be_asked_for(data, refused):
    data = without(data, [], names=[f"row {n}" for n in range(30)])
    table = RowTable.of(data)
    less = without(data, [4, 9], names=data.ids)
    with refused("2 missing: 'row 4', 'row 9'"):
        align(less, table)
    aligned, _ = align(less, table, allow_missing=True)
    split = Split.by_id(aligned, ["row 9", "row 4", "row 1"])
    assert split.forget.tolist() == [1, 4, 9]
    with refused("'row 9'", "name it in the request"):
        Split.by_id(aligned, ["row 4"])


def test_deleted_test_rows_can_be_asked_for(data, refused):
    names = [f"test {n}" for n in range(9)]
    data = without(data, [], names=[f"row {n}" for n in range(30)])
    data = replace(data, test=replace(data.test, names=names))
    table = RowTable.of(data)
    less = replace(data, test=data.test.take(torch.arange(1, 9)))
    aligned, missing = align(less, table)
    assert not len(missing)
    says = "1 test row is missing, 'test 0'; measurements use the 8 that are left"
    assert deleted_test_rows(aligned) == says
    assert aligned.absent_test is not None
    keyed = replace(aligned, absent_test=replace(aligned.absent_test, ids=["hmac:ab:cd"]))
    assert deleted_test_rows(keyed) == says.replace(", 'test 0'", "")
    unasked = Split.by_id(aligned, ["row 4"])
    assert deleted_test_rows(align(less, RowTable.of(aligned, unasked))[0]) == says
    split = Split.by_id(aligned, ["row 4", "test 0"])
    assert split.held_out.tolist() == [0]
    again, _ = align(less, RowTable.of(aligned, split))
    assert Split.from_json(again, split.to_json()).digest == split.digest
    assert len(again.test) == 8
    assert deleted_test_rows(again) == ""
