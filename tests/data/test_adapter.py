import numpy as np
import pytest
import torch
from PIL import Image

from coun.data import TensorExamples, Views, from_arrays, from_dataset
from coun.data import adapter as module
from coun.data.adapter import StreamedExamples
from coun.data.row_views import TableViews
from coun.errors import CounError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


class Items:
    """A map-style data set that counts what is read."""

    def __init__(self, images, own=LABELS, **listed):
        self.images, self.own, self.read = images, own, []
        self.__dict__.update(listed)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        self.read.append(row)
        return self.images[row], self.own[row]


KINDS = {
    "PIL": [Image.fromarray(x) for x in PIXELS],
    "HWC array": list(PIXELS),
    "CHW array": list(PIXELS.transpose(0, 3, 1, 2)),
    "CHW tensor": list(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gives_the_same_data(kind, stream):
    made = from_dataset(Items(KINDS[kind]), Items(KINDS[kind][:3]), stream=stream)
    wanted = from_arrays(PIXELS, LABELS, PIXELS[:3], LABELS[:3])
    assert isinstance(made.train, StreamedExamples if stream else TensorExamples)
    assert made.shape == (3, 6, 5)
    assert made.fingerprint == wanted.fingerprint
    assert made.classes == ("0", "1", "2")
    assert made.views == wanted.views


def test_small_sets_are_read_once(monkeypatch):
    monkeypatch.setattr(module, "READ_TWICE", 2)
    train, test = Items(KINDS["PIL"]), Items(KINDS["PIL"])
    data = from_dataset(train, test)
    # Row 0 is read for its type and its shape, and three rows twice for random transforms.
    assert sorted(train.read) == sorted([0, 0, *(0, 5, 11) * 2, *range(12)])
    _ = data.fingerprint
    assert len(train.read) == 20


def test_larger_sets_are_streamed(monkeypatch):
    monkeypatch.setattr(module, "IN_MEMORY", PIXELS[:11].nbytes)
    data = from_dataset(Items(KINDS["PIL"]), Items(KINDS["PIL"][:3]))
    assert isinstance(data.train, StreamedExamples)
    assert isinstance(data.test, TensorExamples)


@pytest.mark.parametrize("attribute", ["targets", "labels"])
@pytest.mark.parametrize("kind", [list, np.asarray, torch.as_tensor])
def test_streamed_labels_come_from_the_listing(attribute, kind, monkeypatch):
    monkeypatch.setattr(module, "READ_TWICE", 2)
    train = Items(KINDS["PIL"], **{attribute: kind(LABELS.tolist())})
    data = from_dataset(train, Items(KINDS["PIL"]), stream=True, views=Views(""))
    assert data.train.labels.tolist() == LABELS.tolist()
    assert set(train.read) == {0, 5, 11}


def test_streamed_rows_are_read_on_demand():
    train = Items(KINDS["PIL"], targets=LABELS)
    data = from_dataset(train, Items(KINDS["PIL"]), stream=True)
    part = data.train.take(torch.tensor([9, 2, 7]))
    train.read.clear()
    images = part.fetch(torch.tensor([2, 0]))
    assert train.read == [7, 9]
    assert np.array_equal(images.numpy(), PIXELS[[7, 9]].transpose(0, 3, 1, 2))
    assert part.numbers.tolist() == [9, 2, 7]
    assert part.labels.tolist() == LABELS[[9, 2, 7]].tolist()


def test_a_listing_that_disagrees_with_the_items_is_refused(refused):
    shifted = Items(KINDS["PIL"], targets=(LABELS + 1) % 3)
    with refused("train row 0", "label 0", "lists 1"):
        from_dataset(shifted, Items(KINDS["PIL"]), stream=True)
    # In memory the items themselves count.
    assert from_dataset(shifted, shifted).train.labels.tolist() == LABELS.tolist()
    with refused("lists 3 labels for 12 items"):
        from_dataset(Items(KINDS["PIL"], targets=[0, 1, 2]), shifted, stream=True)


@pytest.mark.parametrize("stream", [True, False])
def test_floats_count_as_transformed(stream):
    vectors = torch.randn(12, 17)
    data = from_dataset(Items(vectors), Items(vectors[:3]), stream=stream)
    assert data.views == TableViews()
    assert data.shape == (17,)
    assert torch.equal(data.train.fetch(torch.arange(12)), vectors)
    images = from_dataset(Items(PIXELS / 255), Items(PIXELS / 255), stream=stream)
    assert images.shape == (3, 6, 5)
    assert images.views == Views(letters="")
    assert images.train.fetch(torch.tensor([0])).dtype == torch.float32


def test_classes_and_views():
    train = Items(KINDS["PIL"], classes=["ant", "bee", "cow"])
    assert from_dataset(train, train).classes == ("ant", "bee", "cow")
    views = Views("N")
    data = from_dataset(train, train, classes=["x", "y", "z"], views=views)
    assert data.classes == ("x", "y", "z")
    assert data.views is views


def test_grey_among_colour_is_repeated(refused):
    grey = Image.fromarray(PIXELS[1, :, :, 0])
    data = from_dataset(Items([KINDS["PIL"][0], grey, *KINDS["PIL"][2:]]), Items(KINDS["PIL"]))
    assert (data.train.images[1] == torch.from_numpy(PIXELS[1, :, :, 0])).all()
    with refused("train row 1", "(3, 6, 5)", "(1, 6, 5) like row 0"):
        from_dataset(Items([grey, *KINDS["PIL"][1:]]), Items(KINDS["PIL"]))


def fails(row):
    raise RuntimeError("disk\non fire")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("image", "label", "words"),
    [
        (PIXELS[0][:4], 0, ("(3, 4, 5)", "like row 0")),
        (PIXELS[0] / 255, 0, ("float32", "uint8")),
        (PIXELS[0].astype(np.int64), 0, ("int64",)),
        (PIXELS[0, 0], 0, ("(1, 5, 3)",)),
        ("cat.png", 0, ("str",)),
        (None, 0, ("NoneType",)),
        (Image.new("I;16", (5, 6)), 0, ("mode I;16", "8 bits")),
        (PIXELS[0], "cat", ("label of type str",)),
        (PIXELS[0], 1.0, ("label of type float",)),
        (PIXELS[0], -1, ("label -1", "0..2")),
    ],
)
def test_bad_items_are_refused_by_row(image, label, words, stream, refused):
    images, labels = list(PIXELS), LABELS.tolist()
    images[5], labels[5] = image, label
    with refused("train row 5", *words):
        from_dataset(Items(images, labels), Items(PIXELS), stream=stream)


def test_errors_of_the_data_set_are_the_cause():
    class Failing(Items):
        def __getitem__(self, row):
            return fails(row) if row == 5 else super().__getitem__(row)

    with pytest.raises(CounError, match=r"^test row 5 cannot be read: RuntimeError: disk$") as e:
        from_dataset(Items(PIXELS), Failing(PIXELS))
    assert isinstance(e.value.__cause__, RuntimeError)


def test_an_object_that_is_not_a_dataset_is_refused(refused):
    with refused("train dataset", "no length"):
        from_dataset(iter([]), Items(PIXELS))
    with refused("test dataset is empty"):
        from_dataset(Items(PIXELS), Items([]))
    with refused("train row 0", "pair (image, label)"):
        from_dataset(PIXELS, Items(PIXELS))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x_train": PIXELS[:3]}, ("x_train", "3 images but 12 labels")),
        ({"x_test": PIXELS.astype(np.int32)}, ("x_test", "int32")),
        ({"y_test": LABELS + 1}, ("test row 2", "label 3", "0..2")),
        ({"y_train": LABELS - 1}, ("train row 0", "label -1")),
        ({"y_train": LABELS // 2 * 2}, ("test row 1", "class '1'", "no training row")),
        ({"x_test": PIXELS[:0], "y_test": LABELS[:0]}, ("test part is empty",)),
        ({"x_train": PIXELS[:0], "y_train": LABELS[:0]}, ("train part is empty",)),
        ({"x_test": PIXELS[:, :4]}, ("(3, 6, 5)", "(3, 4, 5)")),
        ({"classes": ["a", "b"]}, ("label 2", "0..1")),
        ({"classes": ["a", "b", "a"]}, ("duplicate class name 'a'",)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, words, refused):
    arrays = {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS, "y_test": LABELS}
    with refused(*words):
        from_arrays(**(arrays | change))


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(10.0).reshape(5, 2).requires_grad_(),
        torch.arange(10.0).reshape(5, 2).bfloat16(),
        np.arange(10.0).reshape(5, 2).astype(">f4"),
    ],
    ids=["gradient", "bfloat16", "big-endian"],
)
def test_arrays_of_other_kinds_of_floats_are_read(values):
    data = from_arrays(values, [0, 1, 0, 1, 0], values, [0, 1, 0, 1, 0])
    assert data.train.images.tolist() == np.arange(10.0).reshape(5, 2).tolist()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ma.masked_greater(np.eye(5), 0), ("x_train", "masked values")),
        (torch.eye(5).to_sparse(), ("x_train", "numeric array", "sparse_coo")),
        (np.array([["1", "a"]] * 5, dtype=object), ("x_train", "numeric array", "type object")),
    ],
)
def test_arrays_without_plain_numbers_are_refused(values, words, refused):
    labels = [0, 1, 0, 1, 0]
    with refused(*words):
        from_arrays(values, labels, np.eye(5), labels)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("what", ["image", "label"])
def test_a_dataset_that_differs_when_read_again_is_refused(what, stream, refused):
    draw = np.random.default_rng(0)

    class Random(Items):
        def __getitem__(self, row):
            image, label = super().__getitem__(row)
            noise = draw.integers(0, 255, image.shape, dtype=np.uint8)
            return (noise, label) if what == "image" else (image, int(draw.integers(10**9)))

    with refused("train row 0 differs between two readings", "views=(training transform"):
        from_dataset(Random(PIXELS), Items(PIXELS), stream=stream)


@pytest.mark.parametrize("seed", range(40))
def test_a_dataset_that_flips_half_of_its_images_is_refused(seed, refused):
    draw = np.random.default_rng(seed)
    plain = [(np.arange(16, dtype=np.uint8).reshape(4, 4), row % 2) for row in range(60)]

    class Flipped(list):
        def __getitem__(self, row):
            image, label = super().__getitem__(row)
            return (image[:, ::-1].copy() if draw.random() < 0.5 else image), label

    with refused("differs between two readings"):
        from_dataset(Flipped(plain), plain)


def test_a_loader_is_refused_with_what_to_pass(refused):
    loader = torch.utils.data.DataLoader(Items(PIXELS))
    with refused("train data are a DataLoader", "pass the dataset that it reads"):
        from_dataset(loader, Items(PIXELS))


def test_what_happens_to_an_array_later_changes_nothing():
    for make in (np.array, torch.tensor):
        table = make(np.ones((12, 4), np.float32))
        data = from_arrays(table, LABELS, table, LABELS)
        table[:] = 0
        assert data.train.images.eq(1).all()


def test_a_table_and_labels_of_pandas_must_have_one_index(refused):
    pandas = pytest.importorskip("pandas")

    table = pandas.DataFrame(np.arange(24.0).reshape(12, 2))
    labels = pandas.Series(LABELS)
    shuffled = table.sample(frac=1, random_state=0)
    with refused("index of y_train is not that of x_train", "y_train.loc[x_train.index]"):
        from_arrays(shuffled, labels, table, labels)
    with refused("index of y_test"):
        from_arrays(table, labels, shuffled, labels)
    data = from_arrays(shuffled, labels.loc[shuffled.index], table, labels)
    assert data.train.labels.tolist() == labels[shuffled.index].tolist()


@pytest.mark.parametrize("stream", [True, False])
def test_a_float_that_is_not_finite_is_refused(stream, refused):
    images = torch.ones(12, 3, 6, 5)
    images[7, 0, 0, 0] = torch.nan
    with refused("train row 7 holds NaN or infinity"):
        data = from_dataset(Items(images), Items(torch.ones(12, 3, 6, 5)), stream=stream)
        data.train.fetch(torch.arange(12))


def test_parts_of_a_dataset_have_its_classes():
    whole = Items(PIXELS, classes=["a", "b", "c"])
    part = torch.utils.data.Subset(whole, range(9))
    joined = torch.utils.data.ConcatDataset([part, whole])
    assert from_dataset(part, whole).classes == ("a", "b", "c")
    assert from_dataset(joined, whole).classes == ("a", "b", "c")
    other = torch.utils.data.ConcatDataset([part, Items(PIXELS, classes=["x", "y", "z"])])
    assert from_dataset(other, whole).classes == ("0", "1", "2")
