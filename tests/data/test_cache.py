"""Decoded images are kept once, found again, and never outlive their files for long."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import coun
from coun.data import cache
from coun.data.examples import TensorExamples
from coun.data.lazy import DecodedFile, EncodedImages, LazyExamples


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache for every source, however small."""
    monkeypatch.setenv("COUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("coun.data.sources.table.SMALLEST", 1)
    return tmp_path / "cache"


@pytest.fixture
def photos(write_photos):
    return write_photos(train=6, test=3)


def pixels(data):
    return torch.cat([part.fetch(torch.arange(len(part))) for part in (data.train, data.test)])


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that were decoded."""
    names = []
    decode = coun.data.image_stack.decode_with_peak
    monkeypatch.setattr(
        "coun.data.image_stack.decode_with_peak",
        lambda c, name, size: names.append(name) or decode(c, name, size),
    )
    return names


def test_a_source_is_decoded_once_and_gives_the_same_pixels(kept, photos, decoded):
    first = coun.load(f"folder:{photos}")
    assert len(decoded) == 18
    again = coun.load(f"folder:{photos}")
    assert len(decoded) == 18
    assert isinstance(again.train, TensorExamples)
    assert torch.equal(pixels(first), pixels(again))
    assert first.fingerprint == again.fingerprint
    assert coun.load(f"folder:{photos}", limit=4).train.fetch(torch.arange(4)).shape[0] == 4
    assert len(decoded) == 18 + 4
    coun.load(f"folder:{photos}", size=4)
    assert len(decoded) == 18 + 4 + 18


@pytest.mark.parametrize("caching", [True, False])
def test_a_stream_gives_the_same_bits(caching, kept, photos, monkeypatch):
    if not caching:
        monkeypatch.setenv("COUN_CACHE", "none")
    whole = coun.load(f"folder:{photos}")
    for _ in range(2):
        streamed = coun.load(f"folder:{photos}", stream=True)
        assert isinstance(streamed.train, LazyExamples)
        assert isinstance(streamed.train.images, DecodedFile if caching else EncodedImages)
        assert torch.equal(pixels(whole), pixels(streamed))
        rows = torch.tensor([7, 2, 2, 11])
        assert torch.equal(whole.train.fetch(rows), streamed.train.fetch(rows))
        part = streamed.train.take(torch.tensor([9, 4]))
        assert torch.equal(part.fetch(torch.tensor([1])), whole.train.fetch(torch.tensor([4])))
        assert part.ids == (whole.ids[9], whole.ids[4])
    runs = [coun.train(data, "mlp", epochs=1) for data in (whole, streamed)]
    assert runs[0].record.weights_sha256 == runs[1].record.weights_sha256
    assert runs[0].record.identity == runs[1].record.identity
    read_ahead = coun.Options(workers=1)
    assert coun.train(streamed, "mlp", epochs=1, options=read_ahead).record.weights_sha256 == (
        runs[0].record.weights_sha256
    )


def test_grey_and_colour_are_one_in_a_stream(kept, photos):
    for path in (*sorted((photos / "train").rglob("*.png"))[1:], *(photos / "test").rglob("*.png")):
        Image.fromarray(np.full((8, 8), 7, np.uint8)).save(path)
    whole = coun.load(f"folder:{photos}")
    streamed = coun.load(f"folder:{photos}", stream=True)
    assert streamed.shape == whole.shape == (3, 8, 8)
    assert torch.equal(pixels(whole), pixels(streamed))


def test_a_deleted_picture_leaves_the_cache_with_its_file(kept, photos):
    coun.load(f"folder:{photos}")
    coun.load(f"folder:{photos}", limit=4)
    before = {entry.path for entry in cache.entries(photos)}
    assert len(before) == 3
    (photos / "train" / "cat" / "02.png").unlink()
    assert any(entry.is_stale() for entry in cache.entries(photos))
    coun.load(f"folder:{photos}")
    held = list(cache.entries(photos))
    assert not any(entry.is_stale() for entry in held)
    assert len(before & {entry.path for entry in held}) in (1, 2)  # the test part, the limited part
    assert not any(
        "cat/02.png" in file[0] for e in held for file in e.about["files"] if "train" in file[0]
    )
    assert cache.clear(photos) > 0
    assert cache.entries() == []
    assert not list(kept.rglob("*.npy"))


@pytest.mark.parametrize("damage", ["flip", "cut", "about", "empty", "gone"])
def test_a_damaged_entry_is_made_again(damage, kept, photos, decoded):
    whole = pixels(coun.load(f"folder:{photos}"))
    for file in kept.rglob("*.npy"):
        if damage == "flip":
            content = bytearray(file.read_bytes())
            content[-5] ^= 1
            file.write_bytes(content)
        elif damage == "cut":
            os.truncate(file, 100)
        elif damage == "about":
            file.with_suffix(".json").write_text("{}")
        elif damage == "empty":
            file.with_suffix(".json").write_text("")
        else:
            file.unlink()
    decoded.clear()
    assert torch.equal(pixels(coun.load(f"folder:{photos}")), whole)
    assert len(decoded) == 18
    assert torch.equal(pixels(coun.load(f"folder:{photos}")), whole)
    assert len(decoded) == 18


def test_the_limit_is_kept_and_the_oldest_entry_goes(kept, photos, monkeypatch):
    monkeypatch.setenv("COUN_CACHE_GIB", str(12 * 192 * 2.0 / 2**30))
    coun.load(f"folder:{photos}")
    total = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    assert 0 < len(cache.entries()) <= 2
    assert total < 12 * 192 * 2 + 4000
    monkeypatch.setenv("COUN_CACHE_GIB", "0")
    cache.clear()
    coun.load(f"folder:{photos}")
    assert cache.entries() == []
    monkeypatch.setenv("COUN_CACHE_GIB", "much")
    with pytest.raises(coun.CounError, match="COUN_CACHE_GIB is 'much'"):
        coun.load(f"folder:{photos}")


def test_a_folder_that_cannot_be_written_is_no_error(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("coun.data.sources.table.SMALLEST", 1)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COUN_CACHE", str(tmp_path / "file"))
    assert len(coun.load(f"folder:{photos}").train) == 12


def test_two_processes_at_once_both_read_the_source(kept, photos):
    code = (
        "import sys, coun, coun.data.sources.table as t; t.SMALLEST = 1;"
        "print(coun.load(sys.argv[1]).fingerprint)"
    )
    words = [sys.executable, "-c", code, f"folder:{photos}"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    prints = {process.communicate()[0] for process in both}
    assert prints == {coun.load(f"folder:{photos}").fingerprint + "\n"}
    assert len(cache.entries()) == 2
