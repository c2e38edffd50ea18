"""Rows are named by id or number, and a wrong name is pointed out."""

import unicodedata

import numpy as np
import pytest
import torch
from data.arrays import blank_images

from coun.data import Split, from_arrays
from coun.data.subsets import limited


@pytest.fixture(scope="module")
def data():
    return blank_images()


def test_indices_count_in_the_source_under_a_limit(data, refused):
    cut = limited(data, 10)
    kept = cut.train.numbers.tolist()
    split = Split.by_index(cut, kept[3:5])
    assert split.forget.tolist() == kept[3:5]
    assert split.rows(cut, "forget").tolist() == [3, 4]
    assert split.rows(cut, "retain").tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    lost = next(row for row in range(50) if row not in kept)
    with refused(f"index {lost}", "--limit 10"):
        Split.by_index(cut, [lost])


def test_rows_are_named_by_id(refused):
    x, y = np.zeros((4, 4, 4), np.uint8), [0, 1, 0, 1]
    data = from_arrays(x, y, x, y, ids=["ann", "ben", "cid", "dan"], test_ids=list("tuvw"))
    assert data.train.take(torch.tensor([2, 0])).ids == ("cid", "ann")
    split = Split.by_id(data, ["dan", "ann", "u"])
    assert split.forget.tolist() == [0, 3]
    assert split.held_out.tolist() == [1]
    assert split.test_rows(data).tolist() == [0, 2, 3]
    later = Split.by_id(data, ["ben"], earlier=split)
    assert later.held_out.tolist() == [1]
    with refused("'bem'", "did you mean 'ben'"):
        Split.by_id(data, ["bem"])
    with refused("'ann'", "2 times"):
        Split.by_id(data, ["ann", "ann"])
    with refused("test part", "nothing to forget"):
        Split.by_id(data, ["u"])
    with refused("'a'", "2 rows"):
        from_arrays(x, y, x, y, ids=["a", "a", "b", "c"])


def test_a_class_name_that_is_another_label_must_be_explained(refused):
    x, y = np.zeros((4, 4, 4), np.uint8), [0, 1, 0, 1]
    data = from_arrays(x, y, x, y, classes=["1", "0"])
    with refused("'1'", "name:1", "label:1"):
        Split.by_class(data, 1)
    assert Split.by_class(data, "name:1").forgotten_classes == (0,)
    assert Split.by_class(data, "label:1").forgotten_classes == (1,)


def test_a_number_that_names_no_class_is_no_label_where_names_are_numbers(refused):
    x, y = np.zeros((6, 4, 4), np.uint8), [0, 1, 2, 0, 1, 2]
    data = from_arrays(x, y, x, y, classes=["2", "3", "10"])  # as houses are numbered
    with refused("no class is called '0'", "'label:0'", "class '2'"):
        Split.by_class(data, "0")
    assert Split.by_class(data, "label:0").forget.tolist() == [0, 3]
    assert Split.by_class(data, "10").forget.tolist() == [2, 5]
    named = from_arrays(x, y, x, y, classes=["cat", "dog", "owl"])
    assert Split.by_class(named, "0").forget.tolist() == [0, 3]


@pytest.mark.parametrize("ids", ["12", b"12", None, 12, [1], [None], [float("nan")], [b"1"]])
def test_ids_that_are_no_texts_are_refused(ids, data, refused):
    with refused("expected"):
        Split.by_id(data, ids)


@pytest.mark.parametrize(
    "rows", [["1"], "1", None, 12, [[1, 2], [3]], [2**70], [1 + 5j], [True, 1], np.array([1.0])]
)
def test_rows_that_are_no_numbers_are_refused(rows, data, refused):
    with refused("forget row number"):
        Split.by_index(data, rows)


def test_the_message_about_an_unknown_row_counts_each_row_once(data, refused):
    with refused("between 0 and 49, 50 rows"):
        Split.by_index(data, [99], earlier=[1, 2])


@pytest.mark.parametrize(
    "spelled", ["DÖG/Çem 1.png", ".\\dög\\çem 1.PNG", unicodedata.normalize("NFD", "dög/çem 1.PNG")]
)
def test_an_id_that_another_system_spells_otherwise_is_pointed_out(refused, spelled):
    x, y, names = np.zeros((2, 4, 4), np.uint8), [0, 1], ["dög/cem 1.PNG", "dög/çem 1.PNG"]
    data = from_arrays(x, y, x, y, ids=names, test_ids=list("tu"))
    with refused("did you mean 'dög/çem 1.PNG'? It differs in capitals, slashes or the Unicode"):
        Split.by_id(data, [spelled])


@pytest.mark.parametrize("spelled", ["7.png", "/home/ann/photos/cat/7.png"])
def test_a_file_name_alone_and_a_whole_path_are_pointed_out(refused, spelled):
    x, y = np.zeros((2, 4, 4), np.uint8), [0, 1]
    data = from_arrays(x, y, x, y, ids=["cat/7.png", "dog/8.png"], test_ids=list("tu"))
    with refused("names no row (did you mean 'cat/7.png'?)"):
        Split.by_id(data, [spelled])
    with refused("and 2 more name no row"):
        Split.by_id(data, [spelled, "x", "y"])


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [
        ("1003.0", "1003"),
        ("01003", "1003"),
        (" 1003 ", "1003"),
        ("ann1004", "anne1004"),
        ("train/ka\u0308tze.png", "train/k\u00e4tze.png"),
        ("ka\u0308tze.png", "train/k\u00e4tze.png"),
        ("1030", None),
        ("1.003E+03", None),
        ("100", None),
        ("anne1005", None),
    ],
)
def test_no_row_with_another_number_is_proposed(refused, spelled, meant):
    """It would be the row of somebody else."""
    names = ["1003", "1004", "anne1004", "train/k\u00e4tze.png"]
    x, y = np.zeros((4, 4, 4), np.uint8), [0, 1, 0, 1]
    data = from_arrays(x, y, x, y, ids=names, test_ids=["1002", "1040", "b", "test/k\u00e4tze.png"])
    with refused(f"names no row (did you mean '{meant}'" if meant else "names no row; ids of"):
        Split.by_id(data, [spelled])
