"""Binary files of CIFAR-10 and CIFAR-100, made by hand."""

import numpy as np
import pytest

from coun.data import load

RNG = np.random.default_rng(0)
NAMES_10 = [f"ten {i}" for i in range(10)]
NAMES_100 = [f"hundred {i}" for i in range(100)]


def record(label_bytes, images):
    return b"".join(
        bytes(label) + x.tobytes() for label, x in zip(label_bytes, images, strict=True)
    )


@pytest.fixture
def ten(tmp_path):
    """Writes a release with two images per file, labels 0..9 in order, and test labels 3 and 9."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    images = RNG.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    for i in range(5):
        labels = [[2 * i], [2 * i + 1]]
        pair = images[2 * i : 2 * i + 2]
        (folder / f"data_batch_{i + 1}.bin").write_bytes(record(labels, pair))
    (folder / "test_batch.bin").write_bytes(record([[3], [9]], images[10:]))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES_10) + "\n\n")
    return folder, images


@pytest.fixture
def hundred(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    images = RNG.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    (folder / "train.bin").write_bytes(record([[1, 99], [2, 0], [3, 42]], images[:3]))
    (folder / "test.bin").write_bytes(record([[3, 42], [2, 99]], images[3:]))
    (folder / "fine_label_names.txt").write_text("\n".join(NAMES_100))
    return folder, images


def test_cifar_10(ten):
    folder, images = ten
    data = load(f"cifar-binary:{folder}")
    assert np.array_equal(data.train.images.numpy(), images[:10])
    assert np.array_equal(data.test.images.numpy(), images[10:])
    assert data.train.labels.tolist() == list(range(10))
    assert data.test.labels.tolist() == [3, 9]
    assert data.classes == tuple(NAMES_10)
    assert (data.views.letters, data.views.padding) == ("CHN", 4)
    assert load(f"cifar-binary:{folder.parent}").fingerprint == data.fingerprint


def test_cifar_100_has_its_fine_labels(hundred):
    folder, images = hundred
    for path in (folder, folder.parent):
        data = load(f"cifar-binary:{path}")
        assert data.train.labels.tolist() == [99, 0, 42]
        assert data.test.labels.tolist() == [42, 99]
        assert np.array_equal(data.train.images.numpy(), images[:3])
        assert data.classes == tuple(NAMES_100)


def test_two_releases_in_one_folder_are_refused(ten, hundred, refused):
    with refused("more than one", "cifar-10-batches-bin", "cifar-100-binary"):
        load(f"cifar-binary:{ten[0].parent}")


@pytest.mark.parametrize("name", ["data_batch_4.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_refused(name, ten, refused):
    (ten[0] / name).unlink()
    with refused(ten[0] / name, "No such file"):
        load(f"cifar-binary:{ten[0]}")


def test_a_truncated_file_is_refused(ten, refused):
    file = ten[0] / "data_batch_2.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with refused(file, "6145 bytes", "multiple of 3073"):
        load(f"cifar-binary:{ten[0]}")
    file.write_bytes(b"")
    with refused(file, "0 bytes"):
        load(f"cifar-binary:{ten[0]}")


def test_labels_out_of_range_and_too_few_names_are_refused(ten, refused):
    file = ten[0] / "data_batch_2.bin"
    file.write_bytes(record([[2], [10]], ten[1][:2]))
    with refused(file, "record 1", "label 10", "0..9"):
        load(f"cifar-binary:{ten[0]}")
    (ten[0] / "batches.meta.txt").write_text("cat\ndog\n")
    with refused("batches.meta.txt", "2 names", "10"):
        load(f"cifar-binary:{ten[0]}")
