"""Labels and items as people have them."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import coun
from coun.data import from_arrays, from_dataset

IMAGES = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4)
NUMBERS = np.array([2, 0, 1, 0, 2, 1])
NAMES = ("10", "20", "35")


@pytest.mark.parametrize(
    "values",
    [
        np.array([10, 20, 35])[NUMBERS],
        np.array([10, 20, 35.0])[NUMBERS],
        np.array(NAMES)[NUMBERS],
        [NAMES[k] for k in NUMBERS],
        torch.tensor([10, 20, 35])[NUMBERS],
    ],
)
@pytest.mark.parametrize("make", ["arrays", "pairs", "stream", "dictionaries"])
def test_labels_are_classes_with_their_names(values, make):
    if make == "arrays":
        data = from_arrays(IMAGES, values, IMAGES[:4], values[:4])
    else:
        items = list(zip(IMAGES, values, strict=True))
        if make == "dictionaries":
            items = [{"img": image, "label": value, "row": 1} for image, value in items]
        data = from_dataset(items, items[:4], stream=make == "stream")
    assert data.classes == NAMES
    assert data.train.labels.tolist() == NUMBERS.tolist()
    assert data.test.labels.tolist() == NUMBERS[:4].tolist()
    assert torch.equal(data.train.fetch(torch.tensor([3]))[0, 0], torch.from_numpy(IMAGES[3]))


@pytest.mark.parametrize("values", [NUMBERS[:, None], torch.tensor(NUMBERS)[:, None]])
def test_a_column_of_labels_is_read(values):
    data = from_arrays(IMAGES, values, IMAGES, values)
    assert data.train.labels.tolist() == NUMBERS.tolist()


def test_one_hot_labels_of_a_dataset_are_refused(refused):
    rows = np.eye(3)[NUMBERS]
    for labels in (rows, rows.astype(int)):
        pairs = list(zip(IMAGES, labels, strict=True))
        with refused("train", "label"):
            from_dataset(pairs, pairs)


def test_rows_of_several_classes_are_not_called_one_hot():
    several = np.eye(3)[NUMBERS]
    several[0] = 1
    with pytest.raises(coun.CounError, match="rows with several classes or none are not supported"):
        from_arrays(IMAGES, several, IMAGES, several)
    with pytest.raises(coun.CounError, match="one-hot"):
        from_arrays(IMAGES, np.eye(3)[NUMBERS], IMAGES, np.eye(3)[NUMBERS])


def test_what_the_labels_mean_is_said():
    data = from_arrays(IMAGES, NUMBERS * 10, IMAGES, NUMBERS * 10)
    assert data.classes == ("0", "10", "20")
    assert "3 integers between 0 and 20" in data.notes[0]
    gap = from_arrays(IMAGES, [0, 1, 3, 0, 1, 3], IMAGES, [0, 1, 3, 0, 1, 3])
    assert gap.classes == ("0", "1", "2", "3")
    assert "no training row has label 2" in gap.notes[0]
    assert from_arrays(IMAGES, NUMBERS, IMAGES, NUMBERS).notes == ()
    named = from_arrays(IMAGES, list("abcabc"), IMAGES, list("abcabc"), classes=["c", "b", "a"])
    assert named.train.labels.tolist() == [2, 1, 0, 2, 1, 0]
    names = [f"class {k}" for k in range(36)]
    whole = from_arrays(IMAGES, NUMBERS * 10, IMAGES, NUMBERS * 10, classes=names)
    assert whole.train.labels.tolist() == (NUMBERS * 10).tolist()


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([0, 0, 0, 0, 0, 0], [0], ("all 6 training rows", "'0'", "two classes")),
        (list("aaabbb"), ["c"], ("test row 0", "'c'")),
        (list("aaabbb"), ["A"], ("test row 0", "not a class")),
        (list("aaabbb"), [1], ("test labels are integers",)),
        ([0, 1, 0, 1, 0, 1], ["a"], ("test labels are text",)),
        ([0.5, 1, 0, 1, 0, 1], [1], ("train row 0", "0.5")),
        ([0, float("nan"), 0, 1, 0, 1], [1], ("train row 1", "nan")),
        (["a", None, "b", "b", "a", "a"], ["a"], ("train row 1", "None")),
        ([0, 1, 0, 1, 0, -1], [1], ("train row 5", "-1", "remove rows without a label")),
        (list(np.eye(3)[NUMBERS]), [1], ("train labels have shape (6, 3)", "labels.argmax(1)")),
        (np.ma.masked_equal(NUMBERS, 2), [1], ("train row 0", "masked label")),
        (["cat", "dog", "cat "] * 2, ["dog"], ("'cat' and 'cat '", "only in blanks")),
        (["\u00e9", "e\u0301", "x"] * 2, ["x"], ("Unicode form",)),
        ([0, 1, 2, 0, 1, 2], [3], ("test row 0", "label 3")),
    ],
)
@pytest.mark.parametrize("make", ["arrays", "pairs"])
def test_labels_that_name_no_class_are_refused(train, test, words, make, refused):
    if make == "pairs" and (not isinstance(train[0], str) or None in train):
        return
    with refused(*words):
        if make == "arrays":
            from_arrays(IMAGES, train, IMAGES[: len(test)], test)
        else:
            from_dataset(
                list(zip(IMAGES, train, strict=True)), list(zip(IMAGES, test, strict=False))
            )


def test_keys_without_a_usual_name_are_said(refused):
    items = [{"scan": image, "kind": k % 2, "id": k} for k, image in enumerate(IMAGES)]
    with refused("scan, kind, id", "image_column"):
        from_dataset(items, items)
    data = from_dataset(items, items, image_column="scan", label_column="kind")
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    with refused("unknown image column 'scans'", "did you mean 'scan'"):
        from_dataset(items, items, image_column="scans", label_column="kind")
    with refused("apply to dictionaries"):
        from_dataset([(IMAGES[0], 0)], [(IMAGES[0], 0)], image_column="scan")
    both = [{**item, "image": item["scan"], "img": item["scan"], "label": 0} for item in items]
    with refused("2 of them may be the image"):
        from_dataset(both, both)


def test_a_tensor_dataset_is_read():
    items = TensorDataset(torch.from_numpy(IMAGES)[:, None], torch.from_numpy(NUMBERS))
    assert from_dataset(items, items).train.labels.tolist() == NUMBERS.tolist()


def test_hugging_face_datasets_in_memory_are_read():
    datasets = pytest.importorskip("datasets")
    from PIL import Image

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    rows = {"image": [Image.fromarray(x) for x in IMAGES], "label": [0, 1, 0, 1, 1, 0]}
    table = datasets.Dataset.from_dict(rows, features=features)
    for stream in (False, True):
        data = from_dataset(table, table, stream=stream)
        assert data.classes == ("cat", "dog")
        assert data.train.labels.tolist() == rows["label"]
        images = data.train.fetch(torch.arange(6))
        assert torch.equal(images[:, 0], torch.from_numpy(IMAGES))
    assert coun.train(data, "mlp", epochs=1).record.data.classes == ["cat", "dog"]
