"""Folders of images: formats, sizes, bits and colours of the pictures."""

import struct
import zlib

import numpy as np
import pytest
import torch
from data.trees import BLUE, RED, flat
from PIL import Image

from coun.data import load


def test_every_format_is_read(tree):
    suffixes = ["jpg", "JPG", "jpeg", "png", "bmp", "gif", "webp"]
    files = {}
    for i, suffix in enumerate(suffixes):
        files[f"train/a/{i}.{suffix.replace('jpeg', 'jpg')}"] = (200, 40, 40)
    data = load(f"folder:{tree({**files, 'test/a/0.png': (200, 40, 40), 'train/b/0.png': BLUE})}")
    assert len(data.train) == 8
    assert (data.train.images[:7].float() - data.test.images.float()).abs().max() < 8


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP"])
def test_truncated_images_are_refused(format, tree, encode, refused):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    content = encode(noise, format=format)
    for keep in (12, len(content) // 2, len(content) - 30):
        root = tree(flat(5) | {"a/cut.png": content[:keep]})
        with refused(root / "a/cut.png"):
            load(f"folder:{root}")


def test_mixed_sizes_are_refused(tree, encode, refused):
    root = tree(flat(5) | {"b/wide.png": encode(RED, size=(9, 8))})
    with refused("b/wide.png", "9x8", "8x8", "a/00", "one size", "--size"):
        load(f"folder:{root}")


def test_of_16_bits_the_upper_8_are_used_and_it_is_said_once(tree, encode, caplog):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    root = tree(flat(5) | {"a/deep.png": encode(values)})
    for options in ({}, {"stream": True}):
        caplog.clear()
        data = load(f"folder:{root}", **options)
        part, row = next(
            (part, list(part.ids).index("a/deep.png"))
            for part in (data.train, data.test)
            if "a/deep.png" in part.ids
        )
        pixels = part.fetch(torch.tensor([row, row]))[1, 0]
        assert torch.equal(pixels, torch.from_numpy(values // 256).byte())
        assert caplog.messages == ["1 image has 16 bits per channel; the upper 8 bits are used"]
    deep = {f"{part}/{c}/x.png": encode(values) for part in ("train", "test") for c in "ab"}
    caplog.clear()
    load(f"folder:{tree(deep)}")
    assert caplog.messages == ["4 images have 16 bits per channel; the upper 8 bits are used"]


def colour_16_bits(value: int) -> bytes:
    """A PNG of 8x8 pixels with 16 bits in colour by hand, because Pillow cannot write it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        content = kind + body
        return struct.pack(">I", len(body)) + content + struct.pack(">I", zlib.crc32(content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    row = b"\0" + struct.pack(">H", value) * 3 * 8
    body = chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + body


def test_dark_16_bits_are_refused_also_in_colour(tree, encode, refused):
    # As of a scanner with 12 bits, or of 8 bits that were not scaled: nearly black with 8 bits.
    grey = encode(np.full((8, 8), 4095, np.uint16))
    dark = ((grey, "4,095"), (colour_16_bits(4095), "3,840"), (colour_16_bits(200), "200"))
    for content, peak in dark:
        deep = {f"{c}/{i}.png": content for c in "ab" for i in range(5)}
        with refused("8 images have 16 bits", f"no value above {peak}"):
            load(f"folder:{tree(deep)}")


def test_a_dark_picture_among_others_is_accepted_and_named(tree, encode, caplog):
    dark = encode(np.full((8, 8), 4095, np.uint16))
    root = tree(flat(5) | {"a/x.png": dark})
    load(f"folder:{root}")
    assert caplog.messages[0].endswith(f"nearly black with 8 bits: {root}/a/x.png")
    caplog.clear()
    bright = encode(np.full((8, 8), 60000, np.uint16))
    parts = {"train": bright, "test": dark}  # the test part by night
    files = {f"{part}/{c}/1.png": content for part, content in parts.items() for c in "ab"}
    load(f"folder:{tree(files)}", test_split="test")
    assert caplog.messages[0].endswith("test/a/1.png and 1 more")


def test_a_black_picture_of_16_bits_is_accepted(tree, encode):
    black = {"a/x.png": encode(np.zeros((8, 8), np.uint16)), "b/x.png": colour_16_bits(0)}
    data = load(f"folder:{tree(flat(5) | black)}")
    parts = (data.train, data.test)
    pixels = [
        part.images[list(part.ids).index(n)] for n in black for part in parts if n in part.ids
    ]
    assert len(pixels) == 2
    assert not any(image.any() for image in pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "BMP", "WEBP", "GIF"])
def test_images_of_any_name_are_known_by_their_first_bytes(format, tree, encode):
    named = encode(RED, format=format)
    data = load(f"folder:{tree(flat(5) | {'a/x.jfif': named, 'a/y': named})}")
    assert {"a/x.jfif", "a/y"} <= {*data.ids, *data.test.ids}


def test_decompression_bombs_are_refused(tree, encode, refused, monkeypatch):
    for most in (63, 40, 16):  # Pillow warns above its limit, and fails above twice that
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with refused("a/0", "more pixels"):
            load(f"folder:{tree(flat(5))}")


def test_all_grey_stays_grey_and_a_mixture_becomes_colour(tree, encode):
    grey = {f"train/{c}/{i}.png": encode(9 * i, mode="L") for c in "ab" for i in range(3)}
    tests = {"test/a/0.png": encode(7, mode="L"), "test/b/0.png": encode(1, mode="1")}
    data = load(f"folder:{tree(grey | tests)}")
    assert data.shape == (1, 8, 8)
    assert data.test.images[:, 0, 0, 0].tolist() == [7, 255]
    assert data.views.letters == "CN"
    # One colour image, in the other part: everything has three channels.
    mixed = load(f"folder:{tree({'test/b/1.png': RED})}")
    assert mixed.shape == (3, 8, 8)
    assert torch.equal(mixed.train.images, data.train.images.expand(-1, 3, -1, -1))
    assert mixed.test.images[:, :, 0, 0].tolist() == [[7] * 3, [255] * 3, [*RED]]
    assert mixed.views.letters == "CHN"


@pytest.mark.filterwarnings("error")
def test_other_modes_become_colour(tree, encode):
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.info["transparency"] = b"\x00\x80"
    import io

    file = io.BytesIO()
    palette.save(file, "PNG")
    rgba = encode((40, 50, 60, 0), mode="RGBA")
    files = {"train/a/0.png": file.getvalue(), "train/a/1.png": rgba, "test/a/0.png": RED}
    files["train/b/0.png"] = RED
    data = load(f"folder:{tree(files)}")
    assert data.train.images[:2, :, 0, 0].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_photos_of_all_sizes(tree, encode):
    files = {f"{c}/{i}.png": encode(i, size=(8 + i, 20)) for c in "ab" for i in range(5)}
    data = load(f"folder:{tree(files)}", size=6)
    assert data.shape == (3, 6, 6)
    assert data.origin == {"size": 6}
    assert load(data.source, **data.origin).fingerprint == data.fingerprint
