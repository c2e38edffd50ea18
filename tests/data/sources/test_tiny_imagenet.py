"""The official layout of Tiny ImageNet, made by hand."""

import shutil

import pytest

from coun.data import RowTable, Split, load, load_recorded

COLOURS = {"n03": 30, "n01": 10, "n02": 20}


@pytest.fixture
def root(tmp_path, encode):
    """Writes three classes of two 64x64 training images, and four test images, by colour."""
    root = tmp_path / "tiny-imagenet-200"
    for wnid, colour in COLOURS.items():
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("ignored")
        for i in range(2):
            image = encode((colour + i,) * 3, size=(64, 64), format="JPEG")
            (folder / f"{wnid}_{i}.JPEG").write_bytes(image)
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for i, wnid in enumerate(["n02", "n03", "n01", "n02"]):
        image = encode(100 + i, mode="L", size=(64, 64), format="JPEG")
        (root / "val" / "images" / f"val_{i}.JPEG").write_bytes(image)
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "wnids.txt").write_text("n03\nn01\nn02\n")
    (root / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane\nn03\tox, Bos\nn99\tother\n")
    return root


def test_the_official_layout(root):
    data = load(f"tiny-imagenet:{root}")
    assert data.shape == (3, 64, 64)
    assert data.classes == ("ox", "crane", "n02")
    # Rows by train folder; labels in the order of wnids.txt.
    assert data.train.images[:, 0, 0, 0].tolist() == [10, 11, 20, 21, 30, 31]
    assert data.train.labels.tolist() == [1, 1, 2, 2, 0, 0]
    assert data.test.images[:, 2, 0, 0].tolist() == [100, 101, 102, 103]
    assert data.test.labels.tolist() == [2, 0, 1, 2]
    assert data.views.padding == 4
    assert data.ids[0] == "train/n01/images/n01_0.JPEG"
    assert data.test.ids[3] == "val/images/val_3.JPEG"


def test_without_lists_folder_names_serve_as_classes(root):
    (root / "wnids.txt").unlink()
    (root / "words.txt").unlink()
    data = load(f"tiny-imagenet:{root}", limit=3)
    assert data.classes == ("n01", "n02", "n03")
    assert data.train.labels.tolist() == [0, 1, 2]


def change(root, name, text):
    path = root / name
    path.write_text(text(path.read_text()))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda r: change(r, "val/val_annotations.txt", lambda t: t.replace("n03", "n07")),
            ("val_annotations.txt line 2", "n07"),
        ),
        (
            lambda r: change(r, "val/val_annotations.txt", lambda t: t.replace("val_0", "val_9")),
            ("val_annotations.txt line 1", "val_9.JPEG"),
        ),
        (
            lambda r: change(r, "val/val_annotations.txt", lambda t: t + t.splitlines()[0]),
            ("val_annotations.txt line 5", "val_0.JPEG"),
        ),
        (
            lambda r: change(r, "val/val_annotations.txt", lambda t: "val_0.JPEG n02"),
            ("val_annotations.txt line 1",),
        ),
        (
            lambda r: change(r, "val/val_annotations.txt", lambda t: t[: t.index("val_3")]),
            ("no line for", "val_3.JPEG"),
        ),
        (
            lambda r: (r / "val/val_annotations.txt").unlink(),
            ("val_annotations.txt", "No such file"),
        ),
        (lambda r: change(r, "wnids.txt", lambda t: t + "n04\n"), ("n04", "no such folder")),
        (lambda r: change(r, "wnids.txt", lambda t: "n01\nn02\n"), ("n03", "not in wnids.txt")),
        (lambda r: (r / "train/n01/images/a.txt").write_text("x"), ("a.txt", "not an image file")),
        (
            lambda r: (r / "train/n01/images/n01_0.JPEG").write_text("x"),
            ("n01_0.JPEG", "not a readable image"),
        ),
        (lambda r: (r / "wnids.txt").write_bytes(b"\xff"), ("wnids.txt", "utf-8")),
    ],
)
def test_damaged_trees_are_refused(damage, words, root, refused):
    damage(root)
    with refused(root, *words):
        load(f"tiny-imagenet:{root}")


def test_it_opens_again_when_a_class_and_test_images_are_deleted(root):
    whole = load(f"tiny-imagenet:{root}")
    table = RowTable.of(whole, Split.by_class(whole, "ox"))
    shutil.rmtree(root / "train" / "n03")
    (root / "val" / "images" / "val_1.JPEG").unlink()
    data, missing = load_recorded(table, f"tiny-imagenet:{root}")
    assert data.classes == whole.classes
    assert missing.tolist() == [4, 5]
    assert data.test.ids == tuple(f"val/images/val_{i}.JPEG" for i in (0, 2, 3))


def test_an_annotation_cannot_name_a_file_elsewhere(root, tmp_path, encode, refused):
    (tmp_path / "x.JPEG").write_bytes(encode(1, size=(64, 64), format="JPEG"))
    change(root, "val/val_annotations.txt", lambda t: t.replace("val_0.", "../../../x."))
    with refused("line 1", "x.JPEG"):
        load(f"tiny-imagenet:{root}")
