"""Folders of images: which file is which row, what is held out, and what is refused."""

import os
import shutil

import numpy as np
import pytest
import torch
from data.trees import BLUE, RED, flat

import coun
from coun.data import image_stack as decoding
from coun.data import load

PARTS = {
    "train/b/2.png": BLUE,
    "train/b/10.png": (0, 0, 10),
    "train/a/x.png": RED,
    "test/a/x.png": (1, 2, 3),
    "test/b/x.png": (4, 5, 6),
}


@pytest.mark.parametrize("test_folder", ["test", "val", "valid", "validation"])
def test_train_and_test_folders(test_folder, tree):
    root = tree({name.replace("test/", f"{test_folder}/"): x for name, x in PARTS.items()})
    data = load(f"folder:{root}")
    assert data.classes == ("a", "b")
    assert data.train.labels.tolist() == [0, 1, 1]
    # Sorted by class folder, then by file name: 10.png before 2.png.
    assert data.train.images[:, :, 0, 0].tolist() == [[*RED], [0, 0, 10], [*BLUE]]
    assert data.test.images[:, :, 0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert data.source == f"folder:{root}"


def test_class_folders_alone_give_a_fixed_stratified_fifth(tree):
    root = tree(flat(10))
    data = load(f"folder:{root}")
    assert data.train.labels.bincount().tolist() == [8, 8, 8]
    assert data.test.labels.bincount().tolist() == [2, 2, 2]
    pixels = torch.cat([data.train.images, data.test.images])[:, :2, 0, 0]
    assert len(pixels.unique(dim=0)) == 30
    assert load(f"folder:{root}").fingerprint == data.fingerprint
    # Rows stay in order of class, then name.
    order = [(int(x[1]), int(x[0])) for x in data.train.images[:, :2, 0, 0]]
    assert order == sorted(order)


def test_numbers_and_ids_are_those_of_the_sorted_list_of_all_files(tree):
    """Also of the rows that are held out: line N of the list is row N of either part."""
    root = tree(flat(10))
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    data = load(f"folder:{root}")
    for part in (data.train, data.test):
        for image, number, name in zip(part.images, part.numbers, part.ids, strict=True):
            assert files[number] == name
            assert f"{chr(image[1, 0, 0])}/{image[0, 0, 0]:03}.png" == name
    numbers = torch.cat([data.train.numbers, data.test.numbers])
    assert numbers.sort().values.tolist() == list(range(30))
    assert data.one_numbering


@pytest.mark.parametrize("limit", [None, 9])
def test_records_of_version_0_1_mean_the_same_files(limit, tree):
    """It numbered the training rows as if the files that are held out did not exist."""
    root = tree(flat(10))
    whole, data = load(f"folder:{root}"), load(f"folder:{root}", limit=limit)
    positions = torch.tensor([whole.ids.index(name) for name in data.ids])
    forget, retain = positions[2:5], torch.cat([positions[:2], positions[5:]])
    record = {
        "scenario": {"kind": "listed"},
        "seed": 0,
        "forget_class": None,
        "sha256": coun.Split(forget, retain).digest,
        "forget": forget.tolist(),
    }
    split = coun.Split.from_json(data, record)
    assert split.forget.tolist() == data.train.numbers[2:5].tolist()
    assert [whole.ids[row] for row in forget] == list(data.ids[2:5])
    again = coun.Split.from_json(data, split.to_json())
    assert torch.equal(again.forget, split.forget)


def test_with_both_folders_each_part_has_its_numbers_and_ids_tell_them_apart(tree):
    data = load(f"folder:{tree(PARTS)}")
    assert data.ids == ("train/a/x.png", "train/b/10.png", "train/b/2.png")
    assert data.test.ids == ("test/a/x.png", "test/b/x.png")
    assert data.train.numbers.tolist() == [0, 1, 2]
    assert data.test.numbers.tolist() == [0, 1]
    assert data.notes == ()


def test_an_id_stays_when_other_files_are_deleted(tree):
    root = tree(flat(10))
    before = load(f"folder:{root}")
    pixels = dict(zip(before.ids, before.train.images, strict=True))
    (root / before.ids[0]).unlink()
    after = load(f"folder:{root}")
    shared = [name for name in after.ids if name in pixels]
    assert len(shared) > 15
    for name in shared:
        row = after.ids.index(name)
        assert torch.equal(after.train.images[row], pixels[name])


def test_the_rows_that_are_held_out_by_default_never_change(tree):
    """Numbers that were published with such folders depend on this choice."""
    data = load(f"folder:{tree(flat(10))}")
    rng = np.random.default_rng(0)
    expected = [rng.permutation(np.arange(10 * c, 10 * c + 10))[:2] for c in range(3)]
    assert data.test.numbers.tolist() == np.sort(np.concatenate(expected)).tolist()


def test_a_note_describes_the_held_out_part_which_can_be_chosen(
    tree, tmp_path, refused, monkeypatch
):
    root = tree(flat(10))
    data = load(f"folder:{root}")
    (note,) = data.notes
    assert "6 of 30 rows are held out for testing" in note
    assert "a stratified share of 0.2 drawn with seed 0" in note
    half = load(f"folder:{root}", test_share=0.5, test_seed=1)
    assert half.test.labels.bincount().tolist() == [5, 5, 5]
    assert half.origin == {"test_share": 0.5, "test_seed": 1}
    assert load(half.source, **half.origin).fingerprint == half.fingerprint
    other = load(f"folder:{root}", test_seed=1)
    assert other.test.numbers.tolist() != data.test.numbers.tolist()

    names = ["c/001.png", "a/007.png"]
    chosen = load(f"folder:{root}", test_ids=names)
    assert chosen.test.ids == ("a/007.png", "c/001.png")
    file = tmp_path / "held.txt"
    file.write_bytes("\ufeffc/001.png\r\n\r\na/007.png\r\n".encode())
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in (file, str(file), "~/held.txt"):
        listed = load(f"folder:{root}", test_ids=spelling)
        assert listed.fingerprint == chosen.fingerprint
    monkeypatch.chdir(tmp_path)
    near = load(f"folder:{root}", test_ids="held.txt")
    monkeypatch.chdir("/")
    assert load(near.source, **near.origin).fingerprint == chosen.fingerprint

    with refused("'a/07.png' names no row", "did you mean 'a/007.png'"):
        load(f"folder:{root}", test_ids=["a/07.png"])
    with refused("--test-share is 1.5", "between 0 and 1"):
        load(f"folder:{root}", test_share=1.5)
    with refused("--test-ids cannot be combined"):
        load(f"folder:{root}", test_share=0.5, test_ids=names)
    with refused("class 'a'", "no training row"):
        load(f"folder:{root}", test_ids=[f"a/{i:03}.png" for i in range(10)])
    with refused("cannot read test ids /nowhere"):
        load(f"folder:{root}", test_ids="/nowhere")


def test_a_class_of_one_image_cannot_be_split(tree, refused):
    with refused("class 'd' has 1 row", "2 or more"):
        load(f"folder:{tree(flat(5) | {'d/x.png': RED})}")


@pytest.mark.parametrize("name", [b"two\nlines.png", b"caf\xe9.png"])
def test_file_names_that_cannot_be_ids_are_refused(name, tree, encode, refused):
    root = tree(flat(5))
    with open(os.path.join(os.fsencode(root), b"a", name), "wb") as file:
        file.write(encode(RED))
    with refused("file name 'a/", "one line of UTF-8"):
        load(f"folder:{root}")


def test_a_train_folder_alone_needs_a_choice(tree, refused):
    root = tree({f"train/{name}": colour for name, colour in flat(10).items()})
    with refused("train/", "test, val", "--test-share"):
        load(f"folder:{root}")
    data = load(f"folder:{root}", test_share=0.1)
    assert len(data.test) == 3
    assert data.ids[0].startswith("train/a/")
    tree({"test/a/x.png": RED})
    with refused("test is the test part already", "--test-share"):
        load(f"folder:{root}", test_share=0.1)


def test_a_limit_decodes_only_the_rows_it_keeps(tree, monkeypatch):
    root = tree(flat(20))
    whole = load(f"folder:{root}")
    decoded = []
    decode = decoding.decode_with_peak
    monkeypatch.setattr(decoding, "decode_with_peak", lambda *a: decoded.append(a) or decode(*a))
    cut = load(f"folder:{root}", limit=6)
    assert len(decoded) == 6 + 12
    assert cut.train.labels.bincount().tolist() == [2, 2, 2]
    rows = torch.isin(whole.train.numbers, cut.train.numbers)
    assert torch.equal(cut.train.images, whole.train.images[rows])
    assert torch.equal(cut.test.images, whole.test.images)
    assert [whole.ids[row] for row in rows.nonzero()] == list(cut.ids)
    assert cut.train.numbers.max() > 6


def test_hidden_files_are_ignored(tree):
    junk = dict.fromkeys(
        ("a/.DS_Store", "a/Thumbs.db", "__MACOSX/a/._x.png", ".git/x", "README.txt"), "junk"
    )
    assert load(f"folder:{tree(flat(5) | junk)}").fingerprint == (
        load(f"folder:{tree(flat(5))}").fingerprint
    )


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"a/notes.txt": "x"}, ("a/notes.txt", "not an image file", ".png")),
        ({"a/deep/x.png": RED}, ("a/deep", "is a folder; expected image files")),
        ({"stray.png": RED}, ("stray.png", "in no class folder")),
        ({"a/bad.png": "a text"}, ("a/bad.png", "not a readable image")),
        ({"a/bad.png": b""}, ("a/bad.png", "is an empty file; expected an image")),
        ({"d/.keep": ""}, ("d is empty",)),
    ],
)
def test_what_does_not_belong_is_refused(extra, words, tree, refused):
    root = tree(flat(5) | extra)
    with refused(root, *words):
        load(f"folder:{root}")


def test_links_that_leave_the_folder_are_refused(tree, tmp_path, encode, refused):
    outside = tmp_path / "outside.png"
    outside.write_bytes(encode(RED))
    root = tree(flat(5))
    (root / "a" / "again.png").symlink_to(root / "b" / "000.png")
    assert len(load(f"folder:{root}").train) == 13
    (root / "a" / "link.png").symlink_to(outside)
    with refused(root / "a" / "link.png", "link out of"):
        load(f"folder:{root}")
    (root / "a" / "link.png").unlink()
    (tmp_path / "elsewhere").mkdir()
    (root / "d").symlink_to(tmp_path / "elsewhere")
    with refused(root / "d", "link out of"):
        load(f"folder:{root}")


def test_links_may_be_followed(tree, tmp_path, encode):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(encode(RED))
    root = tree(flat(5))
    (root / "a" / "link.png").symlink_to(outside / "x.png")
    (root / "d").symlink_to(outside)
    (outside / "y.png").write_bytes(encode(BLUE))
    data = load(f"folder:{root}", follow_links=True)
    assert data.classes == ("a", "b", "c", "d")
    assert "a/link.png" in (*data.ids, *data.test.ids)
    assert load(data.source, **data.origin).fingerprint == data.fingerprint


def test_a_source_that_lost_rows_opens_as_a_part(tree, refused):
    """Files of a class are deleted, then all of them, then its folder."""
    root = tree(flat(5))
    split = coun.Split.by_class(load(f"folder:{root}"), "b")
    table = coun.data.RowTable.of(load(f"folder:{root}"), split)
    for damage in (
        lambda: [(root / f"b/00{i}.png").unlink() for i in range(4)],
        lambda: (root / "b/004.png").unlink(),
        lambda: (root / "b").rmdir(),
    ):
        damage()
        data, missing = coun.data.load_recorded(table, f"folder:{root}")
        assert data.classes == ("a", "b", "c")
        assert set(missing.tolist()) <= set(split.forget.tolist())
        kept = torch.isin(data.train.numbers, split.retain)
        assert int(kept.sum()) == len(split.retain)
        names = [f"{c}/{i:03}.png" for c in "abc" for i in range(5)]
        assert [names[n] for n in data.train.numbers] == list(data.ids)
    with refused("class folder", "is empty"):
        (root / "b").mkdir()
        load(f"folder:{root}")
    root = tree(PARTS)
    table = coun.data.RowTable.of(data := load(f"folder:{root}"), coun.Split.by_class(data, "b"))
    shutil.rmtree(root / "train" / "b")
    data, missing = coun.data.load_recorded(table, f"folder:{root}")
    assert missing.tolist() == [1, 2]
    assert data.test.labels.tolist() == [0, 1]


def test_parts_that_do_not_fit_are_refused(tree, tmp_path, refused):
    root = tree({name: x for name, x in PARTS.items() if name.startswith("train")})
    with refused("train/", "test, val"):
        load(f"folder:{root}")
    root = tree(PARTS | {"test/c/x.png": RED})
    with refused("test/c", "train/ does not have"):
        load(f"folder:{root}")
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / "empty", "no class folder"):
        load(f"folder:{tmp_path / 'empty'}")


def test_a_folder_that_may_not_be_read_is_refused(tree, refused, monkeypatch):
    # Root reads everything, so the refusal of the system is played.
    def denied(path):
        raise PermissionError(13, "Permission denied")

    root = tree(flat(5))
    monkeypatch.setattr("os.scandir", denied)
    with refused(root, "Permission denied"):
        load(f"folder:{root}")


def test_classes_that_are_numbers_are_in_the_order_of_text(tree):
    files = {f"{part}/{c}/1.png": RED for part in ("train", "test") for c in ("1", "2", "10")}
    data = load(f"folder:{tree(files)}")
    assert data.classes == ("1", "10", "2")
    assert data.notes[-1].endswith("'10' comes before '2'")
