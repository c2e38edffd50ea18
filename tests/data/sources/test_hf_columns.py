"""Columns of parquet files: which one holds images, labels or ids, and which is refused."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.parquet import ANT_OR_BEE, IMAGE, class_label
from PIL import Image

from coun.data import Split, load


def grey(level):
    file = io.BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


GREY_4 = [grey(level) for level in range(4)]


def test_metadata_names_columns_and_classes(write_parquet, root):
    features = {"img": IMAGE, "label": class_label("ant", "bee"), "size": {"dtype": "int32"}}
    extra = {"size": pa.array([4] * 4, pa.int32())}
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, features=features, extra=extra)
    data = load(f"hf:{root}")
    assert data.classes == ("ant", "bee")
    assert data.shape == (1, 4, 4)
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    assert data.train.images[:, 0, 0, 0].tolist() == [0, 11, 2, 13]


@pytest.mark.parametrize("plain", [True, False])
def test_without_metadata_types_decide(plain, write_parquet, root):
    write_parquet("train.parquet", plain=plain)
    write_parquet("test.parquet", (1, 0), plain=plain)
    data = load(f"hf:{root}")
    assert data.classes == ("0", "1")
    assert data.test.images[:, 0, 0, 0].tolist() == [10, 1]


def test_the_id_column_names_the_rows_only_if_it_is_chosen(write_parquet, root, refused):
    names = pa.array(["ann.png", "ben.png", "cid.png", "dan.png"])
    extra = {"filename": names, "person_id": pa.array([7, 7, 8, 9]), "width": pa.array([4] * 4)}
    write_parquet("train.parquet", extra=extra, features=ANT_OR_BEE)
    write_parquet(
        "test.parquet", extra=extra | {"filename": pa.array(list("wxyz"))}, features=ANT_OR_BEE
    )
    data = load(f"hf:{root}")
    assert data.ids == ("0", "1", "2", "3")
    (note,) = data.notes
    assert "'filename'" in note
    assert "--id-column filename" in note
    with refused("id '2' may be a row number or a value of column 'filename'", "--forget-index"):
        Split.by_id(data, ["2"])
    assert Split.by_index(data, [2]).forget.tolist() == [2]
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
    write_parquet("train.parquet", extra=extra | {"filename": pa.array(["a", None, "b", "c"])})
    with refused("train row 1 has no id", "'filename'"):
        load(f"hf:{root}", id_column="filename")
    unchosen = load(f"hf:{root}")  # one id is missing: the others are no row numbers
    assert unchosen.notes == ()
    with refused("id '2' may be a row number or a value of column 'filename'"):
        Split.by_id(unchosen, ["2"])


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).permutation(5000) % 2254,  # nearly as many as rows
        np.random.default_rng(0).integers(0, 20, 5000) * 3,  # with gaps
        np.random.default_rng(0).integers(1, 11, 5000),  # not from 0
        np.arange(5000) // 7,
    ],
)
def test_integers_that_may_be_ids_are_not_taken_for_labels(
    values, write_parquet, root, encode, refused
):
    image = encode(0, mode="L", size=(2, 2))
    for name in ("train.parquet", "test.parquet"):
        path = write_parquet(name, values, images=[image] * 5000, group=5000)
        table = pq.read_table(path)
        pq.write_table(table.rename_columns(["img", "customer_id"]), path)
    count = f"{len(np.unique(values)):,} different values in 5,000 rows"
    with refused("column customer_id", count, "--label-column customer_id"):
        load(f"hf:{root}", limit=10)
    data = load(f"hf:{root}", label_column="customer_id", test_limit=10)
    names = [data.classes[label] for label in data.train.labels]
    assert names == [str(value) for value in values]


def test_text_may_be_the_label_if_it_is_chosen(write_parquet, root, refused):
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, ["dog", "cat", "cat", "dog"], type=pa.string(), images=GREY_4)
    data = load(f"hf:{root}", label_column="label")
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0, 0, 1]
    write_parquet("test.parquet", ["dog", "fox"], type=pa.string(), images=GREY_4[:2])
    with refused("test row 1 has 'fox'", "no training row has"):
        load(f"hf:{root}", label_column="label")


def test_other_class_labels_are_mentioned(write_parquet, root):
    features = {"img": IMAGE, "label": class_label("a", "b"), "animal": class_label("c", "d")}
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, features=features, extra={"animal": pa.array([1, 0, 0, 1])})
    (note,) = load(f"hf:{root}").notes
    assert "labels are in 'label'" in note
    assert "--label-column" in note
    assert load(f"hf:{root}", label_column="animal").notes == ()


def test_fine_label_goes_before_coarse(write_parquet, root, refused):
    features = {
        "img": IMAGE,
        "label": {"dtype": "int64", "_type": "Value"},
        "coarse_label": class_label("x", "y"),
        "fine_label": class_label("p", "q", "r"),
    }
    extra = {"coarse_label": pa.array([1, 1, 0, 0]), "fine_label": pa.array([2, 1, 0, 0])}
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, features=features, extra=extra)
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


def test_ambiguous_columns_are_listed(write_parquet, root, encode, refused):
    image = pa.array([encode(0, mode="L", size=(4, 4))] * 4, pa.binary())
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, extra={"mask": image})
    with refused("2 image columns", "img", "mask", "--image-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", image_column="mask").train.images.max() == 0


@pytest.mark.parametrize("kind", [pa.string(), pa.float32(), pa.dictionary(pa.int8(), pa.string())])
def test_labels_are_text_floats_and_categories(kind, write_parquet, root, encode, refused):
    images = [encode(0), encode(9)]
    labels = [7.0, 3.0] if kind == pa.float32() else ["7", "3"]
    for name in ("train.parquet", "test.parquet"):
        write_parquet(name, labels, type=kind, images=images)
    data = load(f"hf:{root}")
    assert data.classes == ("3", "7")
    assert data.train.labels.tolist() == [1, 0]
    if kind == pa.float32():
        write_parquet("train.parquet", [7.5, 3.0], type=kind, images=images)
        with refused("train row 0", "7.5"):
            load(f"hf:{root}")


def test_text_called_label_and_another_integer_column_are_ambiguous(write_parquet, root, refused):
    extra = {"age": pa.array([0, 1, 0, 1])}
    for name in ("train.parquet", "test.parquet"):
        write_parquet(
            name, ["dog", "cat", "cat", "dog"], type=pa.string(), images=GREY_4, extra=extra
        )
    with refused("'label' holds text and age integers", "--label-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", label_column="label").classes == ("cat", "dog")


def test_lists_of_integers_are_not_labels(write_parquet, root):
    boxes = {"boxes": pa.array([[1, 2]] * 4), "digit": pa.array([0, 1, 0, 1])}
    for name in ("train.parquet", "test.parquet"):
        path = write_parquet(name, extra=boxes)
        pq.write_table(pq.read_table(path).drop_columns(["label"]), path)
    assert load(f"hf:{root}").train.labels.tolist() == [0, 1, 0, 1]


def test_two_unknown_integer_columns_are_refused(write_parquet, root, refused):
    for name in ("train.parquet", "test.parquet"):
        path = write_parquet(name, extra={"other": pa.array([0, 1, 0, 1])})
        table = pq.read_table(path)
        pq.write_table(table.rename_columns(["img", "one", "other"]), path)
    with refused("2 label columns", "one (int64)", "other (int64)", "--label-column"):
        load(f"hf:{root}")
    assert load(f"hf:{root}", label_column="one").train.labels.tolist() == [0, 1, 0, 1]


def test_other_class_names_in_test_are_refused(write_parquet, root, refused):
    write_parquet("train.parquet", features=ANT_OR_BEE)
    write_parquet("test.parquet", features={"img": IMAGE, "label": class_label("bee", "ant")})
    with refused("'label'", "other classes"):
        load(f"hf:{root}")


def test_odd_metadata_falls_back_on_types(write_parquet, root):
    for name in ("train.parquet", "test.parquet"):
        path = write_parquet(name)
        for odd in (b"{", b"[]", b'{"info": {"features": [1]}}', b'{"info": null}'):
            table = pq.read_table(path).replace_schema_metadata({"huggingface": odd})
            pq.write_table(table, path)
    assert load(f"hf:{root}").classes == ("0", "1")
