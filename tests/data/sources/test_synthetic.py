"""Synthetic images are seeded, and their labels follow from the statistic of their kind."""

import colorsys

import numpy as np
import pytest
import torch
from scipy.fft import rfft2

from coun.data import load
from coun.data.sources.synthetic import KINDS

SIZES = "train=300,test=50"


@pytest.fixture(scope="module")
def made():
    return {kind: load(f"synthetic:{kind},{SIZES}") for kind in KINDS}


def grey(data):
    return data.train.images.numpy().astype(float).mean(1)


def hue(data):
    """Hue of the median colour of the border, which no shape reaches, in units of a class."""
    border = data.train.images.numpy()
    border = np.concatenate(
        [border[:, :, :2].reshape(300, 3, -1), border[:, :, -2:, :].reshape(300, 3, -1)], 2
    )
    return np.array([10 * colorsys.rgb_to_hsv(*c)[0] for c in np.median(border, 2) / 255])


def structure(data):
    """Orientation from the structure tensor of the grey image, in units of 18 degrees."""
    gy, gx = np.gradient(grey(data), axis=(1, 2))
    xx, yy, xy = ((a * b).sum((1, 2)) for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    return np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180 / 18


def cycles(data):
    """Strongest frequency in the summed spectrum of the channels, in cycles per image."""
    x = data.train.images.numpy().astype(float)
    x = (x - x.mean((2, 3), keepdims=True)) * np.outer(np.hanning(32), np.hanning(32))
    power = np.square(np.abs(rfft2(x.astype(np.float32), (256, 256)))).sum(1)
    across, down = np.arange(129) / 8, np.fft.fftfreq(256) * 32
    return np.hypot(*np.meshgrid(across, down)).ravel()[power.reshape(300, -1).argmax(1)]


def deviation(data):
    """Noise from differences of neighbouring pixels, robust to the edge of the shape."""
    x = data.train.images.numpy().astype(float)
    return np.median(np.abs(np.diff(x, axis=3)), (1, 2, 3)) / 0.6745 / 2**0.5


MEASURED = {
    "background": lambda d: hue(d),
    "texture": lambda d: structure(d),
    "frequency": lambda d: 9 * np.log(cycles(d) / 3) / np.log(14 / 3),
    "noise": lambda d: 9 * np.log(deviation(d) / 3) / np.log(20),
}


CIRCULAR = ("background", "texture")  # the last class is a neighbour of the first


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_is_the_statistic(kind, made):
    """The statistic, measured by other means than those that drew it, fits the label."""
    away = MEASURED[kind](made[kind]) - made[kind].train.labels.numpy()
    if kind in CIRCULAR:
        away = (away + 5) % 10 - 5
    assert abs(np.median(away)) < 0.15
    assert (abs(away) < 0.75).mean() > 0.93
    # Some samples are nearer to a neighbour, and few are farther away.
    assert 0 < (abs(away) > 0.5).mean() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_otherwise_alike(kind, made):
    """Sizes and counts are equal, and brightness is equal where colours are random."""
    data = made[kind]
    assert data.shape == (3, 32, 32)
    assert data.dtype == torch.uint8
    assert data.train.labels.bincount().tolist() == [30] * 10
    assert data.test.labels.bincount().tolist() == [5] * 10
    if kind in ("texture", "frequency"):
        means = data.train.images.float().mean((1, 2, 3))
        by_class = torch.stack([means[data.train.labels == c].mean() for c in range(10)])
        assert float(by_class.max() - by_class.min()) < 20


def test_the_same_spelling_gives_the_same_pixels(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"noise,{SIZES}").write_text("a file of that name is no matter")
    again = load(f"synthetic:noise,{SIZES}")
    assert again.source == f"synthetic:noise,{SIZES}"
    assert again.fingerprint == made["noise"].fingerprint
    assert load(f"synthetic:noise,{SIZES},seed=1").fingerprint != again.fingerprint
    cut = load(again.source, limit=50)
    assert torch.equal(cut.train.images, again.train.images[cut.train.numbers])
    assert not torch.equal(again.train.images[:50], again.test.images)


def test_sizes_by_default():
    data = load("synthetic:background")
    assert (len(data.train), len(data.test)) == (4000, 1000)
    assert data.classes[:2] == ("hue-0", "hue-36")


def test_views_do_not_change_the_label(made):
    assert made["background"].views.letters == "CHN"
    flipped = made["texture"].train.images.flip(3)
    assert made["texture"].views.letters == "CN"
    # A flip would: the mirror image of class 1 (18 degrees) is class 9.
    other = type("D", (), {"train": type("T", (), {"images": flipped})})
    away = (structure(other) + made["texture"].train.labels.numpy() + 5) % 10 - 5
    assert abs(np.median(away)) < 0.15


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("textur", ("'textur'", "did you mean 'texture'", "background, frequency")),
        ("", ("no KIND", "synthetic:KIND")),
        ("noise,trian=9", ("'trian'", "did you mean 'train'")),
        ("noise,train=many", ("train='many'", "whole number")),
        ("noise,test=9", ("test=9", "10 rows or more")),
        ("noise,train", ("train=''",)),
    ],
)
def test_bad_spellings_are_refused(spec, words, refused):
    with refused(*words):
        load(f"synthetic:{spec}")
