"""Endless, special and exploding inputs are refused in one line, before they are read."""

import json
import os
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coun
from coun.data import read_ids, read_index
from coun.data.lookup import read_picture


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_pipes_and_devices_are_refused(pipe, write_photos, refused):
    photos = write_photos(train=2, test=1)
    data = coun.load(f"folder:{photos}")
    for path in (pipe, "/dev/zero"):
        for read in (read_ids, read_index, lambda p: read_picture(p, data)):
            with refused(path, "pipe, device or socket"):
                read(path)
        with refused(path, "pipe, device or socket"):
            coun.load(f"npz:{path}")
        with refused(path, "pipe, device or socket"):
            coun.data.content.rows_like(data, [path])
        with refused(path):
            coun.load(f"hf:{path}")
        with refused(path):
            coun.load(f"paths:{path}")
        with refused(path):
            coun.load(f"folder:{path}")
    os.rename(pipe, photos / "train" / "cat" / "x.png")
    with refused("x.png", "not an image file"):
        coun.load(f"folder:{photos}")


def test_links_in_a_circle_are_refused(write_photos, refused):
    photos = write_photos(train=2, test=1)
    os.symlink(photos / "train" / "a", photos / "train" / "b")
    os.symlink(photos / "train" / "b", photos / "train" / "a")
    with refused(photos):
        coun.load(f"folder:{photos}")
    with refused(photos):
        coun.load(f"folder:{photos}", follow_links=True)
    os.unlink(photos / "train" / "a")
    os.unlink(photos / "train" / "b")
    os.symlink(photos, photos / "train" / "again")
    with refused("again"):
        coun.load(f"folder:{photos}")


def test_more_pixels_than_the_budget_are_refused(write_photos, monkeypatch, refused):
    photos = write_photos(train=4, test=1)
    monkeypatch.setenv("COUN_MAX_PIXELS", str(8 * 8 * 7))
    with refused("448 pixels in all", "COUN_MAX_PIXELS"):
        coun.load(f"folder:{photos}")
    monkeypatch.setenv("COUN_MAX_PIXELS", str(8 * 8 * 8))
    assert len(coun.load(f"folder:{photos}").train) == 8


@pytest.mark.parametrize("kind", ["declared", "compressed"])
def test_an_archive_larger_than_memory_is_refused(kind, tmp_path, monkeypatch, refused):
    path = tmp_path / "bomb.npz"
    arrays = {"x_train": np.zeros((4000, 8, 8), np.uint8), "y_train": np.arange(4000) % 2}
    arrays |= {"x_test": arrays["x_train"][:4], "y_test": arrays["y_train"][:4]}
    if kind == "compressed":
        np.savez_compressed(path, **arrays)
        monkeypatch.setattr("coun.data.sources.npz.memory_of_machine", lambda: 100_000)
    else:
        np.savez(tmp_path / "some.npz", **arrays)
        with zipfile.ZipFile(tmp_path / "some.npz") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "x_train.npy":
                    content = content.replace(b"(4000, 8, 8)", b"(99999999999, 900, 900)", 1)
                new.writestr(name, content)
        # The longer text takes the place of the padding of the header.
    with refused("bomb.npz"):
        coun.load(f"npz:{path}")


def test_descriptions_are_a_few_lines(write_photos):
    data = coun.load(f"folder:{write_photos(train=4, test=1)}")
    run = coun.unlearn(
        coun.train(data, "mlp", epochs=1), coun.Split.by_class(data, "cat"), "finetune", epochs=1
    )
    text = repr(run)
    assert len(text.splitlines()) < 12
    assert "tensor" not in text
    for words in ("Run: unlearned, finetune", "8 training rows", "cat, dog", "class 'cat'"):
        assert words in text


def test_texts_that_are_not_utf_8_are_refused(tmp_path, encode, refused):
    def table(**columns) -> pa.Table:
        texts = pa.array([b"r%d" % row for row in range(11)] + [b"r\xe8"], pa.binary())
        usual = {"label": [0, 1] * 6, "size": list(range(12))}
        return pa.table({**usual, **columns, "name": texts.view(pa.string())})

    pq.write_table(table(), tmp_path / "rows.parquet")
    with refused("cannot read", "rows.parquet", "Invalid UTF8"):
        coun.load(f"table:{tmp_path / 'rows.parquet'}", id_column="name")
    with refused("cannot read", "rows.parquet", "Invalid UTF8"):
        coun.load(f"paths:{tmp_path / 'rows.parquet'}", image_column="name")
    images = table(image=[encode((row, 0, 0)) for row in range(12)])
    (tmp_path / "hub").mkdir()
    for part in ("train", "test"):
        pq.write_table(images, tmp_path / "hub" / f"{part}.parquet")
    with refused("cannot read", "train.parquet", "Invalid UTF8"):
        coun.load(f"hf:{tmp_path / 'hub'}", id_column="name")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    with pa.ipc.new_stream(str(saved / "data.arrow"), images.schema) as stream:
        stream.write_table(images)
    with refused("cannot read", "column 'name'", "Invalid UTF8"):
        coun.load(f"hf:{saved}", id_column="name", test_share=0.2)


def test_a_path_with_a_zero_byte_is_refused(tmp_path, refused):
    (tmp_path / "list.csv").write_bytes(b"path,label\na\0b.png,cat\n")
    with refused("row 0", "zero byte"):
        coun.load(f"paths:{tmp_path / 'list.csv'}", test_share=0.2)
