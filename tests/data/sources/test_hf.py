"""Parquet files and data sets of the Hub: bad rows, the Hub, real data and token ids."""

import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from data.parquet import ANT_OR_BEE, IMAGE, class_label

from coun.data import load
from coun.errors import CounError


def test_a_class_without_rows_needs_no_row_to_hold_out(write_parquet, root):
    features = {"img": IMAGE, "label": class_label("ant", "none", "bee")}
    write_parquet("train.parquet", labels=(0, 2) * 5, features=features)
    data = load(f"hf:{root}", test_share=0.4)
    assert data.classes == ("ant", "none", "bee")
    assert [int((part.labels == 0).sum()) for part in (data.train, data.test)] == [3, 2]
    assert [int((part.labels == 2).sum()) for part in (data.train, data.test)] == [3, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": (0, None, 0, 1)}, ("train row 1", "no label", "null")),
        ({"labels": (0, -1, 0, 1)}, ("train row 1", "label -1", "0 or more")),
        ({"labels": (0, 2, 0, 1)}, ("train row 1", "label 2", "0..1")),
        ({"labels": ()}, ("train part is empty",)),
        ({"labels": (0, 0, 0, 0)}, ("test row 1", "'bee'", "no training row")),
        ({"images": [b"text"] * 4}, ("train row 0", "not a readable image")),
        ({"images": [None] * 4}, ("train row 0", "no image bytes", "'img'")),
    ],
)
def test_bad_rows_are_refused(change, words, write_parquet, root, refused):
    write_parquet("test.parquet", features=ANT_OR_BEE)
    write_parquet("train.parquet", features=ANT_OR_BEE, **change)
    with refused(*words):
        load(f"hf:{root}")


def test_the_hub_needs_its_extra(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused("'org/name'", "pip install 'coun[hub]'"):
        load("hf:org/name")


def test_a_name_that_is_a_folder_of_the_benches_is_named(refused, monkeypatch, tmp_path):
    """COUN_DATA is for benches only, but whoever has set it expects the names of data sets."""
    (tmp_path / "cifar10").mkdir()
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("COUN_DATA", str(tmp_path))
    with refused(f"or take --data hf:{tmp_path / 'cifar10'}"):
        load("hf:CIFAR-10")
    for missing in (str(tmp_path / "none"), str(tmp_path)):
        monkeypatch.setenv("COUN_DATA", missing)
        with pytest.raises(CounError, match=r"coun\[hub\]'$"):
            load("hf:CIFAR-100")


class FakeRows:
    """The part of `datasets.Dataset` that is used: columns, the Arrow format and rows."""

    def __init__(self, table, features):
        self.table = table
        self.features = types.SimpleNamespace(to_dict=lambda: features)

    def select_columns(self, names):
        return FakeRows(self.table.select(names), None)

    def with_format(self, kind):
        assert kind == "arrow"
        return self

    def __getitem__(self, rows):
        return self.table if isinstance(rows, slice) else self.table.take(rows)


def test_the_hub_gives_what_the_files_give(write_parquet, root, refused, monkeypatch):
    parts = {}
    for part in ("train", "test"):
        path = write_parquet(f"{part}.parquet", [0, 1] * 4, features=ANT_OR_BEE)
        parts[part] = FakeRows(pq.read_table(path), ANT_OR_BEE)

    def load_dataset(name):
        if name != "org/name":
            raise FileNotFoundError("Couldn't find it\non the Hub")
        return parts

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    data = load("hf:org/name", limit=4)
    assert data.fingerprint == load(f"hf:{root}", limit=4).fingerprint
    assert data.source == "hf:org/name"
    with refused("no file or folder 'other'", "Couldn't find it", "check the path"):
        load("hf:other")
    parts["dev"] = parts.pop("test")
    with refused("splits train, dev", "test, validation"):
        load("hf:org/name")


@pytest.fixture(scope="module")
def cifar(shared):
    if not (shared / "data" / "cifar10").is_dir():
        pytest.skip("no CIFAR-10 in the shared folder")
    return load(f"hf:{shared / 'data' / 'cifar10'}", limit=200)


def test_real_cifar_10(cifar):
    assert cifar.shape == (3, 32, 32)
    assert cifar.train.labels.bincount().tolist() == [20] * 10
    assert cifar.test.labels.bincount().tolist() == [1000] * 10
    assert (cifar.classes[0], cifar.classes[9]) == ("airplane", "truck")
    assert cifar.train.numbers.max() > 40_000
    # The known mean of CIFAR-10, in every channel.
    mean = cifar.test.images.float().mean((0, 2, 3)) / 255
    assert (mean - torch.tensor(cifar.views.mean)).abs().max() < 0.01


@pytest.mark.parametrize("split", ["test", "held out"])
def test_columns_of_token_ids_are_texts(tmp_path, split):
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, 30, rng.integers(2, 6)).tolist() for _ in range(20)]
    columns = {"input_ids": texts, "attention_mask": [[1] * len(t) for t in texts]}
    table = pa.table({**columns, "label": [0, 1] * 10, "name": [f"t{n}" for n in range(20)]})
    pq.write_table(table, tmp_path / "train.parquet")
    options = {"id_column": "name"}
    if split == "test":
        pq.write_table(table.slice(0, 4), tmp_path / "test.parquet")
    else:
        options["test_share"] = 0.2
    data = load(f"hf:{tmp_path}", **options)
    assert (data.noun, data.vocabulary) == ("text", max(map(max, texts)) + 1)
    assert data.shape == (max(map(len, texts)),)
    for part in (data.train, data.test):
        for row, name in enumerate(part.ids):
            tokens = part.fetch(torch.tensor([row]))[0].tolist()
            assert [t for t in tokens if t >= 0] == texts[int(name[1:])]
    # A recorded reading keeps length and vocabulary when rows are deleted.
    again = load(data.source, **{**data.origin, "encoding": {"length": 3, "vocabulary": 99}})
    assert (again.shape, again.vocabulary) == ((3,), 99)
    assert load(data.source, **data.origin).fingerprint == data.fingerprint
    assert load(data.source, **options, length=2).shape == (2,)
    with pytest.raises(CounError, match="--size applies to encoded images"):
        load(data.source, **options, size=8)
