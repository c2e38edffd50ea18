import pytest
import torch

from coun.data import read_index


@pytest.fixture
def write(tmp_path):
    def make(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.txt", "3 1\n4,1\t5\r\n", [3, 1, 4, 1, 5]),
        ("a.txt", "# all of them\n7 # the seventh\n\n8,\n", [7, 8]),
        ("a.txt", "\ufeff9\n+10\n-0", [9, 10, 0]),
        ("a", "0007", [7]),
        ("a.json", "[3, 1, 4]", [3, 1, 4]),
        ("a.json", '{"indices": [5]}', [5]),
        ("a.json", '{"index": [6], "seed": 1}', [6]),
        ("A.JSON", '{"forget": [7]}', [7]),
        ("a.csv", "3\n1\n", [3, 1]),
        ("a.csv", "3,cat\n1,dog\n", [3, 1]),
        ("a.csv", "name,Index\ncat,3\n\n'dog, the',1\n".replace("'", '"'), [3, 1]),
        ("a.csv", "id,sample_id\n9,3\n8,1\n", [3, 1]),
        ("a.csv", "row\r\n2\r\n", [2]),
    ],
)
def test_every_spelling_is_read(name, text, rows, write):
    found = read_index(write(name, text))
    assert found.tolist() == rows
    assert found.dtype == torch.int64


def test_the_largest_number_is_read(write):
    assert read_index(write("a.txt", str(2**63 - 1))).tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 2\n3 x7\n", ("line 2", "'x7'")),
        ("a.txt", "1.0", ("line 1", "'1.0'")),
        ("a.txt", "1_000", ("'1_000'",)),
        ("a.txt", "\u0663", ("line 1",)),
        ("a.txt", "5\n-3", ("line 2", "-3", "0 or more")),
        ("a.txt", str(2**63), ("line 1", "0 or more")),
        ("a.txt", "9" * 5000, ("line 1", "0 or more")),
        ("a.txt", "", ("names no row",)),
        ("a.txt", "# nothing\n", ("names no row",)),
        ("a.txt", b"1 2 \xff", ("UTF-8", "byte 4")),
        ("a.json", "[1, 2", ("line 1", "JSON")),
        ("a.json", "[1,\n2,,]", ("line 2", "JSON")),
        ("a.json", "[" * 100_000, ("JSON",)),
        ("a.json", "[]", ("names no row",)),
        ("a.json", "[1, true]", ("item 2", "true")),
        ("a.json", "[1, 2.0]", ("item 2", "2.0")),
        ("a.json", '[1, "2"]', ("item 2",)),
        ("a.json", "[1, [2]]", ("item 2", "[2]")),
        ("a.json", "[-1]", ("item 1", "-1")),
        ("a.json", '{"rows": [1]}', ("indices, index, forget",)),
        ("a.json", "7", ("list",)),
        ("a.csv", "forgotten\n3\n", ("line 1", "'forgotten'", "index, idx")),
        ("a.csv", "x7\n3\n", ("line 1", "'x7'")),
        ("a.csv", "index\n3\ncat\n", ("line 3", "'cat'")),
        ("a.csv", "name,index\ncat,3\ndog\n", ("line 3", "cell 2")),
        ("a.csv", "index\n", ("names no row",)),
        ("a.csv", "3\n-1\n", ("line 2", "-1")),
    ],
)
def test_what_is_no_row_number_is_refused(name, text, words, write, refused):
    path = write(name, text)
    with refused(path, *words):
        read_index(path)


def test_missing_files_and_folders_are_refused(tmp_path, refused):
    with refused(tmp_path / "none.txt", "No such file"):
        read_index(tmp_path / "none.txt")
    with refused(tmp_path, "directory"):
        read_index(str(tmp_path))
