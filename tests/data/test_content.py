"""Copies are found by content."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from data.arrays import noise

from coun.data import Split, TensorExamples, from_arrays, from_dataset
from coun.data.content import copies, row_hashes, rows_like, same_rows, with_copies


@pytest.fixture(scope="module")
def data():
    return from_arrays(*noise(), *noise(9, 1), classes=["a", "b", "c"])


def test_hashes_tell_pixels_apart_and_ignore_labels_and_streaming(data):
    hashes = row_hashes(data.train)
    assert len({row.tobytes() for row in hashes}) == 30
    other = replace(data.train, labels=1 - data.train.labels.clamp(max=1))
    assert np.array_equal(row_hashes(other), hashes)
    pairs = [(image, k % 2) for k, image in enumerate(data.train.images)]
    streamed = from_dataset(pairs, pairs, classes=["a", "b"], stream=True)
    assert np.array_equal(row_hashes(streamed.train), hashes)


def test_a_hash_is_that_of_type_shape_and_bytes_in_every_version():
    """Recorded row tables hold it; `(dtype('uint8'), (1, 2, 2))` is how NumPy writes the type."""
    numbers = torch.arange(2)
    pixels = torch.tensor([[[[1, 2], [3, 4]]], [[[5, 6], [7, 8]]]], dtype=torch.uint8)
    for images, text in (
        (pixels, b"(dtype('uint8'), (1, 2, 2))"),
        (pixels.float(), b"(dtype('float32'), (1, 2, 2))"),
        (pixels.reshape(2, 1, 4, 1), b"(dtype('uint8'), (1, 4, 1))"),
    ):
        first, second = row_hashes(TensorExamples(images, numbers, numbers))
        for digest, image in ((first, images[0]), (second, images[1])):
            expected = hashlib.blake2b(text + image.numpy().tobytes(), digest_size=16)
            assert digest.tobytes() == expected.digest()


def test_a_grey_picture_has_one_hash_in_either_form():
    grey = torch.randint(0, 256, (2, 1, 4, 4), dtype=torch.uint8)
    numbers = torch.arange(2)
    colour = TensorExamples(grey.repeat(1, 3, 1, 1), numbers, numbers)
    assert np.array_equal(row_hashes(colour), row_hashes(TensorExamples(grey, numbers, numbers)))


def test_copies_are_found_and_taken_along(data):
    x = data.train.images.clone()
    x[7], x[20] = x[3], x[3]
    test = data.test.images.clone()
    test[4] = x[3]
    copied = replace(
        data, train=replace(data.train, images=x), test=replace(data.test, images=test)
    )
    split = Split.by_index(copied, [3, 5])
    assert copies(copied, split).describe() == (
        "2 exact copies of forgotten rows among retained rows, 1 among test rows"
    )
    more = with_copies(copied, split)
    assert more.forget.tolist() == [3, 5, 7, 20]
    assert more.held_out.tolist() == [4]
    assert not copies(copied, more).describe()
    assert Split.from_json(copied, more.to_json()).held_out.tolist() == [4]
    assert not copies(data, Split.by_index(data, [3, 5])).describe()


def test_rows_are_found_by_a_picture(data, tmp_path, refused):
    from PIL import Image

    for row in (4, 11):
        Image.fromarray(noise()[0][row]).save(tmp_path / f"{row}.png")
    Image.fromarray(noise(9, 1)[0][2]).save(tmp_path / "test.png")
    train, test = rows_like(data, [tmp_path])
    assert (train.tolist(), test.tolist()) == ([4, 11], [2])
    Image.fromarray(noise(1, 5)[0][0]).save(tmp_path / "strange.png")
    with refused("strange.png", "no row has the same pixels", "coun rows --like"):
        rows_like(data, [tmp_path / "strange.png"])
    (tmp_path / "empty").mkdir()
    with refused("empty", "no image file"):
        rows_like(data, [tmp_path / "empty"])


def test_the_same_rows_in_another_order_are_the_same_rows(small):
    order = torch.randperm(len(small.train), generator=torch.Generator().manual_seed(0))
    shuffled = replace(small, train=small.train.take(order))
    assert same_rows(small, shuffled)
    assert small.fingerprint != shuffled.fingerprint
    images = small.train.images.clone()
    images[3] = 255 - images[3]
    assert not same_rows(small, replace(small, train=replace(small.train, images=images)))
    labels = small.train.labels.roll(1)
    assert not same_rows(small, replace(small, train=replace(small.train, labels=labels)))
