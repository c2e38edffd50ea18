"""Views against naive loops, their rates, and their defaults."""

from itertools import combinations

import numpy as np
import pytest
import torch

from coun.data import Views
from coun.data.colour import Jitter, grey_rows
from coun.data.views import LETTERS

MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.125)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinates(count, side=32):
    """Make images whose pixels are (row + 1, column + 1, 255), so that padding alone is 0."""
    line = torch.arange(1, side + 1, dtype=torch.uint8)
    image = torch.stack([line[:, None].expand(side, side), line.expand(side, side)])
    return torch.cat([image, torch.full((1, side, side), 255, dtype=torch.uint8)])[None].expand(
        count, -1, -1, -1
    )


def draws_of(views):
    """Find the crop offsets (B, 2) and flips (B,) that made these views of `coordinates`."""
    pixels = (views * 255).round().int()
    middle = pixels[:, :, 15, 15]  # with padding 4 always an inner pixel
    flip = pixels[:, 1, 15, 16] < middle[:, 1]
    row = middle[:, 0] - 1 - 15 + 4
    # Mirrored, column 15 comes from 31 - 15 of the crop.
    column = middle[:, 1] - 1 - torch.where(flip, 16, 15) + 4
    return torch.stack([row, column], 1), flip


@pytest.fixture(scope="module")
def drawn():
    views = Views("CH")
    draws = [draws_of(views(coordinates(1000), generator(seed))) for seed in range(41)]
    return torch.cat([offset for offset, _ in draws]), torch.cat([flip for _, flip in draws])


def test_offsets_are_uniform_over_81_positions(drawn):
    offset, _ = drawn
    assert offset.min() == 0
    assert offset.max() == 8
    counts = torch.bincount(offset[:, 0] * 9 + offset[:, 1], minlength=81).double()
    expected = len(offset) / 81
    # Chi-squared with 80 degrees of freedom: 136.6 is its 1 - 1e-4 quantile.
    assert ((counts - expected) ** 2 / expected).sum() < 136.6


def test_half_of_the_images_are_flipped(drawn):
    offset, flip = drawn
    assert abs(flip.double().mean() - 0.5) < 0.01
    assert abs(offset[flip].double().mean() - offset[~flip].double().mean()) < 0.1


def test_two_views_differ():
    images, rng = coordinates(2000), generator()
    first, second = (draws_of(Views("CH")(images, rng)) for _ in range(2))
    same = (first[0] == second[0]).all(1) & (first[1] == second[1])
    assert (~same).double().mean() > 0.99  # 1 - 1 / 162


@pytest.mark.parametrize("letters", ["CHN", "CN", "HN", "CH"])
@pytest.mark.parametrize("padding", [1, 4])
def test_a_view_equals_a_naive_loop(letters, padding):
    images = torch.randint(0, 256, (20, 3, 12, 10), generator=generator(9), dtype=torch.uint8)
    views = Views(letters, padding, MEAN, STD)
    actual = views(images, generator(3))

    rng = generator(3)
    pad = padding if "C" in letters else 0
    tops, lefts = torch.randint(0, 2 * pad + 1, (2, 20), generator=rng).tolist()
    chance = 0.5 if "H" in letters else 0.0
    flips = (torch.rand(20, generator=rng) < chance).tolist()
    for i in range(20):
        image = images[i].numpy().astype(np.float64)
        image = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        image = image[:, tops[i] : tops[i] + 12, lefts[i] : lefts[i] + 10]
        if flips[i]:
            image = image[:, :, ::-1]
        image = image / 255
        if "N" in letters:
            image = (image - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
        np.testing.assert_allclose(actual[i].numpy(), image, atol=2e-6)


def images_of(count, side=8, seed=9):
    shape = (count, 3, side, side)
    return torch.randint(0, 256, shape, generator=generator(seed), dtype=torch.uint8)


@pytest.mark.parametrize("letters", ["CHJN", "CHGN", "CHJGN", "JG", "CJ", "G", "CG"])
@pytest.mark.parametrize("per_batch", [False, True])
def test_colour_comes_after_crop_and_flip_and_before_normalising(letters, per_batch):
    images = images_of(60)
    views = Views(letters, 2, MEAN, STD, per_batch)
    for seed in range(6):
        rng = generator(seed)
        expected = images.float() / 255
        if {"C", "H"} & set(letters):
            plain = "".join(x for x in letters if x in "CH")
            expected = Views(plain, 2, per_batch=per_batch)(images, rng)
        if "J" in letters:
            expected = Jitter.draw(60, rng, shared=per_batch)(expected)
        if "G" in letters:
            for row in grey_rows(60, rng, shared=per_batch).tolist():
                red, green, blue = expected[row].clone()
                expected[row] = 0.299 * red + 0.587 * green + 0.114 * blue
        if "N" in letters:
            mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
            expected = (expected - mean) / std
        actual = views(images, generator(seed))
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)  # divided by std too
        assert actual.dtype == torch.float32


def test_every_subset_of_the_letters_gives_views_of_one_shape():
    images = images_of(4)
    for size in range(len(LETTERS) + 1):
        for letters in combinations(LETTERS, size):
            for kind in (images, images.float() / 255):
                actual = Views("".join(letters))(kind, generator())
                assert actual.shape == images.shape
                assert actual.dtype == torch.float32
                assert torch.isfinite(actual).all()


def test_the_order_of_the_letters_does_not_matter():
    images = images_of(20)
    actual = [Views(letters)(images, generator(1)) for letters in ("CHJGN", "NGJHC")]
    assert torch.equal(*actual)


def test_colour_letters_do_not_change_crop_and_flip():
    images = torch.full((200, 3, 32, 32), 255, dtype=torch.uint8)
    images[:, :, :, :16] = 100
    padding, left = [], []
    for letters in ("CH", "CHG", "CHJ"):
        views = Views(letters)(images, generator(3)).amax(1)
        padding.append(views == 0)
        left.append(views[:, 16, 6] < views[:, 16, 26])
    assert padding[0].any()
    assert torch.equal(padding[0], padding[1])
    assert torch.equal(left[0], left[1])
    assert torch.equal(left[0], left[2])


def test_rates_of_flip_jitter_and_greyscale():
    images = images_of(20_000, 2)
    images[..., 0], images[..., 1] = images[..., 0] // 2, 128 + images[..., 1] // 2
    pixels = images.float() / 255
    jittered = (Views("J")(images, generator(1)) != pixels).flatten(1).any(1)
    assert abs(jittered.double().mean() - 0.8) < 0.01

    both = Views("JG")(images, generator(1))
    grey = (both == both[:, :1]).flatten(1).all(1)
    assert abs(grey.double().mean() - 0.2) < 0.01
    assert abs(grey[jittered].double().mean() - 0.2) < 0.01  # drawn apart

    both = Views("HG")(images, generator(2))
    grey = (both == both[:, :1]).flatten(1).all(1)
    flipped = (both[..., 0] > both[..., 1]).flatten(1).all(1)
    assert abs(flipped.double().mean() - 0.5) < 0.01
    assert abs(grey[flipped].double().mean() - 0.2) < 0.015


def test_views_are_a_function_of_the_generator():
    images = images_of(50, 32)
    for views in (Views(), Views("CHJGN"), Views("J"), Views("G")):
        assert torch.equal(views(images, generator(1)), views(images, generator(1)))
        assert not torch.equal(views(images, generator(1)), views(images, generator(2)))


def test_float_and_uint8_images_give_the_same_view():
    images = images_of(9)
    for views in (Views(), Views("CHJGN")):
        a, b = (views(x, generator(1)) for x in (images, images.float() / 255))
        torch.testing.assert_close(a, b)


def test_per_batch_draws_once():
    offset, flip = draws_of(Views("CH", per_batch=True)(coordinates(64), generator(5)))
    assert len(offset.unique(dim=0)) == 1
    assert len(flip.unique()) == 1
    several = [
        draws_of(Views("CH", per_batch=True)(coordinates(2), generator(seed)))[0][0].tolist()
        for seed in range(20)
    ]
    assert len({tuple(x) for x in several}) > 5


def test_evaluate_normalises_and_draws_nothing():
    images = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8)
    views = Views("CHN", 4, MEAN, STD)
    expected = (images.numpy() / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    state = torch.get_rng_state()
    first, second = views.evaluate(images), views.evaluate(images)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, second)
    assert first.dtype == torch.float32
    np.testing.assert_allclose(first.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("letters", ["", "N"])
def test_without_random_letters_training_and_test_views_are_equal(letters):
    images = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    views = Views(letters, mean=(0.5,), std=(0.5,))
    assert torch.equal(views(images, generator()), views.evaluate(images))


def test_the_images_themselves_do_not_change():
    images = torch.rand(7, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    before = images.clone()
    Views().evaluate(images)
    for letters in ("CHN", "CHJGN", "J", "G"):
        Views(letters)(images, generator())
    assert torch.equal(images, before)


@pytest.mark.parametrize("form", [tuple, list, np.array])
def test_mean_and_deviation_may_be_any_sequence_of_numbers(form):
    images = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8)
    found = Views("N", mean=form([0, 1, 0]), std=form([1, 2, 4])).evaluate(images)
    pixels, mean, std = images.double() / 255, torch.tensor([0.0, 1, 0]), torch.tensor([1.0, 2, 4])
    expected = (pixels - mean[:, None, None]) / std[:, None, None]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)


def test_without_letters_floats_of_any_shape_do_not_change():
    flat = torch.randn(5, 17)
    assert torch.equal(Views("").evaluate(flat), flat)


def test_grey_images_keep_one_channel_and_greyscale_does_not_change_them():
    images = torch.rand(50, 1, 8, 8, generator=generator())
    assert torch.equal(Views("G")(images, generator(1)), images)
    actual = Views("CHJGN", 1, (0.5,), (0.5,))(images, generator(1))
    assert actual.shape == images.shape
    assert not torch.equal(actual, Views("CHN", 1, (0.5,), (0.5,))(images, generator(1)))


@pytest.mark.parametrize(
    ("shape", "letters", "padding"),
    [
        ((3, 32, 32), "CHN", 4),
        ((3, 64, 64), "CHN", 4),
        ((3, 96, 96), "CHN", 12),
        ((3, 16, 16), "CHN", 2),
        ((1, 8, 8), "CN", 1),
        ((1, 28, 28), "CN", 4),
        ((17,), "", 4),
    ],
)
def test_defaults_follow_the_shape(shape, letters, padding):
    views = Views.for_images(shape)
    assert (views.letters, views.padding) == (letters, padding)


def test_bad_views_are_refused(refused):
    with refused("unknown view letter 'X'", "C (random crop)"):
        Views("CX")
    with refused("std of views", "positive"):
        Views(std=(0.1, 0.0, 0.1))
    with refused("padding", "-1"):
        Views(padding=-1)
    with refused("letters is an object of type int", "such as CHN"):
        Views(3)
    for mean in (0.5, (float("nan"),), ("0.5",)):
        with refused(f"mean of views is {mean!r}", "finite numbers, one for each channel"):
            Views("CN", mean=mean)
    with refused("std of views is inf", "finite numbers"):
        Views("CN", std=float("inf"))
    for letters in ("CH", "J", "G"):
        with refused("(5, 17)", "expected (B, C, H, W)"):
            Views(letters)(torch.rand(5, 17), generator())
    for letters in ("CJ", "G"):
        with refused(f"'{letters}' change colours", "2 channels", "expected 3"):
            Views(letters)(torch.rand(5, 2, 8, 8), generator())
    # Float grey images would broadcast to three channels unseen.
    with refused("3 means", "1 channels"):
        Views().evaluate(torch.rand(2, 1, 8, 8))
