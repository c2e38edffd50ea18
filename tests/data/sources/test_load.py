"""The spelling of sources, plug-ins, digits and npz files."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from coun import plugins
from coun.data import Views, load, sources
from coun.data.subsets import limited


def test_digits_are_those_of_scikit_learn(digits):
    from sklearn.datasets import load_digits

    whole = load_digits()
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.shape == (1, 8, 8)
    assert digits.classes == tuple("0123456789")
    assert digits.views == Views("CN", 1, (0.5,), (0.5,))
    assert digits.source == "digits"
    # Every digit is in one part, once: 16 grey levels become 0..255.
    scaled = sorted((x * 255 / 16 + 0.5).astype(np.uint8).tobytes() for x in whole.images)
    parts = torch.cat([digits.train.images, digits.test.images]).numpy()
    assert sorted(x.tobytes() for x in parts) == scaled
    share = digits.test.labels.bincount().numpy() / np.bincount(whole.target)
    assert np.abs(share - 0.2).max() < 0.01


def test_changed_digits_do_not_change_those_of_the_next_load():
    first, second = load("digits"), load("digits")
    for part in (first.train, first.test):
        part.images.zero_()
        part.labels.zero_()
    third = load("digits")
    for other in (second, third):
        assert other.train.images.any()
        assert other.test.images.any()
        assert set(other.train.labels.tolist()) == set(other.test.labels.tolist()) == {*range(10)}


def test_digits_are_the_same_every_time(digits):
    assert load("digits").fingerprint == digits.fingerprint


def test_a_limit_keeps_the_rows_of_limited(digits):
    cut = load("digits", limit=100)
    assert cut.fingerprint == limited(digits, 100).fingerprint
    assert torch.equal(cut.train.numbers, limited(digits, 100).train.numbers)
    assert cut.limit == 100
    assert len(cut.test) == 359


def test_a_test_limit_is_part_of_how_to_load_it_again(digits, refused):
    cut = load("digits", limit=100, test_limit=50)
    assert len(cut.test) == 50
    assert set(cut.test.numbers.tolist()) <= set(digits.test.numbers.tolist())
    assert len(cut.test.labels.unique()) == 10
    again = load(cut.source, limit=cut.limit, **cut.origin)
    assert again.fingerprint == cut.fingerprint != load("digits", limit=100).fingerprint
    with refused("--test-limit", 360, "1..359"):
        load("digits", test_limit=360)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("digit", ("unknown data source 'digit'", "did you mean 'digits'", "tiny-imagenet")),
        ("", ("unknown data source ''",)),
        ("no-run", ("unknown data source 'no-run'", "no file or folder has this name either")),
        ("digits:here", ("digits:here", "expected 'digits' alone")),
        ("folder", ("no PATH", "folder:PATH")),
        ("npz:", ("no PATH", "npz:PATH")),
        ("folder:/nowhere", ("/nowhere", "No such file")),
        ("npz:/nowhere.npz", ("/nowhere.npz", "No such file")),
        ("tiny-imagenet:/nowhere", ("/nowhere", "No such file")),
        ("cifar-binary:/nowhere", ("/nowhere", "no CIFAR")),
        ("hf:/nowhere", ("/nowhere", "no file or folder")),
        ("hf:data.parquet", ("data.parquet", "no file or folder")),
        ("folder:/etc/passwd", ("/etc/passwd", "Not a directory")),
        ("/etc", ("'/etc' is a path without its kind", "folder:/etc")),
    ],
)
def test_bad_spellings_and_paths_are_refused(spec, words, refused):
    with refused(*words):
        load(spec)


def test_an_archive_is_refused_with_what_to_do(tmp_path, refused):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with refused("photos.zip", "it is an archive, unpack it first"):
        load(f"folder:{tmp_path}/photos.zip")


@pytest.mark.parametrize("limit", [2.5, "4"])
def test_a_limit_is_a_number_of_rows(limit, refused):
    with refused("--limit is an object of type", "a number of rows"):
        load("digits", limit=limit)


def test_options_of_another_source_are_refused(refused):
    with refused("--label-column", "hf:", "sources only", "digits takes no such options"):
        load("digits", label_column="label")
    with refused("--image-column", "hf:, paths: sources only"):
        load("npz:x", image_column="img")
    with refused("unknown option", "'colour'"):
        load("digits", colour="red")
    assert load("digits", limit=10, label_column=None).origin == {}


def test_a_size_is_for_encoded_images(refused):
    with refused("--size", "digits has none"):
        load("digits", size=4)


@pytest.fixture
def plugin(monkeypatch):
    """Registers entry points of the group `coun.sources`, as installed packages do."""

    def register(**values):
        points = [EntryPoint(name, value, "coun.sources") for name, value in values.items()]
        monkeypatch.setattr(
            plugins, "registered", lambda group: {point.name: point for point in points}
        )
        sources._catalogue.cache_clear()

    yield register
    sources._catalogue.cache_clear()


def test_another_package_brings_a_source(plugin, tmp_path, monkeypatch, refused):
    (tmp_path / "colours_package.py").write_text(EXAMPLE_PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    plugin(colours="colours_package:SOURCE", gone="no_such_package:SOURCE", npz="x:SOURCE")
    data = load("colours:red", limit=4, brightness=7)
    assert data.train.images[:, 0, 0, 0].tolist() == [7] * 4
    assert (data.source, data.origin) == ("colours:red", {"brightness": 7})
    assert load(data.source, limit=4, **data.origin).fingerprint == data.fingerprint
    assert "colours:NAME" in sources.describe_sources()
    assert "--brightness" in sources.describe_sources()
    with refused("unknown data source 'colour'", "did you mean 'colours'"):
        load("colour:red")
    with refused("plug-in 'gone'", "cannot be imported"):
        load("gone:x")
    with refused("--brightness applies to colours: sources only"):
        load("digits", brightness=7)
    with refused("/nowhere.npz"):  # a plug-in does not replace coun's own source
        load("npz:/nowhere.npz")


EXAMPLE_PACKAGE = """
import numpy as np
from coun.data import from_arrays
from coun.data.sources.source import Source


def read(name, *, brightness=255):
    images = np.zeros((10, 8, 8, 3), np.uint8)
    images[..., ["red", "green", "blue"].index(name)] = brightness
    labels = np.arange(10) % 2
    return from_arrays(images, labels, images, labels)


SOURCE = Source("colours", read, "plain images of one colour", argument="NAME")
"""


def test_every_source_is_described():
    for name, source in sources.catalogue().items():
        assert source.name == name
        assert f"{source.spelling} " in sources.describe_sources()
        assert source.summary in sources.describe_sources()


def test_listing_the_sources_imports_no_reader():
    code = (
        "import sys, coun; from coun.data.sources import describe_sources; describe_sources(); "
        "print([m for m in ('pyarrow', 'datasets', 'PIL', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("limit", [0, 1439])
def test_a_limit_outside_the_rows_is_refused(limit, refused):
    with refused("--limit", limit, "1..1438"):
        load("digits", limit=limit)


@pytest.fixture
def archive(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    arrays = {
        "x_train": x,
        "y_train": np.arange(30) % 3,
        "x_test": x[:6],
        "y_test": np.arange(6) % 3,
    }

    def make(name="a.npz", **change):
        whole = {key: value for key, value in (arrays | change).items() if value is not None}
        np.savez(tmp_path / name, **whole)
        return f"npz:{tmp_path / name}"

    return make


def test_npz(archive, tmp_path, monkeypatch):
    spec = archive(classes=np.array(["ant", "bee", "cow"]))
    data = load(spec, limit=9)
    assert data.shape == (3, 8, 8)
    assert data.classes == ("ant", "bee", "cow")
    assert data.train.labels.bincount().tolist() == [3, 3, 3]
    assert load(archive()).classes == ("0", "1", "2")
    # The source works from elsewhere, whatever the spelling it was given.
    monkeypatch.chdir(tmp_path)
    near = load("npz:a.npz", limit=9)
    assert near.source == spec
    monkeypatch.chdir("/")
    assert load(near.source, limit=near.limit).fingerprint == data.fingerprint


def test_npz_may_name_its_rows(archive, refused):
    names = np.array([f"person {i}" for i in range(30)])
    data = load(archive(ids_train=names, ids_test=np.arange(100, 106)))
    assert data.ids[17] == "person 17"
    assert data.test.ids == ("100", "101", "102", "103", "104", "105")
    assert load(archive()).ids[17] == "17"
    with refused("a.npz", "'person 1'"):
        load(archive(ids_train=np.array(["person 1"] * 30)))
    with refused("'ids_train'", "float64"):
        load(archive(ids_train=np.arange(30) / 2))


@pytest.mark.parametrize("name", ["ids", "train_ids", "patient_id"])
def test_npz_refuses_ids_that_it_would_not_read(archive, refused, name):
    """Otherwise a list of such ids would name the rows of these numbers."""
    with refused("a.npz", f"'{name}'", "ids_train"):
        load(archive(**{name: np.arange(30) + 1}))
    # Arrays that cannot be ids of rows are nobody's names.
    load(archive(**{name: np.arange(30) // 3, "x_val": np.zeros((30, 8, 8)), "id": np.arange(9)}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y_test": None}, ("no array 'y_test'", "x_train, y_train, x_test")),
        ({"x_train": np.array([None] * 30)}, ("'x_train'", "pickled")),
        ({"y_train": np.array(["0"] * 30)}, ("test labels are integers", "text")),
        ({"x_test": np.zeros((6, 8, 8, 4), np.uint8)}, ("x_test", "(6, 8, 8, 4)")),
        ({"y_train": np.arange(29)}, ("y_train", "30 images but 29 labels")),
        ({"y_test": np.full(6, 7)}, ("test row 0", "label 7", "0..2")),
        ({"classes": np.array([1, 2, 3])}, ("'classes'", "int64", "strings")),
        ({"classes": np.array(["a", "b"])}, ("label 2", "0..1")),
    ],
)
def test_bad_arrays_are_refused(change, words, archive, tmp_path, refused):
    spec = archive(**change)
    with refused(tmp_path / "a.npz", *words):
        load(spec)


def test_damaged_npz_files_are_refused(archive, tmp_path, refused):
    file = tmp_path / "a.npz"
    whole = file.parent / archive()[4:]
    content = whole.read_bytes()
    for damage in (b"", b"no numpy", content[: len(content) // 2], content[:200]):
        file.write_bytes(damage)
        with refused(file):
            load(f"npz:{file}")
    bits = bytearray(content)
    bits[len(content) // 4] ^= 255
    file.write_bytes(bits)
    with refused(file, "x_train"):
        load(f"npz:{file}")
    np.save(tmp_path / "b.npy", np.zeros(3))
    with refused("single array"):
        load(f"npz:{tmp_path / 'b.npy'}")
    with refused(tmp_path):
        load(f"npz:{tmp_path}")


def test_a_pickle_is_never_run(tmp_path, refused):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    file = tmp_path / "a.npz"
    file.write_bytes(pickle.dumps(Bomb()))
    with refused(file, "pickled"):
        load(f"npz:{file}")
    np.savez(file, x_train=np.array([Bomb()]), y_train=[0], x_test=[0], y_test=[0])
    with refused(file, "x_train", "pickled"):
        load(f"npz:{file}")
    assert not (tmp_path / "ran").exists()
