"""A list of ids forgets the rows that are meant, or it is refused."""

import csv
import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coun
from coun.data import read_ids, read_index
from coun.data.requests import Listed
from coun.errors import CounError

COUNT = 90
SHARED = [10 + row // 3 for row in range(COUNT)]  # three rows of each customer
COUNTED = [row + 1 for row in range(COUNT)]  # from 1, as many tables count their rows
OTHERS = {"size": [row * 0.37 % 1 for row in range(COUNT)], "label": ["yes", "no", "no"] * 30}
NAMES = [
    *("CustomerID", "customer-id", "customer.id", "id_customer", "customers", "Customer No."),
    *("customer_num", "patient_nbr", "subject#", "custid", "SK_ID_CURR", "case_number"),
    *("employee", "InvoiceNo", "Kundennummer", "index", "Key"),
]


def csv_of(tmp_path, **columns):
    with open(tmp_path / "t.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [[*columns, *OTHERS], *zip(*columns.values(), *OTHERS.values(), strict=True)]
        )
    return tmp_path / "t.csv"


def parquet_of(tmp_path, **columns):
    pq.write_table(pa.table({**columns, **OTHERS}), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def forgotten(path, ids, source="table", **options):
    """The numbers of the forgotten rows, of both parts; None where the list is refused."""
    data = coun.load(f"{source}:{path}", **options)
    try:
        return sorted(Listed.of_ids(ids).resolve(data)[0].tolist())
    except CounError as error:
        message = str(error)
    assert re.fullmatch("id '.*' may be a row number or a value of .* --forget-index .*", message)
    return None


@pytest.mark.parametrize("name", NAMES)
def test_names_that_several_rows_share_are_not_row_numbers(tmp_path, name):
    path = csv_of(tmp_path, **{name: SHARED})
    assert forgotten(path, ["12"]) is None
    assert forgotten(path, ["12", "60", "61", "62", "63"]) is None  # most are no customers here


@pytest.mark.parametrize(
    "name", ["PassengerId", "StudentID", "customerId", "Serial No.", "sl_no", "RowNumber", "n"]
)
def test_a_column_that_counts_the_rows_otherwise_names_them_or_nothing_is_forgotten(tmp_path, name):
    path = csv_of(tmp_path, **{name: COUNTED})
    data = coun.load(f"table:{path}")
    numbers = [number for number in data.train.numbers.tolist() if number][:4]
    meant = [COUNTED.index(number) for number in numbers if COUNTED.index(number) in numbers]
    rows = forgotten(path, [str(COUNTED[number]) for number in numbers])
    assert rows in (None, numbers)
    assert (rows is None) == (name in ("Serial No.", "sl_no", "RowNumber", "n"))
    assert len(meant) < 4  # so that row numbers would have been others


@pytest.mark.parametrize(
    "column",
    [
        pa.array(SHARED, pa.uint64()),
        pa.array(np.array(SHARED, np.float16)),
        pa.array(np.array([*SHARED[:-1], np.nan])),
        pa.array([*map(float, SHARED[:-1]), None]),
        pa.array(map(Decimal, SHARED), pa.decimal128(10, 2)),
        pa.array(SHARED).dictionary_encode(),
        pa.array([f"{value:05d}" for value in SHARED]),
        pa.array([f" {value}" for value in SHARED]),
        pa.array([f"{value}.0" for value in SHARED]),
        pa.array([str(value).encode() for value in SHARED]),
        pa.array([str(value) if value % 5 else f"A{value}" for value in SHARED], pa.large_string()),
    ],
    ids=lambda column: str(column.type),
)
def test_the_type_of_the_column_does_not_matter(tmp_path, column):
    path = parquet_of(tmp_path, customer=column)
    assert forgotten(path, ["12"], drop="customer") is None


def test_lists_of_row_numbers_pass_where_no_column_may_be_meant(tmp_path):
    columns = {
        "member": [row % 2 == 0 for row in range(COUNT)],
        "account": [row % 2 for row in range(COUNT)],  # whether there is one
        "age": [20 + row % 40 for row in range(COUNT)],
        "education-num": [row % 16 for row in range(COUNT)],
        "income": [1000 + 7 * row for row in range(COUNT)],
        "counter": list(range(COUNT)),  # the same as the row numbers
    }
    path = csv_of(tmp_path, **columns)
    data = coun.load(f"table:{path}")
    assert data.id_columns.possible == {}
    numbers = data.train.numbers[:9].tolist()
    assert forgotten(path, list(map(str, numbers))) == numbers


def test_customers_of_the_test_part_count_as_well(tmp_path):
    lines = [f"{SHARED[row]},{OTHERS['size'][row]},{OTHERS['label'][row]}" for row in range(COUNT)]
    for part, rows in (("train", lines[:60]), ("test", lines[60:])):
        (tmp_path / f"{part}.csv").write_text("\n".join(["customer,size,label", *rows]))
    assert forgotten(tmp_path, ["35"]) is None  # row 35 is that of customer 21
    assert forgotten(tmp_path, ["41"]) == [41]  # no customer


def test_test_ids_are_not_row_numbers_either(tmp_path):
    path = csv_of(tmp_path, customer=SHARED)
    with pytest.raises(CounError, match="test id '12' may be a row number or .* 'customer'"):
        coun.load(f"table:{path}", test_ids=["12", "13"])
    held_out = coun.load(f"table:{path}", test_ids=["60", "61", "62", "72", "75"], drop="customer")
    assert held_out.test.numbers.tolist() == [60, 61, 62, 72, 75]
    with pytest.raises(CounError, match="all|empty|no row"):
        coun.load(f"table:{path}", test_ids=[])


@pytest.mark.parametrize(
    "name", ["customer", "customer_train", "train_customer", "customer_ids_train", "groups"]
)
def test_names_in_an_npz_file_are_not_row_numbers(tmp_path, name):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((COUNT, 5)), "x_test": rng.random((9, 5))}
    arrays = {key: array.astype(np.float32) for key, array in arrays.items()}
    labels = {"y_train": np.arange(COUNT) % 2, "y_test": np.arange(9) % 2}
    np.savez(tmp_path / "a.npz", **arrays, **labels, **{name: SHARED})
    assert forgotten(tmp_path / "a.npz", ["12", "80"], "npz") is None
    assert forgotten(tmp_path / "a.npz", ["80"], "npz") == [80]
    ids = {"ids_train": [f"r{row}" for row in range(COUNT)], "ids_test": list("abcdefghi")}
    np.savez(tmp_path / "b.npz", **arrays, **labels, **{name: SHARED}, **ids)
    assert forgotten(tmp_path / "b.npz", ["r12"], "npz") == [12]


def test_a_header_says_which_names_a_list_holds(tmp_path):
    """Numbers of visits and of customers overlap, so that values cannot tell."""
    path = csv_of(tmp_path, visit_id=COUNTED, customer=SHARED)
    data = coun.load(f"table:{path}")

    def listed(text, *, read=read_ids, **options):
        (tmp_path / "list.csv").write_text(text)
        return list(map(str, read(tmp_path / "list.csv", data=data, **options)))

    for text in ("visit_id\n12\n", "12\n", "visit_id,customer_id\n12,99\n", "id,why\n12,moved\n"):
        assert listed(text) == ["12"]
    for text, options in [
        ("customer\n12\n", {}),
        ("customer,why\n12,moved\n", {"column": "customer"}),
        ("visit_id,customer\n12,99\n", {"column": "customer"}),
    ]:
        with pytest.raises(CounError, match="'customer' is called as .* whose ids are .*visit_id"):
            listed(text, **options)
    with pytest.raises(CounError, match="'visit_id' is called as .* differ from the row numbers"):
        listed("visit_id\n12\n", read=read_index, column="visit_id")


def test_an_index_of_pandas_that_names_the_rows_is_no_row_number(tmp_path):
    path = csv_of(tmp_path, index=COUNTED[::-1])
    data = coun.load(f"table:{path}")
    (tmp_path / "list.csv").write_text("index\n12\n")
    with pytest.raises(CounError, match="'index' is called as a column of the data whose values"):
        read_index(tmp_path / "list.csv", data=data)
    assert read_ids(tmp_path / "list.csv", data=data) == ["12"]


def test_zeros_in_front_do_not_propose_the_row_of_that_number(tmp_path):
    path = csv_of(tmp_path, customer=[f"{value:04d}" for value in SHARED])
    assert forgotten(path, ["0012"]) is None
