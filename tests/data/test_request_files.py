import gzip

import pytest
import torch

from coun.data import read_ids, read_index
from coun.errors import CounError


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
        ("a.txt", "3\n1\n\n5\r\n", [3, 1, 5]),
        ("a.txt", "# all of them\n7 # the seventh\n\n8\n", [7, 8]),
        ("a.txt", "\ufeff9\n+10\n-0", [9, 10, 0]),
        ("a.json", "[3, 1, 4]", [3, 1, 4]),
        ("a.json", '{"indices": [5]}', [5]),
        ("a.json", '{"index": [6], "seed": 1}', [6]),
        ("A.JSON", '{"forget": [7]}', [7]),
        ("a.csv", "3\n1\n", [3, 1]),
        ("a.csv", "name,Index\ncat,3\n\n'dog, the',1\n".replace("'", '"'), [3, 1]),
        ("a.csv", "row\r\n2\r\n", [2]),
        ("a.tsv", "row\tlabel\n2\t7\n", [2]),
    ],
)
def test_every_spelling_is_read(name, text, rows, write):
    computed = read_index(write(name, text))
    assert computed.tolist() == rows
    assert computed.dtype == torch.int64


def test_the_largest_number_is_read(write):
    assert read_index(write("a.txt", str(2**63 - 1))).tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1\nx7\n2\ny8\n", ("line 2", "'x7'", "also line 4")),
        ("a.txt", "17 3\n42 5\n", ("line 1", "'17 3'", "one row number per line")),
        ("a.txt", "1,234\n", ("line 1", "'1,234'", "one row number per line")),
        ("a.txt", "8,\n", ("line 1", "'8,'")),
        ("a.txt", "1.0", ("line 1", "'1.0'")),
        ("a.txt", "1_000", ("'1_000'",)),
        ("a.txt", "\u0663", ("line 1",)),
        ("a.txt", "5\n-3", ("line 2", "-3", "0 or more")),
        ("a.txt", str(2**63), ("line 1", "0 or more")),
        ("a.txt", "9" * 5000, ("line 1", "0 or more")),
        ("a.txt", "", ("names no row",)),
        ("a.txt", "# nothing\n", ("names no row",)),
        ("a.txt", b"1\n2\n\xff", ("UTF-8", "byte 4")),
        ("a.txt", "1\n2".encode("utf-16"), ("UTF-8",)),
        ("a.txt", "1\n2".encode("utf-16-le"), ("UTF-8",)),
        ("a.json", "[1, 2", ("line 1", "JSON")),
        ("a.json", "[1,\n2,,]", ("line 2", "JSON")),
        ("a.json", "[" * 100_000, ("JSON",)),
        ("a.json", "[]", ("names no row",)),
        ("a.json", "[1, true]", ("item 2", "true")),
        ("a.json", "[1, 2.0]", ("item 2", "2.0")),
        ("a.json", '[1, "2"]', ("item 2",)),
        ("a.json", "[1, [2]]", ("item 2", "[2]")),
        ("a.json", "[-1]", ("item 1", "-1")),
        ("a.json", '{"lines": [1]}', ("'lines'", "none of them", "--id-column")),
        ("a.json", '{"index": [1], "rows": [2]}', ("'index', 'rows'", "2 of them")),
        ("a.json", "7", ("list",)),
        ("a.csv", "forgotten\n3\n", ("'forgotten'", "none of them", "--id-column")),
        ("a.csv", "x7\n3\n", ("'x7'", "none of them")),
        ("a.csv", "0,17\n1,42\n", ("'0', '17'", "none of them", "first line")),
        ("a.csv", "index,id\n0,17\n1,42\n", ("'index', 'id'", "2 of them", "--id-column")),
        ("a.csv", "customer_id,label\n3,1\n", ("'customer_id' holds ids", "--forget-ids")),
        ("a.csv", "id\n3\n", ("'id' holds ids", "--forget-ids", "--id-column id")),
        ("a.csv", "index\n3\ncat\n", ("line 3", "'cat'")),
        ("a.csv", "name,index\ncat,3\ndog\n", ("line 3", "1 cells", "expected 2")),
        ("a.csv", "index\n", ("names no row",)),
        ("a.csv", "3\n-1\n", ("line 2", "-1")),
        # pandas.Series([17, 42]).to_csv("a.csv", index=False)
        ("a.csv", "0\n17\n42\n", ("line 1", "'0' can be row 0, or the header that pandas")),
        ("a.tsv", "0\n17\n", ("line 1", "name the column")),
        ("a", "7\n007\n", ("line 2", "'007' begins with 0", "--forget-ids")),
        ("a.csv", "row;name\n17;ann\n", ("semicolons", "expected commas in a .csv")),
        ("a.csv", "17;\n42;\n", ("semicolons",)),
        ("a.csv", "sep=;\nrow;name\n17;ann\n", ("semicolons",)),
        ("a.csv", "row\tname\n17\tann\n", ("tabs", "expected commas")),
        ("a.tsv", "row,name\n17,ann\n", ("commas", "expected tabs in a .tsv")),
    ],
)
def test_a_token_that_is_not_a_row_number_is_refused(name, text, words, write, refused):
    path = write(name, text)
    with refused(path, *words):
        read_index(path)


def test_missing_files_and_folders_are_refused(tmp_path, refused):
    with refused(tmp_path / "none.txt", "No such file"):
        read_index(tmp_path / "none.txt")
    with refused(tmp_path, "is a folder"):
        read_index(str(tmp_path))


def test_a_named_column_is_read(write, refused):
    path = write("a.csv", "index,id\n0,17\n1,42\n")
    assert read_index(path, "id").tolist() == [17, 42]
    assert read_ids(path, "index") == ["0", "1"]
    with refused(path, "column 'ids'", "did you mean 'id'"):
        read_ids(path, "ids")
    assert read_index(write("a.json", '{"mine": [3]}'), "mine").tolist() == [3]
    with refused("no columns"):
        read_index(write("a.txt", "3"), "id")
    with refused("several columns 'id'"):
        read_ids(write("b.csv", "id,id\n1,2\n"), "id")


@pytest.mark.parametrize(
    ("name", "text", "ids"),
    [
        ("a.txt", "cat/7.png\r\n# a comment\na b, c #2.png \n", ["cat/7.png", "a b, c #2.png"]),
        ("a.txt", "\ufeffx\n", ["x"]),
        ("a.json", '["cat/7.png", 1001]', ["cat/7.png", "1001"]),
        ("a.json", '{"ids": ["x"], "reason": "asked"}', ["x"]),
        ("a.csv", "cat/7.png\ndog/3.png\n", ["cat/7.png", "dog/3.png"]),
        ("a.csv", "customer_id,since\n1001,2020\n17,2021\n", ["1001", "17"]),
        ("a.csv", ',file\n0,"a, b.png"\n', ["a, b.png"]),
        ("a.csv", "n, id\n1, x \n", [" x "]),
    ],
)  # fmt: skip
def test_ids_are_read(name, text, ids, write):
    assert read_ids(write(name, text)) == ids


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "id,customer_id\n1,2\n", ("'id', 'customer_id'", "2 of them")),
        ("a.csv", "row\n3\n", ("'row' holds row numbers", "--forget-index")),
        ("a.csv", "a,b\n1,2\n", ("none of them",)),
        ("a.csv", "id,x\n,2\n", ("line 2", "empty")),
        ("a.json", '["a", 1.5]', ("item 2", "1.5")),
        ("a.json", "[true]", ("item 1", "true")),
        ("a.txt", "", ("names no row",)),
        ("a.txt", "\xe4".encode("latin-1"), ("UTF-8",)),
    ],
)
def test_what_does_not_name_rows_is_refused(name, text, words, write, refused):
    path = write(name, text)
    with refused(path, *words):
        read_ids(path)


def test_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ids.txt").write_text("1\n")
    assert read_index("~/ids.txt").tolist() == [1]
    assert read_ids("~/ids.txt") == ["1"]


def test_a_name_that_is_twice_in_an_object_is_refused(write, refused):
    with refused("'index' twice"):
        read_index(write("a.json", '{"index": [1], "index": [3]}'))


def test_one_id_as_number_and_text_is_refused(write, refused):
    with refused('1 and "1"'):
        read_ids(write("a.json", '[1, "1"]'))


def test_an_id_is_not_stripped_in_json(write):
    assert read_ids(write("a.json", '[" a"]')) == [" a"]


@pytest.mark.parametrize("first", ["valid_id", "my_id"])
def test_an_id_that_looks_like_a_column_is_no_header(first, write):
    assert read_ids(write("a.csv", f"{first}\nfoo\n")) == [first, "foo"]


@pytest.mark.parametrize(
    ("path", "words"),
    [("~nouser/x", "no such user"), ("a\0b", "null character"), (None, "expected text")],
)
def test_what_is_no_path_is_refused(path, words, refused):
    for read in (read_ids, read_index):
        with refused(words):
            read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("17\n".encode("utf-16"), "encoding UTF-16; save it with the encoding UTF-8"),
        (gzip.compress(b"17\n", mtime=0), "gzip; unpack it first"),
        (b"PK\x03\x04" + bytes(40), "workbook of Excel"),
        (b"PAR1\x15\x04\0\x80", "is a parquet file"),
        (b"\x93NUMPY\x01\x00v\x00", "numpy.savetxt"),
        (b"1\0\n", "not UTF-8 text (byte 1)"),
    ],
)
def test_a_file_of_another_format_is_named(content, words, write, refused):
    for read in (read_ids, read_index):
        with refused(words):
            read(write("list", content))


def test_an_id_may_hold_other_delimiters(write):
    assert read_ids(write("a.csv", "a;b.png\nc.png\n")) == ["a;b.png", "c.png"]


CUSTOMERS = "photo,customer,year\na.png,Ann,2025\nb.png, Ben ,2025\nc.png,Ann,2026\n"


@pytest.mark.parametrize(
    ("where", "photos"),
    [
        ({"customer": ["Ann"]}, ["a.png", "c.png"]),
        ({"customer": ["Ben", "Ann"]}, ["a.png", "b.png", "c.png"]),
        ({"customer": ["Ann"], "year": ["2026"]}, ["c.png"]),
        ({"photo": ["b.png"]}, ["b.png"]),
    ],
)
def test_the_lines_of_one_owner_are_read(where, photos, write):
    assert read_ids(write("a.csv", CUSTOMERS), "photo", where) == photos
    tabs = write("a.tsv", CUSTOMERS.replace(",", "\t"))
    assert read_ids(tabs, "photo", where) == photos


def test_an_owner_that_no_line_has_is_refused(write, refused):
    path = write("a.csv", CUSTOMERS)
    with refused(path, "no line has 'Bem' in column 'customer'", "did you mean 'Ben'"):
        read_ids(path, "photo", {"customer": ["Ann", "Bem"]})
    with refused(path, "unknown column 'owner'", "customer"):
        read_ids(path, "photo", {"owner": ["Ann"]})
    with refused(path, "names no row"):
        read_ids(path, "photo", {"customer": ["Ben"], "year": ["2026"]})
    with refused("a.txt has no columns in which to look for customer", "--where"):
        read_ids(write("a.txt", "a.png"), where={"customer": ["Ann"]})


def test_rows_of_an_owner_who_is_spelled_otherwise_are_left_out_and_named(write, caplog):
    text = "photo,customer,year\na,Zoë Lee,1\nb,zoë  lee,1\nc,ZOË LEE,1\nd,ZOË LEE,2\ne,Zoe Lee,1\n"
    path = write("a.csv", text)
    assert read_ids(path, "photo", {"customer": ["Zoë Lee"], "year": ["1"]}) == ["a"]
    (line,) = caplog.messages
    assert "'customer=zoë  lee' (1 row), 'customer=ZOË LEE' (1 row)" in line
    caplog.clear()
    assert read_ids(path, "photo", {"customer": ["Zoë Lee"]}) == ["a"]
    assert "'customer=ZOË LEE' (2 rows)" in caplog.text
    caplog.clear()
    every = ["Zoë Lee", "zoë  lee", "ZOË LEE"]
    assert read_ids(path, "photo", {"customer": every}) == ["a", "b", "c", "d"]
    assert read_ids(path, "photo", {"customer": ["Zoe Lee"]}) == ["e"]
    assert not caplog.messages


def test_row_numbers_of_one_owner_are_read(write):
    path = write("a.csv", "row,owner\n7,Ann\n3,Ben\n")
    assert read_index(path, where={"owner": ["Ben"]}).tolist() == [3]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.csv", 'id,name\nx,"Ann\ny,Bob\nz,Carl\n', "not CSV"),
        ("a.csv", 'id,name\nx,"Ann\ny,Bob\nz,Carl"\n', "line 2: quotes that are opened here"),
        ("a.csv", 'name,id\n"Ann,x\nBob",y\n', "close in line 3"),
        ("a.tsv", 'id\tname\nx\t"Ann\ny\tBob"\n', "remove stray quotes"),
    ],
)
def test_stray_quotes_that_would_hide_rows_are_refused(tmp_path, file, text, words):
    (tmp_path / file).write_text(text)
    with pytest.raises(CounError, match=words):
        read_ids(tmp_path / file)


def test_a_text_of_several_lines_in_a_cell_is_read(tmp_path):
    text = 'id,note\r\nx,"see mail,\r\nthanks"\r\ny,"a, b and ""c"""\r\nz,\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_ids(tmp_path / "a.csv") == ["x", "y", "z"]
