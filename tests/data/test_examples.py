from dataclasses import replace

import numpy as np
import pytest
import torch

from coun.data import Data, TensorExamples, Views, from_arrays
from coun.data.subsets import limited, stratified
from coun.errors import CounError


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    return x, np.arange(60) % 3, x[:9].copy(), np.arange(9) % 3


@pytest.mark.parametrize(
    "permuted", [lambda x: x, lambda x: x.transpose(0, 3, 1, 2)], ids=["NHWC", "NCHW"]
)
def test_uint8_images_become_channels_first(permuted, arrays):
    x, y, *_ = arrays
    examples = TensorExamples.of(permuted(x), y)
    assert examples.images.shape == (60, 3, 8, 8)
    assert np.array_equal(examples.images[7, 2].numpy(), x[7, :, :, 2])
    assert examples.labels.dtype == examples.numbers.dtype == torch.int64


def test_grey_and_float_shapes():
    assert TensorExamples.of(np.zeros((5, 8, 8), np.uint8), [0] * 5).images.shape == (5, 1, 8, 8)
    floats = TensorExamples.of(np.zeros((5, 17)), [0] * 5).images
    assert floats.shape == (5, 17)
    assert floats.dtype == torch.float32


def test_channels_of_floats_are_moved_as_those_of_bytes(arrays):
    x, y, *_ = arrays
    for pixels in (x, x[..., :1]):
        scaled = TensorExamples.of(pixels / 255, y).images
        torch.testing.assert_close(scaled, TensorExamples.of(pixels, y).images / 255)
    for shape in ((3, 8, 3), (8, 3), (5, 8, 8), (2, 4, 4, 3)):  # in front, or not of images
        assert TensorExamples.of(np.zeros((5, *shape)), [0] * 5).images.shape == (5, *shape)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((5, 8, 8), np.int64), [0] * 5, ("int64", "uint8")),
        (np.zeros((5, 8, 8, 2), np.uint8), [0] * 5, ("(5, 8, 8, 2)",)),
        (np.zeros((5, 8), np.uint8), [0] * 5, ("(5, 8)",)),
        (np.zeros(5), [0] * 5, ("one row per image",)),
        (np.zeros((5, 8, 8), np.uint8), [0] * 4, ("5 images but 4 labels",)),
        (np.zeros((5, 8, 8), np.uint8), [0.0] * 5, ("float64", "integers")),
        (np.zeros((5, 8, 8), np.uint8), [True] * 5, ("bool", "integers")),
        (np.zeros((5, 8, 8), np.uint8), ["a"] * 5, ("labels must be a numeric array",)),
        ([np.zeros((8, 8)), np.zeros((9, 8))], [0, 0], ("images must be a numeric array",)),
        (np.array([[0.0], [np.nan]]), [0, 0], ("row 1", "not finite")),
        (np.full((2, 1, 2, 2), np.inf), [0, 0], ("image 0", "not finite")),
    ],
)
def test_arrays_that_do_not_form_examples_are_refused(images, labels, words, refused):
    with refused(*words):
        TensorExamples.of(images, labels)


def test_take_keeps_the_source_order_numbers(arrays):
    examples = TensorExamples.of(*arrays[:2])
    once = examples.take(torch.tensor([50, 3, 9]))
    twice = once.take(torch.tensor([2, 0]))
    assert twice.numbers.tolist() == [9, 50]
    assert torch.equal(twice.fetch(torch.tensor([1]))[0], examples.images[50])


def test_stratified_counts_follow_the_shares():
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    rows = stratified(labels, 10, seed=0)
    assert labels[rows].bincount().tolist() == [7, 2, 1]
    # 2.8, 0.8 and 0.4: the largest remainders are rounded up.
    assert labels[stratified(labels, 4, seed=0)].bincount().tolist() == [3, 1]
    assert rows.tolist() == sorted(set(rows.tolist()))


def test_stratified_is_seeded_and_shuffles():
    labels = torch.arange(300) % 3
    assert torch.equal(stratified(labels, 30, 1), stratified(labels, 30, 1))
    assert not torch.equal(stratified(labels, 30, 1), stratified(labels, 30, 2))
    chosen = torch.cat([stratified(labels, 30, seed) for seed in range(100)])
    # 10 % of 300 rows, 100 times: each row about ten times, none never.
    times = chosen.bincount(minlength=300)
    assert times.min() >= 1
    assert times.max() <= 25


@pytest.mark.parametrize("limit", [0, -1, 61])
def test_a_limit_outside_the_rows_is_refused(limit, arrays, refused):
    with refused("--limit", limit, "1..60"):
        limited(from_arrays(*arrays), limit)


def test_limited_keeps_order_index_and_the_test_part(arrays):
    data = from_arrays(*arrays)
    cut = limited(data, 12)
    assert cut.train.labels.bincount().tolist() == [4, 4, 4]
    assert cut.train.numbers.tolist() == sorted(cut.train.numbers.tolist())
    assert torch.equal(cut.train.images, data.train.images[cut.train.numbers])
    assert cut.test is data.test
    assert cut.limit == 12


def test_data_refuses_parts_that_do_not_fit(arrays, refused):
    data = from_arrays(*arrays)
    with refused("training row '5'", "label 9", "0..2"):
        labels = data.train.labels.clone()
        labels[5] = 9
        replace(data, train=replace(data.train, labels=labels))
    with refused("test part is empty"):
        replace(data, test=data.test.take(torch.tensor([], dtype=torch.int64)))
    with refused("(3, 8, 8)", "(1, 8, 8)", "one shape"):
        replace(data, test=TensorExamples.of(np.zeros((3, 8, 8), np.uint8), [0, 1, 2]))


def test_shape_and_fingerprint(arrays):
    data = from_arrays(*arrays)
    assert data.shape == (3, 8, 8)
    assert data.fingerprint == from_arrays(*arrays).fingerprint
    changed = [array.copy() for array in arrays]
    changed[2][8, 7, 7, 2] ^= 1
    assert from_arrays(*changed).fingerprint != data.fingerprint
    changed = [array.copy() for array in arrays]
    changed[1][[0, 1]] = changed[1][[1, 0]]
    assert from_arrays(*changed).fingerprint != data.fingerprint
    # Names, views and origin are no part of it.
    other = Data(data.train, data.test, ("x", "y", "z"), Views(""), source="elsewhere")
    assert other.fingerprint == data.fingerprint


def test_examples_written_for_version_0_1_are_accepted(arrays):
    class Old:
        def __init__(self, images, labels, index):
            self.images, self.labels, self.index = images, labels, index

        def __len__(self):
            return len(self.labels)

        def fetch(self, rows):
            return self.images[rows]

        def take(self, rows):
            return Old(self.images[rows], self.labels[rows], self.index[rows])

    data = from_arrays(*arrays)
    old = replace(data, train=Old(data.train.images, data.train.labels, data.train.numbers + 5))
    assert old.ids[:2] == ("5", "6")
    part = old.train.take(torch.tensor([7, 2]))
    assert part.numbers.tolist() == part.index.tolist() == [12, 7]
    assert torch.equal(part.fetch(torch.tensor([1]))[0], data.train.images[2])


@pytest.mark.parametrize("name", ["", " ", " a", "a ", "#a", "a\0b", "\udcff", "a\nb", "a\n"])
def test_ids_that_no_file_could_name_are_refused(name):
    x = np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(CounError, match="of row 1 must be one line") as caught:
        TensorExamples.of(x, [0, 1], ids=["b", name])
    assert "\n" not in str(caught.value)


def test_one_text_is_no_list_of_ids():
    with pytest.raises(CounError, match="one text"):
        TensorExamples.of(np.zeros((2, 8, 8), np.uint8), [0, 1], ids="ab")
