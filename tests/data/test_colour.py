"""Colour changes against PIL, the standard library and naive loops."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy import stats

from coun.data.colour import Jitter, brightness, contrast, grey, grey_rows, hue, saturation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(seed=0, side=16):
    """Make a uint8 image (3, H, W) with smooth and with saturated parts."""
    noise = torch.randint(0, 256, (3, side, side), generator=generator(seed), dtype=torch.uint8)
    noise[0, : side // 2] = torch.arange(0, 256, 256 // side, dtype=torch.uint8)
    noise[:, -1] = torch.tensor([0, 255, 0], dtype=torch.uint8)[:, None]
    return noise


def as_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def scalar(value):
    return torch.tensor([value]).view(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("adjust", "enhancer"),
    [
        (brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.2, 0.7, 1.0, 1.3, 1.8])
def test_blends_equal_those_of_pil(adjust, enhancer, factor):
    image = photo()
    actual = adjust(image[None].float() / 255, scalar(factor))[0] * 255
    expected = np.asarray(enhancer(as_pil(image)).enhance(factor)).transpose(2, 0, 1)
    # PIL rounds the greys it blends with, and their mean, and cuts the blend to an integer.
    grey_off = 1.0 if adjust is contrast else 0.5
    allowed = grey_off * abs(1 - factor) + (factor not in (0, 1)) + 1e-3
    assert np.abs(actual.numpy() - expected).max() <= allowed


def test_grey_equals_that_of_pil():
    image = photo()
    expected = np.asarray(as_pil(image).convert("L"))
    actual = grey(image[None].float())[0, 0].numpy()
    assert np.abs(actual - expected).max() <= 0.501


@pytest.mark.parametrize("shift", [-0.2, -0.07, 0.0, 0.1, 0.2, 0.5])
def test_hue_equals_the_hsv_of_the_standard_library(shift):
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 0.4, 1.0])] * 3)
    colours = torch.cat([corners, torch.rand(200, 3, generator=generator())])
    actual = hue(colours[:, :, None, None], torch.full((len(colours), 1, 1, 1), shift))
    expected = []
    for rgb in colours.tolist():
        h, s, v = colorsys.rgb_to_hsv(*rgb)
        expected.append(colorsys.hsv_to_rgb((h + shift) % 1, s, v))
    np.testing.assert_allclose(actual[:, :, 0, 0].numpy(), expected, atol=2e-6)


def test_three_shifts_by_a_third_of_a_turn_change_nothing():
    x = torch.rand(4, 3, 8, 8, generator=generator())
    third = torch.full((4, 1, 1, 1), 1 / 3)
    turned = hue(x, third)
    torch.testing.assert_close(turned, x[:, [2, 0, 1]], rtol=0, atol=1e-5)  # red becomes green
    torch.testing.assert_close(hue(hue(turned, third), third), x, rtol=0, atol=1e-5)


def loop(image, amounts, order):
    """Adjust one image (3, H, W) in float64, step by step and pixel by pixel."""
    luma = np.array([0.299, 0.587, 0.114])
    for number in order:
        amount = amounts[number]
        if number == 3:
            for place in np.ndindex(image.shape[1:]):
                h, s, v = colorsys.rgb_to_hsv(*image[:, *place])
                image[:, *place] = colorsys.hsv_to_rgb((h + amount) % 1, s, v)
            continue
        plane = np.tensordot(luma, image, 1)
        other = (0.0, plane.mean(), plane)[number]
        image = np.clip(amount * image + (1 - amount) * other, 0, 1)
    return image


def test_a_jittered_batch_equals_a_naive_loop():
    x = torch.rand(40, 3, 5, 4, generator=generator(1))
    jitter = Jitter.draw(40, generator(2))
    actual, expected = jitter(x), x.double().numpy().copy()
    for row, amounts, order in zip(jitter.rows, jitter.amounts, jitter.order, strict=True):
        expected[row] = loop(expected[row], amounts.double().tolist(), order.tolist())
    assert 20 < len(jitter.rows) < 40
    np.testing.assert_allclose(actual.numpy(), expected, atol=2e-5)


def measured(x, y):
    """Recover the factors of brightness, contrast and saturation and the hue shift from x to y.

    Every image is two planes of grey, apart from one pixel of colour; nothing clamps.
    """
    step = (y[:, 0, -1, -1] - y[:, 0, 0, 0]) / (x[:, 0, -1, -1] - x[:, 0, 0, 0])
    level = grey(y).mean((1, 2, 3)) / grey(x).mean((1, 2, 3))  # the one pixel counts little
    chroma = [(z.amax(1) - z.amin(1))[:, 0, 1] for z in (x, y)]
    turns = [
        torch.tensor([colorsys.rgb_to_hsv(*rgb)[0] for rgb in z[:, :, 0, 1].tolist()])
        for z in (x, y)
    ]
    shift = (turns[1] - turns[0] + 0.5) % 1 - 0.5
    return torch.stack([level, step / level, chroma[1] / chroma[0] / step, shift], 1)


def test_the_drawn_amounts_are_uniform_and_independent():
    x = torch.full((6000, 3, 16, 16), 0.25)
    x[:, :, 8:] = 0.3
    x[:, :, 0, 1] = torch.tensor([0.27, 0.25, 0.24])
    y = Jitter.draw(len(x), generator(4))(x)
    changed = (y != x).flatten(1).any(1)
    assert abs(changed.double().mean() - 0.8) < 0.015
    amounts = measured(x[changed], y[changed])
    for values, (low, high) in zip(amounts.T, [(0.2, 1.8)] * 3 + [(-0.2, 0.2)], strict=True):
        assert values.min() > low - 0.01
        assert values.max() < high + 0.01
        assert stats.kstest(values, "uniform", (low, high - low)).pvalue > 1e-3
    correlation = np.corrcoef(amounts.T.numpy()) - np.eye(4)
    assert np.abs(correlation).max() < 0.06


def test_all_24_orders_are_equally_likely():
    jitter = Jitter.draw(60_000, generator(5))
    assert torch.equal(jitter.order.sort(1).values, torch.arange(4).expand(len(jitter.order), 4))
    code = (jitter.order * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = code.unique(return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_shared_draws_serve_every_image():
    x = torch.rand(1, 3, 4, 4, generator=generator()).expand(6, -1, -1, -1)
    actual = [Jitter.draw(6, generator(seed), shared=True)(x) for seed in range(40)]
    assert all((y == y[0]).all() for y in actual)
    unchanged = sum(torch.equal(y, x) for y in actual)
    assert 1 <= unchanged <= 20
    sizes = {len(grey_rows(6, generator(seed), shared=True)) for seed in range(40)}
    assert sizes == {0, 6}


def test_grey_images_change_in_brightness_and_contrast():
    x = torch.rand(50, 1, 4, 4, generator=generator())
    jitter = Jitter.draw(50, generator(7))
    # Colourless colour images do the same, for what saturation and hue make of them.
    torch.testing.assert_close(
        jitter(x).expand(-1, 3, -1, -1), jitter(x.expand(-1, 3, -1, -1)), rtol=0, atol=2e-6
    )
    assert (jitter(x) != x).any()
