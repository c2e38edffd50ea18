"""Forgotten rows without names: recognised with the key, and with nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import coun
from coun.data.keyed_rows import PREFIX, key_name, without_names
from coun.data.row_table import RowTable, align

KEY, OTHER = bytes(32), bytes(range(32))


@pytest.fixture
def photos(write_photos):
    folder = write_photos(train=6, test=2)
    data = coun.load(f"folder:{folder}")
    split = coun.Split.by_id(data, ["train/cat/01.png", "train/dog/02.png"])
    table = RowTable.of(data, split)
    rows = np.flatnonzero(table.roles == "forget")
    return folder, data, without_names(table, rows, KEY)


def reloaded(folder, table, key=None):
    keys = {} if key is None else {key_name(key): key}
    return align(coun.load(f"folder:{folder}"), replace(table, keys=keys))


def test_neither_id_nor_content_of_a_forgotten_row_is_left(photos):
    _, data, table = photos
    assert sorted(name[:5] for name in table.ids).count(PREFIX) == 2
    assert not {"train/cat/01.png", "train/dog/02.png"} & set(table.ids)
    clear = {digest.tobytes() for digest in RowTable.of(data).hashes}
    assert sum(digest.tobytes() not in clear for digest in table.hashes) == 2


def test_with_the_key_rows_that_are_still_there_are_found(photos):
    folder, data, table = photos
    again, missing = reloaded(folder, table, KEY)
    assert again.ids == data.ids
    assert len(missing) == 0


def test_without_the_key_they_are_new_rows(photos):
    folder, _, table = photos
    for key in (None, OTHER):
        with pytest.raises(coun.CounError, match=r"2 new: 'train/cat/01.png', 'train/dog/02.png'"):
            reloaded(folder, table, key)


@pytest.mark.parametrize("key", [None, KEY])
def test_deleted_rows_need_no_key(photos, key):
    folder, _, table = photos
    for name in ("train/cat/01.png", "train/dog/02.png"):
        (folder / name).unlink()
    data, missing = reloaded(folder, table, key)
    assert len(missing) == 2
    assert all(name.startswith(PREFIX) for name in data.absent.ids)


def test_a_deleted_row_stays_nameless_though_the_other_part_has_its_id_and_its_content():
    x = np.random.default_rng(0).integers(0, 255, (6, 4, 4), np.uint8)
    ids, labels = [f"{row}.png" for row in range(6)], [0, 1] * 3
    data = coun.from_arrays(x, labels, x, labels, ids=ids, test_ids=ids)
    table = RowTable.of(data, coun.Split.by_id(data, ["3.png"]))  # a row of each part
    hidden = without_names(table, np.array([3, 9]), KEY)
    left = [0, 1, 2, 4, 5]
    thinned = coun.from_arrays(
        x[left], np.array(labels)[left], x, labels, ids=[ids[row] for row in left], test_ids=ids
    )
    with_key = replace(hidden, keys={key_name(KEY): KEY})
    kept, missing = align(thinned, with_key)
    assert missing.tolist() == [3]
    assert kept.absent.ids[0].startswith(PREFIX)
    place = hidden.ids.index(kept.absent.ids[0])
    assert np.array_equal(kept.absent.hashes[0], hidden.hashes[place])


def test_a_forgotten_row_that_comes_back_under_another_name_is_named(photos):
    folder, _, table = photos
    (folder / "train/cat/01.png").rename(folder / "train/cat/new.png")
    with pytest.raises(coun.CounError, match=r"content of forgotten rows.*'train/cat/new.png'"):
        reloaded(folder, table, KEY)


def test_a_source_without_ids(digits):
    small = replace(digits, train=digits.train.take(torch.arange(30)), source="")
    split = coun.Split.by_index(small, [3, 7])
    table = RowTable.of(small, split)
    table = without_names(table, np.flatnonzero(table.roles == "forget"), KEY)
    again, missing = align(small, replace(table, keys={key_name(KEY): KEY}))
    assert torch.equal(again.train.numbers, small.train.numbers)
    assert len(missing) == 0
    rest = torch.tensor([row for row in range(30) if row not in (3, 7)])
    fewer = replace(small, train=replace(small.train.take(rest), numbers=torch.arange(28)))
    again, missing = align(fewer, table)
    assert missing.tolist() == [3, 7]
    assert torch.equal(again.train.numbers, rest)


def test_a_copy_outside_of_the_registry_says_where_the_names_are(photos):
    """Of version 1, in which these rows were trained on, the copy has no keys."""
    folder, _, table = photos
    first = replace(table, roles=np.where(table.roles == "forget", "retain", table.roles))
    with pytest.raises(coun.CounError, match="open a version inside the folder of the registry"):
        reloaded(folder, first)
    assert len(reloaded(folder, first, KEY)[1]) == 0
