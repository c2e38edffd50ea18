import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from data.arrays import blank_images
from hypothesis import given, settings
from hypothesis import strategies as st

from coun.data import RowTable, Split, align, from_arrays
from coun.data.data_set import AbsentRows
from coun.data.requests import Class, Listed
from coun.errors import CounError


@pytest.fixture(scope="module")
def data():
    return blank_images()


def assert_partition(split, data):
    forget, retain = set(split.forget.tolist()), set(split.retain.tolist())
    assert forget
    assert retain
    assert not forget & retain
    assert forget | retain == set(data.train.numbers.tolist())
    for part in (split.forget, split.retain):
        assert part.dtype == torch.int64
        assert part.tolist() == sorted(set(part.tolist()))


@settings(deadline=None)  # a busy machine may take long for one example
@given(
    count=st.integers(10, 200),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
)
def test_random_splits_partition_the_rows(count, fraction, seed):
    data = blank_images(count)
    wanted = round(count * fraction)
    if wanted in (0, count):
        return
    split = Split.random(data, fraction, seed=seed)
    assert len(split.forget) == wanted
    assert_partition(split, data)


@given(st.sets(st.integers(0, 49), min_size=1, max_size=49))
def test_splits_by_index_forget_the_listed_rows(rows):
    data = blank_images()
    split = Split.by_index(data, rows)
    assert split.forget.tolist() == sorted(rows)
    assert_partition(split, data)
    assert split.digest == Split.by_index(data, torch.tensor(sorted(rows, reverse=True))).digest


def test_random_is_seeded_and_uniform(data):
    a, b, c = (Split.random(data, 0.2, seed=seed) for seed in (0, 0, 1))
    assert a.digest == b.digest
    assert a.digest != c.digest
    times = torch.cat([Split.random(data, 0.2, seed=s).forget for s in range(500)]).bincount()
    # 500 draws at p = 0.2: 100 +- 9; six deviations.
    assert (times - 100).abs().max() < 54


@pytest.mark.parametrize("name", ["class 3", "3", 3])
def test_by_class_takes_name_or_label(data, name):
    split = Split.by_class(data, name)
    assert split.forget.tolist() == list(range(3, 50, 5))
    assert split.forget_class == 3
    assert_partition(split, data)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan"), 0.001, 0.999])
def test_fractions_that_empty_a_side_are_refused(data, fraction, refused):
    with refused("forget fraction", fraction):
        Split.random(data, fraction)


def test_bad_requests_are_refused(data, refused):
    with refused("unknown class 'clas 3'", "did you mean 'class 3'"):
        Split.by_class(data, "clas 3")
    with refused("unknown class '5'"):
        Split.by_class(data, 5)
    with refused("names no row"):
        Split.by_index(data, [])
    with refused("row number '7'", "2 times"):
        Split.by_index(data, [3, 7, 7])
    with refused("index 50", "between 0 and 49"):
        Split.by_index(data, [3, 50])
    with refused("index -1"):
        Split.by_index(data, [-1])
    with refused("float", "integers"):
        Split.by_index(data, [1.0])
    with refused("retain set is empty"):
        Split.by_index(data, range(50))


def test_the_digest_tells_splits_apart(data):
    seen = {Split.by_index(data, [row]).digest for row in range(50)}
    assert len(seen) == 50
    assert Split.by_index(data, [1, 2]).digest != Split.by_index(blank_images(51), [1, 2]).digest


def test_check_refuses_other_data(data, refused):
    split = Split.random(data, 0.3)
    with refused("51 training rows", "other data"):
        split.check(blank_images(51))
    overlapping = Split(split.forget, data.train.numbers)
    with refused("share rows"):
        overlapping.check(data)


def test_what_was_forgotten_before_stays_forgotten(data, refused):
    first = Split.by_index(data, [1, 2, 3])
    second = Split.by_index(data, [3, 7], earlier=first)
    assert second.forget.tolist() == [1, 2, 3, 7]
    assert second.new.tolist() == [7]
    assert second.earlier.tolist() == [1, 2, 3]
    assert not set(second.retain.tolist()) & {1, 2, 3, 7}
    assert second.rows(data, "forget").tolist() == [7]
    assert second.rows(data, "forgotten").tolist() == [1, 2, 3, 7]
    later = Split.by_index(data, [3, 7]).after(data, first)
    assert later.digest == second.digest
    assert later.new.tolist() == [7]
    with refused("forgotten before"):
        Split.by_index(data, [1, 3], earlier=first)


def test_a_random_draw_is_from_the_rows_that_remain(data):
    first = Split.random(data, 0.5)
    second = Split.random(data, 0.2, earlier=first)
    assert len(second.new) == 5
    assert second.content_kind == "random"


def test_requests_together_are_their_union(data):
    both = Split.of(data, Class(name="2"), Listed(rows=(1, 2, 3)))
    assert both.forget.tolist() == sorted({*range(2, 50, 5), 1, 2, 3})
    assert both.forgotten_classes == (2,)
    assert both.content_kind == "mixed"
    kinds = {kind: numbers.tolist() for kind, numbers in both.parts(data)}
    assert kinds == {"class": list(range(2, 50, 5)), "listed": [1, 3]}
    assert Split.by_class(data, 1, "class 3").forgotten_classes == (1, 3)


def test_content_decides_what_a_list_is(data):
    listed = Split.by_index(data, range(2, 50, 5))
    assert listed.content_kind == "class"
    assert listed.forget_class == 2
    assert Split.by_index(data, [2, 7]).content_kind == "listed"
    assert Split.random(data, 0.2).content_kind == "random"


def test_rows_may_be_deleted_once_they_are_forgotten(data, refused):
    split = Split.by_index(data, [1, 5])
    kept = torch.tensor([row for row in range(50) if row != 1])
    without = replace(data, train=data.train.take(kept))
    split.check(without)
    assert split.missing(without).tolist() == [1]
    again = Split.from_json(without, json.loads(json.dumps(split.to_json())))
    assert again.digest == split.digest
    assert again.rows(without, "forget").tolist() == [4]
    lost = replace(data, train=data.train.take(kept[1:]))
    with refused("48 training rows", "other data"):
        split.check(lost)


def test_absent_rows_can_be_named_and_must_be(data, refused):
    kept = torch.tensor([row for row in range(50) if row not in (1, 7)])
    absent = AbsentRows(torch.tensor([1, 7]), torch.tensor([1, 2]), ("1", "7"))
    less = replace(data, train=data.train.take(kept), absent=absent)
    split = Split.by_id(less, ["7", "1", "3"])
    assert split.forget.tolist() == [1, 3, 7]
    assert split.missing(less).tolist() == [1, 7]
    assert 7 in Split.of(less, Class(name="2"), Listed(rows=(1,))).forget
    with refused("lacks 1 row of the run", "missing", "'7'"):
        Split.by_index(less, [1, 3])


def named(order):
    x = np.arange(20 * 16, dtype=np.uint16).astype(np.uint8).reshape(20, 4, 4)
    ids = [f"p{i:02d}" for i in range(20)]
    order = list(order)
    labels = np.arange(20) % 2
    return from_arrays(x[order], labels[order], x[:2], [0, 1], ids=[ids[i] for i in order])


def test_a_split_of_reordered_data_is_refused_and_not_applied_by_position(refused):
    data, other = named(range(20)), named(reversed(range(20)))
    split = Split.by_id(other, ["p03"])
    words = ("row 16 is 'p16' in this data", "made for 'p03'", "run.data")
    with refused(*words):
        split.check(data)
    with refused(*words):
        split.after(data, None)
    with refused(*words):
        Split.by_id(data, ["p00"], earlier=split)
    again = Split.from_json(data, Split.by_id(data, ["p03"]).to_json())
    assert again.forget_ids == {3: "p03"}
    again.check(data)


@pytest.mark.parametrize(
    ("earlier", "words"),
    [
        (torch.ones(50, dtype=torch.bool), "torch.bool"),
        (np.ones(50, bool), "bool"),
        ([True], "bool"),
        ([1.7], "'1.7'"),
        (["a"], "'a'"),
        ("12", "str"),
        (12, "int"),
        ([10**6], "earlier row 1000000"),
        ([-5], "-5"),
    ],
)
def test_earlier_rows_are_checked_like_a_request(earlier, words, data, refused):
    with refused("earlier row", words):
        Split.by_index(data, [0], earlier=earlier)


def test_earlier_rows_may_be_an_array(data):
    for earlier in ([1], {1}, np.array([1], np.uint16), torch.tensor([1], dtype=torch.int32)):
        assert Split.by_index(data, [0], earlier=earlier).forget.tolist() == [0, 1]


def test_rows_that_were_forgotten_and_deleted_count_as_forgotten():
    data = blank_images()
    first = Split.by_index(data, [3, 8])
    there = torch.tensor([row for row in range(50) if row not in (3, 8)])
    table = RowTable.of(data, first)
    now, _ = align(replace(data, train=data.train.take(there)), table)
    second = Split.by_class(now, "class 0")
    assert second.earlier.tolist() == [3, 8]
    assert second.new.tolist() == list(range(0, 50, 5))
    # Rows of an Original that are missing and that nobody named are still refused.
    original = RowTable.of(data, None)
    lost, _ = align(replace(data, train=data.train.take(there)), original, allow_missing=True)
    with pytest.raises(CounError, match="restore what is missing"):
        Split.by_class(lost, "class 0")
    assert Split.by_index(now, [3, 8]).new.tolist() == [3, 8]
