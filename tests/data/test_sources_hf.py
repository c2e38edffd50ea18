"""Parquet files and data sets of the Hub: shards, columns, ids and what is refused."""

import io
import json
import sys
import types

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from coun.data import load
from coun.data.subsets import limited
from coun.errors import CounError

IMAGE = {"_type": "Image"}


def grey(level):
    file = io.BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


GREY_4 = [grey(level) for level in range(4)]


def class_label(*names):
    return {"_type": "ClassLabel", "names": list(names)}


@pytest.fixture
def write(tmp_path, encode):
    """Writes a parquet file of 4x4 images with the grey level 10 * label + row."""

    def make(name, labels=(0, 1, 0, 1), *, features=None, plain=False, extra=None, **change):
        contents = change.get("images")
        if contents is None:
            contents = [
                encode(10 * (y or 0) + i, mode="L", size=(4, 4)) for i, y in enumerate(labels)
            ]
        images = (
            contents if plain else [{"bytes": x, "path": f"{i}"} for i, x in enumerate(contents)]
        )
        kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {
            "img": pa.array(images, kind),
            "label": pa.array(labels, change.get("type", pa.int64())),
        }
        columns |= extra or {}
        table = pa.table(columns)
        if features is not None:
            info = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": info})
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=change.get("group", 3))
        return path

    return make


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


def test_metadata_names_columns_and_classes(write, root):
    features = {"img": IMAGE, "label": class_label("ant", "bee"), "size": {"dtype": "int32"}}
    extra = {"size": pa.array([4] * 4, pa.int32())}
    for name in ("train.parquet", "test.parquet"):
        write(name, features=features, extra=extra)
    data = load(f"hf:{root}")
    assert data.classes == ("ant", "bee")
    assert data.shape == (1, 4, 4)
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 11, 2, 13]


@pytest.mark.parametrize("plain", [True, False])
def test_without_metadata_types_decide(plain, write, root):
    write("train.parquet", plain=plain)
    write("test.parquet", (1, 0), plain=plain)
    data = load(f"hf:{root}")
    assert data.classes == ("0", "1")
    assert data.test.images[:, 0, 0, 0].tolist() == [10, 1]


@pytest.mark.parametrize(
    "prefix", ["data/train-{}.parquet", "train/{}.parquet", "train_{}.parquet"]
)
def test_shards_are_joined_in_name_order(prefix, write, root):
    labels = np.arange(20) % 2
    for i in range(4):
        shard = labels[5 * i : 5 * i + 5].tolist()
        write(prefix.format(f"0000{i}-of-00004"), shard)
    write(prefix.replace("train", "test").format("0"), (0, 1))
    data = load(f"hf:{root}")
    assert data.train.labels.tolist() == labels.tolist()
    pixels = data.train.images[:, 0, 0, 0].tolist()
    assert pixels == [10 * y + i % 5 for i, y in enumerate(labels)]
    cut = load(f"hf:{root}", limit=6)
    assert torch.equal(cut.train.images, data.train.images[cut.train.numbers])
    assert cut.train.numbers.max() >= 6


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train-00000-of-00003", "train-00002-of-00003"], ("train-00001-of-00003.parquet",)),
        (["train-00001-of-00002"], ("train-00000-of-00002.parquet", "missing")),
        (["train-00000-of-00002"], ("train-00001-of-00002.parquet", "missing")),
        (["train-0-of-2-a1b2", "train-1-of-3-a1b2"], ("different data sets",)),
        (["train-0-of-2-a1", "train-0-of-2-b2", "train-1-of-2-a1"], ("the same shard",)),
        (["train-0-of-1", "train"], ("train.parquet", "different data sets")),
        (["train", "train-1"], ("train.parquet", "train-1.parquet", "different data sets")),
        (["train-0", "train-2", "train-3"], ("train-1.parquet", "missing")),
        (["train-00", "train-0", "train-1"], ("train-00.parquet", "the same shard")),
    ],
)
def test_shards_that_are_missing_repeated_or_mixed_are_refused(names, words, write, root, refused):
    """Each would change the row numbers unnoticed."""
    write("test.parquet")
    for name in names:
        write(f"data/{name}.parquet")
    with refused(*words):
        load(f"hf:{root}")


@pytest.mark.parametrize(
    "names",
    [
        ["train-1-of-2", "train-2-of-2"],
        ["train-00000-of-00002-0a1b", "train-00001-of-00002-2c3d"],
        ["train-2019", "train-2021"],
        ["train_cats", "train_dogs"],
        ["train-1", "train-2"],
    ],
)
def test_complete_shards_are_joined(names, write, root):
    write("test.parquet")
    for name in names:
        write(f"{name}.parquet")
    assert len(load(f"hf:{root}").train) == 8


def test_a_note_says_when_name_order_is_not_the_order_of_the_numbers(write, root):
    write("test.parquet")
    for number in range(11):
        write(f"train-{number}.parquet")
    (note,) = load(f"hf:{root}").notes
    assert note.endswith("train-10.parquet before train-2.parquet")
    for number in range(11):
        (root / f"train-{number}.parquet").rename(root / f"train-{number:02}.parquet")
    assert load(f"hf:{root}").notes == ()


def test_one_shard_of_several_is_not_a_training_part(write, refused):
    write("test.parquet")
    path = write("train-00000-of-00002.parquet")
    write("train-00001-of-00002.parquet")
    with refused("train-00001-of-00002.parquet"):
        load(f"hf:{path}")


def test_an_empty_shard_is_refused(write, root, refused):
    write("test.parquet")
    write("train-0.parquet")
    path = write("train-1.parquet", ())
    with refused(path, "no rows"):
        load(f"hf:{root}")


def test_the_id_column_names_the_rows_only_if_it_is_chosen(write, root, refused):
    names = pa.array(["ann.png", "ben.png", "cid.png", "dan.png"])
    extra = {"filename": names, "person_id": pa.array([7, 7, 8, 9]), "width": pa.array([4] * 4)}
    features = {"img": IMAGE, "label": class_label("ant", "bee")}
    write("train.parquet", extra=extra, features=features)
    write("test.parquet", extra=extra | {"filename": pa.array(list("wxyz"))}, features=features)
    data = load(f"hf:{root}")
    assert data.ids == ("0", "1", "2", "3")
    (note,) = data.notes
    assert "'filename'" in note
    assert "--id-column filename" in note
    named = load(f"hf:{root}", id_column="filename", limit=2)
    assert set(named.ids) <= set(names.to_pylist())
    assert named.test.ids == ("w", "x", "y", "z")
    assert named.notes == ()
    assert load(named.source, limit=2, **named.origin).ids == named.ids
    with refused("rows 0 and 1", "the same id '7'", "'person_id'"):
        load(f"hf:{root}", id_column="person_id")
    with refused("unknown id column 'file'", "did you mean 'filename'"):
        load(f"hf:{root}", id_column="file")
    with refused("'img'", "integers or text"):
        load(f"hf:{root}", id_column="img")
    write("train.parquet", extra=extra | {"filename": pa.array(["a", None, "b", "c"])})
    with refused("train row 1 has no id", "'filename'"):
        load(f"hf:{root}", id_column="filename")


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).permutation(5000) % 2254,  # nearly as many as rows
        np.random.default_rng(0).integers(0, 20, 5000) * 3,  # with gaps
        np.random.default_rng(0).integers(1, 11, 5000),  # not from 0
        np.arange(5000) // 7,
    ],
)
def test_integers_that_may_be_ids_are_not_taken_for_labels(values, write, root, encode, refused):
    image = encode(0, mode="L", size=(2, 2))
    for name in ("train.parquet", "test.parquet"):
        path = write(name, values, images=[image] * 5000, group=5000)
        table = pq.read_table(path)
        pq.write_table(table.rename_columns(["img", "customer_id"]), path)
    count = f"{len(np.unique(values)):,} different values in 5,000 rows"
    with refused("column customer_id", count, "--label-column customer_id"):
        load(f"hf:{root}", limit=10)
    data = load(f"hf:{root}", label_column="customer_id", test_limit=10)
    names = [data.classes[label] for label in data.train.labels]
    assert names == [str(value) for value in values]


def test_text_may_be_the_label_if_it_is_chosen(write, root, refused):
    for name in ("train.parquet", "test.parquet"):
        write(name, ["dog", "cat", "cat", "dog"], type=pa.string(), images=GREY_4)
    data = load(f"hf:{root}", label_column="label")
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0, 0, 1]
    write("test.parquet", ["dog", "fox"], type=pa.string(), images=GREY_4[:2])
    with refused("test row 1 has 'fox'", "no training row has"):
        load(f"hf:{root}", label_column="label")


def test_other_class_labels_are_mentioned(write, root):
    features = {"img": IMAGE, "label": class_label("a", "b"), "animal": class_label("c", "d")}
    for name in ("train.parquet", "test.parquet"):
        write(name, features=features, extra={"animal": pa.array([1, 0, 0, 1])})
    (note,) = load(f"hf:{root}").notes
    assert "labels are in 'label'" in note
    assert "--label-column" in note
    assert load(f"hf:{root}", label_column="animal").notes == ()


def test_a_part_of_a_lone_file_can_be_held_out(write, refused):
    path = write(
        "train.parquet", [0, 1] * 10, extra={"name": pa.array([f"n{i}" for i in range(20)])}
    )
    data = load(f"hf:{path}", test_share=0.2)
    assert data.test.labels.tolist() == [0, 1, 0, 1] or len(data.test) == 4
    assert sorted([*data.train.numbers.tolist(), *data.test.numbers.tolist()]) == list(range(20))
    pixels = data.train.images[:, 0, 0, 0].tolist()
    assert pixels == [10 * (row % 2) + row for row in data.train.numbers.tolist()]
    assert "4 of 20 rows" in data.notes[0]
    listed = load(f"hf:{path}", test_ids=["n3", "n8"], id_column="name")
    assert listed.test.numbers.tolist() == [3, 8]
    write("test.parquet")
    with refused("has a test part", "--test-share"):
        load(f"hf:{path}", test_share=0.2)


def test_a_test_limit_decodes_those_rows_alone(write, root):
    write("data/train-0.parquet", [0, 1, 0, 1])
    write("data/test-0.parquet", [0, 1, 0, 1, 0, 1])
    whole, cut = load(f"hf:{root}"), load(f"hf:{root}", test_limit=2)
    assert torch.equal(cut.train.images, whole.train.images)
    assert len(cut.test) == 2
    assert torch.equal(cut.test.images, whole.test.images[cut.test.numbers])
    assert cut.fingerprint == limited(whole, None, 2).fingerprint


@pytest.mark.parametrize("name", ["test", "val", "validation-0", "valid"])
def test_names_of_the_test_part(name, write, root):
    train = write("train.parquet")
    write(f"{name}.parquet", (1, 0))
    data = load(f"hf:{root}")
    assert len(data.test) == 2
    # The training file beside it is as good.
    assert load(f"hf:{train}").fingerprint == data.fingerprint


def test_test_goes_before_validation(write, root):
    write("train.parquet")
    write("test.parquet", (1, 0))
    write("validation.parquet", (1, 0, 1))
    assert len(load(f"hf:{root}").test) == 2


def test_a_file_without_a_test_part_is_refused(write, refused):
    path = write("train.parquet")
    with refused(path, "no test or validation part", "--test-share"):
        load(f"hf:{path}")


def test_fine_label_goes_before_coarse(write, root, refused):
    features = {
        "img": IMAGE,
        "label": {"dtype": "int64", "_type": "Value"},
        "coarse_label": class_label("x", "y"),
        "fine_label": class_label("p", "q", "r"),
    }
    extra = {"coarse_label": pa.array([1, 1, 0, 0]), "fine_label": pa.array([2, 1, 0, 0])}
    for name in ("train.parquet", "test.parquet"):
        write(name, features=features, extra=extra)
    data = load(f"hf:{root}")
    assert data.classes == ("p", "q", "r")
    assert data.train.labels.tolist() == [2, 1, 0, 0]
    coarse = load(f"hf:{root}", label_column="coarse_label")
    assert coarse.classes == ("x", "y")
    assert load(coarse.source, **coarse.origin).fingerprint == coarse.fingerprint
    with refused("unknown label column 'fine'", "did you mean 'fine_label'"):
        load(f"hf:{root}", label_column="fine")
    with refused("'img'", "does not hold labels", "fine_label"):
        load(f"hf:{root}", label_column="img")
    with refused("'label'", "does not hold images", "img"):
        load(f"hf:{root}", image_column="label")


def test_ambiguous_columns_are_listed(write, root, encode, refused):
    image = pa.array([encode(0, mode="L", size=(4, 4))] * 4, pa.binary())
    for name in ("train.parquet", "test.parquet"):
        write(name, extra={"mask": image})
    with refused("2 image columns", "img", "mask", "--image-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", image_column="mask").train.images.max() == 0


@pytest.mark.parametrize("kind", [pa.string(), pa.float32(), pa.dictionary(pa.int8(), pa.string())])
def test_labels_are_text_floats_and_categories(kind, write, root, encode, refused):
    images = [encode(0), encode(9)]
    labels = [7.0, 3.0] if kind == pa.float32() else ["7", "3"]
    for name in ("train.parquet", "test.parquet"):
        write(name, labels, type=kind, images=images)
    data = load(f"hf:{root}")
    assert data.classes == ("3", "7")
    assert data.train.labels.tolist() == [1, 0]
    if kind == pa.float32():
        write("train.parquet", [7.5, 3.0], type=kind, images=images)
        with refused("train row 0", "7.5"):
            load(f"hf:{root}")


def test_text_called_label_and_another_integer_column_are_ambiguous(write, root, refused):
    extra = {"age": pa.array([0, 1, 0, 1])}
    for name in ("train.parquet", "test.parquet"):
        write(name, ["dog", "cat", "cat", "dog"], type=pa.string(), images=GREY_4, extra=extra)
    with refused("'label' holds text and age integers", "--label-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", label_column="label").classes == ("cat", "dog")


def test_lists_of_integers_are_not_labels(write, root):
    boxes = {"boxes": pa.array([[1, 2]] * 4), "digit": pa.array([0, 1, 0, 1])}
    for name in ("train.parquet", "test.parquet"):
        path = write(name, extra=boxes)
        pq.write_table(pq.read_table(path).drop_columns(["label"]), path)
    assert load(f"hf:{root}").train.labels.tolist() == [0, 1, 0, 1]


def test_two_unknown_integer_columns_are_refused(write, root, refused):
    for name in ("train.parquet", "test.parquet"):
        path = write(name, extra={"other": pa.array([0, 1, 0, 1])})
        table = pq.read_table(path)
        pq.write_table(table.rename_columns(["img", "one", "other"]), path)
    with refused("2 label columns", "one (int64)", "other (int64)", "--label-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", label_column="one").train.labels.tolist() == [0, 1, 0, 1]


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
def test_bad_rows_are_refused(change, words, write, root, refused):
    features = {"img": IMAGE, "label": class_label("ant", "bee")}
    write("test.parquet", features=features)
    write("train.parquet", features=features, **change)
    with refused(*words):
        load(f"hf:{root}")


def test_the_row_of_a_bad_image_counts_over_shards(write, root, encode, refused):
    good = [encode(0, mode="L", size=(4, 4))] * 4
    write("test.parquet")
    write("train-0.parquet")
    write("train-1.parquet", images=[*good[:2], good[0][:43], good[0]])
    with refused("train row 6"):
        load(f"hf:{root}")
    write("train-1.parquet", images=[*good[:3], encode(0, mode="L", size=(5, 4))])
    with refused("train row 7", "5x4", "train row 0", "4x4"):
        load(f"hf:{root}")


def test_other_class_names_in_test_are_refused(write, root, refused):
    write("train.parquet", features={"img": IMAGE, "label": class_label("ant", "bee")})
    write("test.parquet", features={"img": IMAGE, "label": class_label("bee", "ant")})
    with refused("'label'", "other classes"):
        load(f"hf:{root}")


def test_odd_metadata_falls_back_on_types(write, root):
    for name in ("train.parquet", "test.parquet"):
        path = write(name)
        for odd in (b"{", b"[]", b'{"info": {"features": [1]}}', b'{"info": null}'):
            table = pq.read_table(path).replace_schema_metadata({"huggingface": odd})
            pq.write_table(table, path)
    assert load(f"hf:{root}").classes == ("0", "1")


def test_damaged_and_missing_files_are_refused(write, root, tmp_path, refused):
    test, train = write("test.parquet"), write("train.parquet")
    whole = train.read_bytes()
    for damage in (b"", b"no parquet at all", whole[:-10], whole[: len(whole) // 2]):
        train.write_bytes(damage)
        with refused(train, "cannot read parquet"):
            load(f"hf:{root}")
    train.unlink()
    with refused(root, "no train*.parquet", "test.parquet"):
        load(f"hf:{root}")
    test.unlink()
    with refused(root, "no .parquet file at all"):
        load(f"hf:{root}")


def test_shards_that_differ_are_refused(write, root, refused):
    write("test.parquet")
    write("train-0.parquet")
    path = write("train-1.parquet", type=pa.int32())
    with refused("'label'", "int32, int64"):
        load(f"hf:{root}")
    pq.write_table(pa.table({"image": [b"x"]}), path)
    with refused(path, "no column 'label'", "image"):
        load(f"hf:{root}")


def test_several_sets_in_one_folder_are_refused(write, root, refused):
    for name in ("a/train.parquet", "a/test.parquet", "b/train.parquet", "b/test.parquet"):
        write(name)
    with refused("several data sets (a, b)"):
        load(f"hf:{root}")
    assert len(load(f"hf:{root / 'b'}").train) == 4


def test_the_hub_needs_its_extra(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused("'org/name'", "pip install 'coun[hub]'"):
        load("hf:org/name")


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


def test_the_hub_gives_what_the_files_give(write, root, refused, monkeypatch):
    features = {"img": IMAGE, "label": class_label("ant", "bee")}
    parts = {}
    for part in ("train", "test"):
        path = write(f"{part}.parquet", [0, 1] * 4, features=features)
        parts[part] = FakeRows(pq.read_table(path), features)

    def load_dataset(name):
        if name != "org/name":
            raise FileNotFoundError("Couldn't find it\non the Hub")
        return parts

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    data = load("hf:org/name", limit=4)
    assert data.fingerprint == load(f"hf:{root}", limit=4).fingerprint
    assert data.source == "hf:org/name"
    with refused("'other'", "Couldn't find it"):
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
