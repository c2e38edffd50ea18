import numpy as np
import pytest
import torch

import coun
from coun.data.preprocessing import with_class_order, with_views
from coun.data.transforms import TransformViews
from coun.data.views import OF_GREY, OF_PAPER, OF_ROWS, SAMPLE, Views, channel_statistics


def pictures(side=12, count=40, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (count, channels, side, side), dtype=np.uint8)
    labels = np.arange(count) % 2
    return coun.from_arrays(images, labels, images[:10], labels[:10])


def test_statistics_are_those_of_all_pixels():
    data = pictures(count=100)
    pixels = data.train.images.double().transpose(0, 1).flatten(1) / 255
    mean, std = channel_statistics(data.train)
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-4)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-4)
    assert SAMPLE < 10_000
    black = coun.from_arrays(np.zeros((4, 12, 12, 3), np.uint8), [0, 1] * 2, *pictures_of(4))
    assert black.views.std == (0.01,) * 3


def pictures_of(count):
    return np.zeros((count, 12, 12, 3), np.uint8), [0, 1] * (count // 2)


@pytest.mark.parametrize(
    ("side", "channels", "origin"),
    [(32, 3, OF_PAPER), (64, 3, OF_PAPER), (12, 3, OF_ROWS), (12, 1, OF_GREY)],
)
def test_where_the_numbers_are_from_is_said(side, channels, origin):
    views = pictures(side, 4, channels).views
    assert views.origin == origin
    assert views.is_default
    assert origin in views.in_words()


def test_images_are_scaled_after_random_changes():
    views = Views("CH", size=(20, 24))
    images = torch.randint(0, 256, (3, 3, 12, 12), dtype=torch.uint8)
    assert views(images, torch.Generator().manual_seed(0)).shape == (3, 3, 20, 24)
    scaled = views.evaluate(torch.full((1, 3, 12, 12), 51, dtype=torch.uint8))
    torch.testing.assert_close(scaled, torch.full((1, 3, 20, 24), 0.2))
    assert "size" not in repr(Views())  # the identity of runs of version 0.1
    assert "scaled to 24x20 pixels" in views.in_words()
    with pytest.raises(coun.CounError, match="at least 1 x 1"):
        Views(size=(0, 3))


def test_views_by_letters_numbers_and_none():
    data = pictures()
    assert with_views(data, "none").views.letters == "N"
    assert with_views(data, "none").views.mean == data.views.mean
    assert with_views(data, "CJ").views.letters == "CJ"
    changed = with_views(data, "H", mean=(0.1, 0.2, 0.3), std=0.5).views
    assert (changed.letters, changed.mean, changed.std) == ("HN", (0.1, 0.2, 0.3), (0.5,))
    assert not changed.is_default


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"views": "CX"}, "unknown view letter 'X'"),
        ({"mean": 0.5}, "belong together"),
        ({"mean": (0.5, 0.5), "std": 1}, "2 numbers for images of 3"),
        ({"mean": 0.5, "std": 0}, "expected positive"),
        ({"views": "no_such_module:views"}, "cannot import"),
        ({"views": "fractions:Fraction"}, "expected coun.Views"),
        ({"views": "math:pi"}, "expected a function"),
        ({"views": "math:sqrt"}, "calling it failed"),
    ],
)
def test_refused_in_one_line(arguments, words):
    with pytest.raises(coun.CounError, match=words):
        with_views(pictures(), **arguments)


def test_views_of_a_function(tmp_path, monkeypatch):
    (tmp_path / "views_of_mine.py").write_text(
        "import coun\ndef strong():\n    return coun.Views('CJN', mean=(0.2,), std=(0.3,))\n"
    )
    monkeypatch.chdir(tmp_path)
    data = with_views(pictures(), "./views_of_mine.py:strong")
    assert data.views.letters == "CJN"
    assert data.views_code == f"{tmp_path / 'views_of_mine.py'}:strong"
    with pytest.raises(coun.CounError, match="letters, but this data has its own"):
        with_views(with_views(data, (np.array, np.array)), "CH")


def test_one_transform_serves_for_both_unless_it_is_random():
    images, labels = pictures_of(4)
    halved = coun.from_arrays(
        images, labels, images, labels, views=lambda image: np.array(image)[::2, ::2]
    )
    assert isinstance(halved.views, TransformViews)
    assert halved.input_shape == (3, 6, 6)

    def noisy(image):
        return np.array(image) + np.random.randint(0, 9, (12, 12, 3)).astype(np.uint8)

    with pytest.raises(coun.CounError, match=r"at random.*give a pair"):
        coun.from_arrays(images, labels, images, labels, views=noisy)


def test_classes_in_another_order_keep_every_row_in_its_class():
    data = pictures()
    turned = with_class_order(data, data.classes[::-1])
    assert turned.classes == ("1", "0")
    assert torch.equal(turned.train.labels, 1 - data.train.labels)
    assert torch.equal(turned.train.fetch(torch.arange(3)), data.train.images[:3])
    assert turned.ids == data.ids
