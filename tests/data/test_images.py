"""Encoded images become pixels of one size, or one line says why not."""

import io

import numpy as np
import pytest
from PIL import Image

from coun.data import image_stack
from coun.data.image_stack import stack
from coun.data.images import decode

RNG = np.random.default_rng(0)


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation):
    """A camera stores the sensor's rows and says how to turn them."""
    upright = noise(4, 6)
    to_stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(to_stored[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    assert np.array_equal(decode(file.getvalue(), "photo"), upright.transpose(2, 0, 1))


def test_size_scales_the_middle_square(encode):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 10:50, 0] = 200  # the middle square is red, the rest is black
    pixels = decode(encode(image), "photo", size=8)
    assert pixels.shape == (3, 8, 8)
    assert (pixels[0, :, 1:-1] == 200).all()  # a filter blends the border with what is cut off
    assert (pixels[0] > 170).all()
    assert (pixels[1:] == 0).all()
    grey = decode(encode(90, mode="L", size=(5, 9)), "scan", size=16)
    assert grey.shape == (1, 16, 16)
    assert (grey == 90).all()
    palette = Image.fromarray(noise(12, 12)).quantize(200)
    file = io.BytesIO()
    palette.save(file, "PNG")
    smooth = np.asarray(palette.convert("RGB").resize((6, 6), Image.Resampling.BILINEAR))
    assert (
        np.abs(decode(file.getvalue(), "p", size=6) - smooth.transpose(2, 0, 1).astype(int)).max()
        <= 1
    )


def test_images_of_different_sizes_need_a_size(encode, refused):
    encoded = [(f"{n}.png", encode(n, size=(n, 9))) for n in (8, 9, 9)]
    with refused("9.png is 9x9", "8.png is 8x9 and 1 more", "--size"):
        stack(encoded, 3)
    assert stack(encoded, 3, size=4).shape == (3, 3, 4, 4)


def test_all_bad_images_are_named_at_once(encode, refused):
    good = ("good.png", encode(3))
    bad = [(f"bad {n}.png", b"no image") for n in range(8)]
    with refused("8 images cannot be used", "bad 0.png is not", "bad 4.png", "and 3 more") as _:
        stack([*bad[:4], good, *bad[4:]], 9)
    with refused("bad 0.png is not a readable image"):
        stack([good, bad[0]], 2)


def test_images_beyond_the_memory_are_refused_before_the_first_is_stored(
    encode, refused, monkeypatch
):
    monkeypatch.setattr(image_stack.os, "sysconf", lambda name: 2**15)  # 1 GiB in pages of 32 KiB
    photo = ("photo.png", encode(size=(1000, 1000)))
    with refused("1,000 images of 1000x1000 pixels take 3 GiB", "has 1", "--size", "--limit"):
        stack([photo], 1000)
    assert stack([photo] * 3, 3).shape == (3, 3, 1000, 1000)
