"""Tables of paths, and test parts that the user chooses."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import coun


@pytest.fixture
def table(tmp_path, encode):
    """Write four pictures and a table of them with the given header and rows."""
    (tmp_path / "in" / "pictures").mkdir(parents=True)
    for k in range(6):
        (tmp_path / "in" / "pictures" / f"{k}, x.png").write_bytes(encode((k, 0, 0)))

    def write(*lines, name="list.csv"):
        path = tmp_path / "in" / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return f"paths:{path}"

    return write


ROWS = [f'"pictures/{k}, x.png",{"cat" if k % 2 else "dog"}' for k in range(6)]


def test_a_table_of_paths_is_read(table):
    ids = ["pictures/1, x.png", "pictures/4, x.png"]
    data = coun.load(table("\ufeffpath,label", *ROWS), test_ids=ids)
    assert data.classes == ("cat", "dog")
    assert data.ids == tuple(f"pictures/{k}, x.png" for k in (0, 2, 3, 5))
    assert data.train.numbers.tolist() == [0, 2, 3, 5]
    assert data.train.fetch(torch.arange(4))[:, 0, 0, 0].tolist() == [0, 2, 3, 5]
    assert data.test.labels.tolist() == [0, 1]
    assert coun.load(data.source, **data.origin).fingerprint == data.fingerprint


def test_a_column_marks_the_test_part(table, refused):
    marks = ["train", "train", "test", "test", "train", "val"]
    spec = table("file,target,split", *(f"{r},{m}" for r, m in zip(ROWS, marks, strict=True)))
    data = coun.load(spec)
    assert (len(data.train), len(data.test)) == (3, 2)
    assert data.notes == ("1 rows that are marked neither train nor test are left out",)
    with refused("test, train, val", "--test-split"):
        coun.load(spec, test_split="dev")


def test_a_parquet_table_is_read(table, tmp_path):
    table("x")
    columns = {
        "image": [f"pictures/{k}, x.png" for k in range(6)],
        "label": [30.0, 7, 7, 30, 7, 30],
    }
    pq.write_table(pa.table(columns), tmp_path / "in" / "list.parquet")
    data = coun.load(f"paths:{tmp_path / 'in' / 'list.parquet'}", test_share=0.4)
    assert data.classes == ("7", "30")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,label", "../secret.png,cat"], ("row 0", "leaves the folder", "--follow-links")),
        (["path,label", "/etc/passwd,cat"], ("row 0", "leaves the folder")),
        (["path,label", "pictures/none.png,cat"], ("row 0", "no file")),
        (["path,label", "pictures,cat"], ("row 0", "no file")),
        (["path,label", "pictures\\0.png,cat"], ("row 0", "write / in paths")),
        (["path,label", ROWS[0], ROWS[0]], ("2 rows", "unique")),
        (["path,label", '"pictures/0, x.png",'], ("row 0", "no label")),
        (["path,file,label", "a,b,c"], ("2 of them may hold the image", "--image-column")),
        (["a,b", "1,2"], ("none of them may hold the image",)),
        (["path,label"], ("no rows",)),
        (["path,path,label", "a,b,c"], ("one name",)),
        ([""], ("cannot read",)),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(lines, words, table, tmp_path, encode, refused):
    (tmp_path / "secret.png").write_bytes(encode(0))
    with refused(*words):
        coun.load(table(*lines))


@pytest.mark.parametrize("delimiter", ";\t|")
def test_the_header_tells_what_divides_the_cells(delimiter, table):
    rows = (f"pictures/{k}, x.png{delimiter}{'cat' if k % 2 else 'dog'}" for k in range(6))
    assert coun.load(table(f"path{delimiter}label", *rows)).classes == ("cat", "dog")


def test_other_files_are_refused(table, tmp_path, refused):
    (tmp_path / "latin.csv").write_bytes("path,label\nx.png,n\u00e9e\n".encode("latin-1"))
    with refused("latin.csv is not UTF-8 text"):
        coun.load(f"paths:{tmp_path}/latin.csv")
    with refused(".csv, .tsv or .parquet"):
        coun.load(table("path,label", *ROWS, name="list.txt"))
    with refused("not a file"):
        coun.load("paths:nowhere.csv")


def test_a_link_out_of_the_folder_is_a_choice(table, tmp_path, encode):
    (tmp_path / "outside.png").write_bytes(encode(3))
    table("x")
    os.symlink(tmp_path / "outside.png", tmp_path / "in" / "link.png")
    spec = table("path,label", *ROWS, "link.png,cat")
    with pytest.raises(coun.CounError, match="leaves the folder"):
        coun.load(spec)
    assert len(coun.load(spec, follow_links=True).train) == 6


def test_the_test_part_of_a_folder_is_chosen(write_photos, tmp_path, refused):
    photos = write_photos(train=4, test=2, val=3, dev=1)
    data = coun.load(f"folder:{photos}")
    assert len(data.test) == 4
    assert "test/ is the test part; not read: dev, val" in data.notes[0]
    assert len(coun.load(f"folder:{photos}", test_split="val").test) == 6
    assert len(coun.load(f"folder:{photos}", test_split="dev").test) == 2
    with refused("'devel'", "did you mean 'dev'"):
        coun.load(f"folder:{photos}", test_split="devel")
    with refused("several ways"):
        coun.load(f"folder:{photos}", test_split="dev", test_share=0.2)
    elsewhere = coun.load(f"folder:{photos / 'train'}", test_data=photos / "val")
    assert (len(elsewhere.train), len(elsewhere.test)) == (8, 6)
    assert coun.load(elsewhere.source, **elsewhere.origin).fingerprint == elsewhere.fingerprint
    assert len(coun.load(f"folder:{photos}", test_data=photos / "dev").test) == 2
    (photos / "train").rename(photos / "Training")
    (photos / "test").rename(photos / "TEST")
    assert len(coun.load(f"folder:{photos}").test) == 4


def test_what_save_to_disk_wrote_is_read(tmp_path, encode, refused):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )

    def part(count, label=None):
        rows = {"image": [{"bytes": encode((k, 0, 0)), "path": None} for k in range(count)]}
        rows["label"] = [k % 2 if label is None else label for k in range(count)]
        return datasets.Dataset.from_dict(rows, features=features)

    datasets.DatasetDict(train=part(6), test=part(4, -1), validation=part(2)).save_to_disk(
        str(tmp_path / "saved")
    )
    data = coun.load(f"hf:{tmp_path / 'saved'}")
    assert data.classes == ("cat", "dog")
    assert (len(data.train), len(data.test)) == (6, 2)
    assert "all -1" in data.notes[0]
    assert data.train.fetch(torch.arange(6))[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    part(10).save_to_disk(str(tmp_path / "one"))
    with refused("--test-share"):
        coun.load(f"hf:{tmp_path / 'one'}")
    assert len(coun.load(f"hf:{tmp_path / 'one'}", test_share=0.2).test) == 2


def test_unknown_test_labels_give_way_to_validation(tmp_path, encode):
    for name, labels in (
        ("train", [0.0, 1.0, 1.0]),
        ("test", [-1.0] * 3),
        ("validation", [1.0, 0.0]),
    ):
        images = [encode((k, 0, 0)) for k in range(len(labels))]
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / f"{name}.parquet")
    data = coun.load(f"hf:{tmp_path}")
    assert len(data.test) == 2
    assert "validation is the test part" in data.notes[-1]
    assert data.classes == ("0", "1")


def test_two_spellings_of_one_path_are_refused_because_one_would_stay(table, tmp_path, refused):
    spec = table("path,label", *ROWS, '"./pictures/3, x.png",dog')
    with refused("'pictures/3, x.png' in row 3", "'./pictures/3, x.png' in row 6", "one file"):
        coun.load(spec, test_share=0.4)
    spec = table("path,label", f'"{tmp_path}/in/pictures/0, x.png",dog', *ROWS)
    with refused("row 0", "'pictures/0, x.png' in row 1", "one file"):
        coun.load(spec, test_share=0.4)
    # With ids of their own, rows may share a picture, as two customers a photograph.
    rows = [f"{row},{k}" for k, row in enumerate((*ROWS, ROWS[0]))]
    data = coun.load(table("path,label,key", *rows), id_column="key", test_share=0.4)
    assert sorted((*data.ids, *data.test.ids)) == list("0123456")
