"""Parquet files of one data set: shards and parts, and files that do not fit together."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from coun.data import load
from coun.data.subsets import limited


@pytest.mark.parametrize(
    "prefix", ["data/train-{}.parquet", "train/{}.parquet", "train_{}.parquet"]
)
def test_shards_are_joined_in_name_order(prefix, write_parquet, root):
    labels = np.arange(20) % 2
    for i in range(4):
        shard = labels[5 * i : 5 * i + 5].tolist()
        write_parquet(prefix.format(f"0000{i}-of-00004"), shard)
    write_parquet(prefix.replace("train", "test").format("0"), (0, 1))
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
def test_shards_that_are_missing_repeated_or_mixed_are_refused(
    names, words, write_parquet, root, refused
):
    """Each would change the row numbers unnoticed."""
    write_parquet("test.parquet")
    for name in names:
        write_parquet(f"data/{name}.parquet")
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
def test_complete_shards_are_joined(names, write_parquet, root):
    write_parquet("test.parquet")
    for name in names:
        write_parquet(f"{name}.parquet")
    assert len(load(f"hf:{root}").train) == 8


def test_a_note_says_when_name_order_is_not_the_order_of_the_numbers(write_parquet, root):
    write_parquet("test.parquet")
    for number in range(11):
        write_parquet(f"train-{number}.parquet")
    (note,) = load(f"hf:{root}").notes
    assert note.endswith("train-10.parquet before train-2.parquet")
    for number in range(11):
        (root / f"train-{number}.parquet").rename(root / f"train-{number:02}.parquet")
    assert load(f"hf:{root}").notes == ()


def test_one_shard_of_several_is_not_a_training_part(write_parquet, refused):
    write_parquet("test.parquet")
    path = write_parquet("train-00000-of-00002.parquet")
    write_parquet("train-00001-of-00002.parquet")
    with refused("train-00001-of-00002.parquet"):
        load(f"hf:{path}")


def test_an_empty_shard_is_refused(write_parquet, root, refused):
    write_parquet("test.parquet")
    write_parquet("train-0.parquet")
    path = write_parquet("train-1.parquet", ())
    with refused(path, "no rows"):
        load(f"hf:{root}")


def test_a_part_of_a_lone_file_can_be_held_out(write_parquet, refused):
    path = write_parquet(
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
    write_parquet("test.parquet")
    with refused("has a test part", "--test-share"):
        load(f"hf:{path}", test_share=0.2)


def test_a_test_limit_decodes_those_rows_alone(write_parquet, root):
    write_parquet("data/train-0.parquet", [0, 1, 0, 1])
    write_parquet("data/test-0.parquet", [0, 1, 0, 1, 0, 1])
    whole, cut = load(f"hf:{root}"), load(f"hf:{root}", test_limit=2)
    assert torch.equal(cut.train.images, whole.train.images)
    assert len(cut.test) == 2
    assert torch.equal(cut.test.images, whole.test.images[cut.test.numbers])
    assert cut.fingerprint == limited(whole, None, 2).fingerprint


@pytest.mark.parametrize("name", ["test", "val", "validation-0", "valid"])
def test_names_of_the_test_part(name, write_parquet, root):
    train = write_parquet("train.parquet")
    write_parquet(f"{name}.parquet", (1, 0))
    data = load(f"hf:{root}")
    assert len(data.test) == 2
    # The training file beside it is as good.
    assert load(f"hf:{train}").fingerprint == data.fingerprint


def test_test_goes_before_validation(write_parquet, root):
    write_parquet("train.parquet")
    write_parquet("test.parquet", (1, 0))
    write_parquet("validation.parquet", (1, 0, 1))
    assert len(load(f"hf:{root}").test) == 2


def test_a_file_without_a_test_part_is_refused(write_parquet, refused):
    path = write_parquet("train.parquet")
    with refused(path, "no test or validation part", "--test-share"):
        load(f"hf:{path}")


def test_the_row_of_a_bad_image_counts_over_shards(write_parquet, root, encode, refused):
    good = [encode(0, mode="L", size=(4, 4))] * 4
    write_parquet("test.parquet")
    write_parquet("train-0.parquet")
    write_parquet("train-1.parquet", images=[*good[:2], good[0][:43], good[0]])
    with refused("train row 6"):
        load(f"hf:{root}")
    write_parquet("train-1.parquet", images=[*good[:3], encode(0, mode="L", size=(5, 4))])
    with refused("train row 7", "5x4", "train row 0", "4x4"):
        load(f"hf:{root}")


def test_damaged_and_missing_files_are_refused(write_parquet, root, tmp_path, refused):
    test, train = write_parquet("test.parquet"), write_parquet("train.parquet")
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


def test_shards_that_differ_are_refused(write_parquet, root, refused):
    write_parquet("test.parquet")
    write_parquet("train-0.parquet")
    path = write_parquet("train-1.parquet", type=pa.int32())
    with refused("'label'", "int32, int64"):
        load(f"hf:{root}")
    pq.write_table(pa.table({"image": [b"x"]}), path)
    with refused(path, "no column 'label'", "image"):
        load(f"hf:{root}")


def test_several_sets_in_one_folder_are_refused(write_parquet, root, refused):
    for name in ("a/train.parquet", "a/test.parquet", "b/train.parquet", "b/test.parquet"):
        write_parquet(name)
    with refused("several data sets (a, b)"):
        load(f"hf:{root}")
    assert len(load(f"hf:{root / 'b'}").train) == 4
