"""Texts as token ids: padding, sources, datasets, and what a network gets."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import coun
from coun.data.tokens import padded
from coun.errors import CounError
from coun.models import Classifier, build
from coun.models.inputs import run

ITEMS = [
    {"input_ids": [101, 7, 8, 102], "attention_mask": [1, 1, 1, 1], "label": 0},
    {"input_ids": [101, 9, 102, 0], "attention_mask": [1, 1, 1, 0], "label": 1},
] * 10


def columns(items):
    return {name: [item[name] for item in items] for name in items[0]}


@pytest.fixture
def texts(tmp_path):
    """A parquet file of 40 texts of 2 to 9 tokens; class 1 has token 3 in it."""
    rng = np.random.default_rng(0)
    ids = [rng.integers(4, 30, rng.integers(2, 10)).tolist() for _ in range(40)]
    for row in range(1, 40, 2):
        ids[row][0] = 3
    table = {"input_ids": ids, "label": [0, 1] * 20, "key": [f"t{k}" for k in range(40)]}
    pq.write_table(pa.table(table), tmp_path / "texts.parquet")
    return table, tmp_path / "texts.parquet"


def test_a_file_of_token_lists(texts):
    table, path = texts
    data = coun.load(f"tokens:{path}", id_column="key")
    longest = max(len(table["input_ids"][number]) for number in data.train.numbers)
    assert data.shape == (longest,)
    assert data.vocabulary == max(map(max, table["input_ids"])) + 1
    assert (data.noun, data.dtype, data.classes) == ("text", torch.int64, ("0", "1"))
    for row, number in zip(data.train.images.tolist(), data.train.numbers.tolist(), strict=True):
        expected = table["input_ids"][number]
        assert row == expected + [-1] * (longest - len(expected))
    assert "cut to 4 tokens" in coun.load(f"tokens:{path}", length=4).notes[-1]


def test_length_and_vocabulary_stay_when_rows_are_deleted(texts, tmp_path):
    table, path = texts
    data = coun.load(f"tokens:{path}", id_column="key")
    coun.train(data, "text", epochs=1, out=tmp_path / "o")
    row = max(data.train.numbers.tolist(), key=lambda n: max(table["input_ids"][n]))
    split = coun.Split.by_index(data, [row])
    coun.unlearn(tmp_path / "o", split, "finetune", epochs=1, lr=0.01, out=tmp_path / "u")
    kept = [k for k in range(40) if k != row]
    pq.write_table(pa.table({k: [v[i] for i in kept] for k, v in table.items()}), path)
    opened = coun.Run.open(tmp_path / "u")
    assert opened.data.vocabulary == data.vocabulary
    assert coun.evaluate(opened)["counts"]["retain"] == len(data.train) - 1


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"input_ids": ["a", "b"] * 20}, "expected lists of integers"),
        ({"input_ids": [[1, -2]] * 40}, "row 0 has the token id -2"),
        ({"input_ids": [[1], []] * 20}, "row 1 has a missing value in 'input_ids'"),
        ({"attention_mask": [[1]] * 40}, "a mask of 1"),
        ({"token_type_ids": [[0, 1]] * 40}, "marks a second text"),
    ],
)
def test_columns_that_cannot_be_used(texts, change, line):
    table, path = texts
    pq.write_table(pa.table({**table, **change}), path)
    with pytest.raises(CounError, match=line):
        coun.load(f"tokens:{path}")


def test_datasets_of_a_tokenizer(texts):
    data = coun.from_dataset(ITEMS, ITEMS[:4], classes=["ham", "spam"])
    assert data.train.images[:2].tolist() == [[101, 7, 8, 102], [101, 9, 102, -1]]
    assert (data.vocabulary, data.classes) == (103, ("ham", "spam"))
    with pytest.raises(CounError, match="test row 0 has input_ids; expected input_ids and label"):
        coun.from_dataset(ITEMS, [{"input_ids": [1]}])


def test_a_number_that_no_tokenizer_gives_is_refused(texts, refused):
    """A model of texts has weights for each token id, which would not fit into any memory."""
    table, path = texts
    first, *others = table["input_ids"]
    pq.write_table(pa.table({**table, "input_ids": [[2**40, *first[1:]], *others]}), path)
    for read in (
        lambda: coun.load(f"tokens:{path}"),
        lambda: coun.from_dataset([{"input_ids": [2**40], "label": n} for n in (0, 1)], ITEMS[:1]),
        lambda: coun.from_arrays(np.array([[1], [2**40]]), [0, 1], np.array([[1]]), [0]),
    ):
        with refused("a token id is 1,099,511,627,776", "below 10,000,000"):
            read()


def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        input_ids=datasets.List(datasets.Value("int64")),
        attention_mask=datasets.List(datasets.Value("int64")),
        label=datasets.ClassLabel(names=["ham", "spam"]),
    )
    part = datasets.Dataset.from_dict(columns(ITEMS), features=features)
    data = coun.from_dataset(part, part.with_format("torch"))
    assert data.classes == ("ham", "spam")
    assert torch.equal(data.train.images, data.test.images)
    assert torch.equal(data.train.images, coun.from_dataset(ITEMS, ITEMS).train.images)


def test_npz_with_masks(tmp_path):
    x = np.array([item["input_ids"] for item in ITEMS])
    y, mask = [item["label"] for item in ITEMS], np.array([i["attention_mask"] for i in ITEMS])
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(tmp_path / "t.npz", **arrays, mask_train=mask, mask_test=mask)
    expected = coun.from_dataset(ITEMS, ITEMS).train.images
    assert torch.equal(coun.load(f"npz:{tmp_path / 't.npz'}").train.images, expected)
    np.savez(tmp_path / "bad.npz", **arrays, mask_train=mask[:, :2])
    with pytest.raises(CounError, match="expected a mask of token ids"):
        coun.load(f"npz:{tmp_path / 'bad.npz'}")


class Bag(nn.Module):
    """Takes token ids alone, as a network of one's own may."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(200, 8)
        self.fc = nn.Linear(8, 2)

    def forward(self, tokens):
        return self.fc(self.bag(tokens))


def test_a_network_gets_ids_and_a_mask_if_it_takes_one():
    batch = padded([[5, 6, 7], [8]], None, 3)
    network = build("text", classes=2, shape=(3,), vocabulary=9).eval()
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    expected = network(torch.tensor([[5, 6, 7], [8, 0, 0]]), mask)
    assert torch.equal(run(network, batch), expected)
    bag = Bag()
    assert torch.equal(run(bag, batch), bag(torch.tensor([[5, 6, 7], [8, 0, 0]])))
    assert Classifier(bag, example=batch).head_name == "fc"


def test_padding_does_not_change_what_the_text_network_says():
    torch.manual_seed(0)
    network = build("text", classes=3, shape=(10,), vocabulary=50).eval()
    short, long = padded([[5, 6, 7]], None, 3), padded([[5, 6, 7]], None, 10)
    assert torch.allclose(run(network, short), run(network, long), atol=1e-6)
    assert run(network, padded([[]], None, 10)).isfinite().all()


@pytest.mark.parametrize("name", ["sisa", "random_label", "ssd", "not", "laf"])
def test_methods_take_texts(texts, name):
    data = coun.load(f"tokens:{texts[1]}")
    split = coun.Split.by_index(data, data.train.numbers[:3])
    original = coun.train(data, "text", epochs=1)
    settings = {"epochs": 1} if name != "ssd" else {}
    settings |= {"lr": 0.01} if name in ("not", "random_label") else {}
    run = coun.unlearn(original, split, name, **settings)
    assert coun.evaluate(run)["test_accuracy"] is not None


@pytest.mark.parametrize("name", ["unsir", "boundary_shrink"])
def test_methods_that_change_inputs_refuse_texts(texts, name):
    data = coun.load(f"tokens:{texts[1]}")
    split = coun.Split.by_index(data, data.train.numbers[:3])
    with pytest.raises(CounError, match="token ids do not have"):
        coun.unlearn(coun.train(data, "text", epochs=1), split, name)


def test_the_text_network_is_trained_with_adamw_and_refuses_numbers(texts):
    data = coun.load(f"tokens:{texts[1]}")
    assert coun.train(data, "text", epochs=1).record.method.settings["optimizer"] == "adamw"
    with pytest.raises(CounError, match="mlp takes numbers, but the rows of this data are token"):
        coun.train(data, "mlp", epochs=1)
    with pytest.raises(CounError, match="text takes token ids"):
        build("text", classes=2, shape=(3, 8, 8))
