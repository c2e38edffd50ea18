"""`table:`: CSV and parquet with columns of features."""

import csv
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import coun
from coun.errors import CounError

# Seven numbers and one that is written otherwise, each with a class.
SPELLED = "".join(f"{{0}}{{1}}{'ab'[k % 2]}\n{k}{{1}}{'ba'[k % 2]}\n" for k in range(7))
HEADER = "age,job,smokes,label\n"


def save(columns, path, delimiter=","):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def rows_of(columns, rows):
    return {name: [values[row] for row in rows] for name, values in columns.items()}


@pytest.fixture
def people(tmp_path):
    """A table of 40 people, 20 of each class, by column, and its file."""
    rng = np.random.default_rng(0)
    columns = {
        "name": [f"p{k:02d}" for k in range(40)],
        "age": rng.integers(18, 80, 40).tolist(),
        "job": rng.choice(["nurse", "clerk", "pilot"], 40).tolist(),
        "income": rng.normal(1e6, 1e5, 40).round(2).tolist(),
        "smokes": (rng.random(40) < 0.5).tolist(),
        "label": ["no", "yes"] * 20,
    }
    return columns, save(columns, tmp_path / "people.csv")


def load(path, **options):
    return coun.load(f"table:{path}", drop="name", **options)


def write(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return tmp_path / name


def test_inputs_have_the_mean_and_deviation_of_training_and_a_place_for_each_category(people):
    columns, path = people
    data = load(path)
    train = rows_of(columns, data.train.numbers.tolist())
    for part in (data.train, data.test):
        rows = rows_of(columns, part.numbers.tolist())
        expected = [(np.array(rows["age"]) - np.mean(train["age"])) / np.std(train["age"])]
        expected += [np.array(rows["job"]) == job for job in ("clerk", "nurse", "pilot")]
        for name in ("income", "smokes"):
            expected.append((np.array(rows[name]) - np.mean(train[name])) / np.std(train[name]))
        assert np.allclose(part.images, np.stack(expected, 1), atol=1e-5)
    assert data.classes == ("no", "yes")
    assert data.views.widths == (1, 3, 1, 1)
    assert (len(data.train), len(data.test), data.noun) == (32, 8, "row")


def test_parquet_equals_csv_and_a_folder_has_its_own_parts(people, tmp_path):
    columns, path = people
    table = pa.table({**columns, "job": pa.array(columns["job"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "people.parquet")
    assert load(tmp_path / "people.parquet").fingerprint == load(path).fingerprint
    (tmp_path / "both").mkdir()
    save(rows_of(columns, range(30)), tmp_path / "both" / "train.csv")
    save(rows_of(columns, range(30, 40)), tmp_path / "both" / "test.tsv", "\t")
    data = load(tmp_path / "both")
    assert (len(data.train), len(data.test), data.one_numbering) == (30, 10, False)


def test_the_encoding_stays_when_rows_are_deleted(people):
    columns, path = people
    data = load(path)
    oldest = columns["age"].index(max(columns["age"]))
    save(rows_of(columns, [row for row in range(40) if row != oldest]), path)
    again = coun.load(data.source, **data.origin)
    kept = data.train.images[data.train.numbers != oldest]
    now = {tuple(row) for row in torch.cat([again.train.images, again.test.images]).tolist()}
    assert {tuple(row) for row in kept.tolist()} <= now
    anew = load(path)
    assert {tuple(row) for row in anew.train.images.tolist()}.isdisjoint(now)


def test_a_forgotten_row_may_be_deleted_from_the_table(people, tmp_path):
    columns, path = people
    data = coun.load(f"table:{path}", id_column="name")
    deleted = data.ids[4]
    coun.train(data, "mlp", epochs=1, out=tmp_path / "o")
    split = coun.Split.by_id(data, [deleted])
    coun.unlearn(tmp_path / "o", split, "finetune", epochs=1, out=tmp_path / "u", data=data)
    save(rows_of(columns, [k for k in range(40) if columns["name"][k] != deleted]), path)
    run = coun.Run.open(tmp_path / "u")
    assert deleted not in run.data.ids
    assert coun.evaluate(run)["counts"]["retain"] == 31


def test_labels_are_sorted_by_value_and_need_no_gaplessness(tmp_path):
    text = "x,label\n" + "".join(f"{k}.5,{(10, 9, 35)[k % 3]}\n" for k in range(30))
    assert coun.load(f"table:{write(tmp_path, text)}").classes == ("9", "10", "35")


def test_text_with_too_many_values_is_no_category_unless_chosen(tmp_path):
    columns = {"word": [f"w{k}" for k in range(200)], "label": [0, 1] * 100}
    path = save(columns, tmp_path / "words.csv")
    with pytest.raises(CounError, match="column 'word' has 160 different texts in 160 rows"):
        coun.load(f"table:{path}")
    assert coun.load(f"table:{path}", categorical="word").shape == (160,)


def test_ids_are_refused_where_two_columns_may_hold_them(tmp_path):
    columns = {"id": range(200), "account_id": range(200, 400), "x": [0.5, 1.5] * 100}
    path = save({**columns, "label": [0, 1] * 100}, tmp_path / "customers.csv")
    data = coun.load(f"table:{path}", drop="id,account_id")
    again = coun.load(f"table:{path}", **data.origin)
    for ambiguous in (data, again):  # also where the columns are on record
        with pytest.raises(CounError, match="a value of column 'id' or 'account_id'"):
            coun.Split.by_id(ambiguous, ["17"])
    named = coun.load(f"table:{path}", id_column="id", drop="account_id")
    assert coun.Split.by_id(named, [named.ids[3]]).forget.tolist() == [int(named.ids[3])]


@pytest.mark.parametrize("wrong", ["99", "", "99.0"])  # twice, missing, and as pandas writes a gap
def test_one_wrong_id_does_not_make_row_numbers_of_the_others(tmp_path, wrong):
    columns = {"customer_id": [*map(str, range(100, 41, -1)), wrong], "x": [0.5, 1.5] * 30}
    path = save({**columns, "label": [0, 1] * 30}, tmp_path / "customers.csv")
    if wrong == "99.0":
        columns["customer_id"] = [*map(float, range(100, 41, -1)), None]
        save({**columns, "label": [0, 1] * 30}, path)
    data = coun.load(f"table:{path}", missing="fill")
    with pytest.raises(CounError, match="'50' may be a row number or a value of column 'customer"):
        coun.Split.by_id(data, ["50"])
    assert len(coun.Split.by_index(data, data.train.numbers[:1]).forget) == 1


@pytest.mark.parametrize("column", ["customer_id", "customerId", "patient", "Client No"])
def test_a_list_of_customers_is_not_taken_for_row_numbers(tmp_path, column):
    lines = [f"{10 + row // 3},{row % 7},{'yes' if row % 2 else 'no'}" for row in range(60)]
    (tmp_path / "t.csv").write_text("\n".join([f"{column},size,label", *lines]))
    data = coun.load(f"table:{tmp_path / 't.csv'}")
    for ids in (["12"], ["12", "13", "59"]):
        with pytest.raises(CounError, match=f"'12' may be a row number or a value of .*'{column}'"):
            coun.Split.by_id(data, ids)
    numbers = [number for number in data.train.numbers.tolist() if not 10 <= number < 30][:3]
    assert coun.Split.by_id(data, list(map(str, numbers))).forget.tolist() == numbers  # no customer


def test_ids_are_read_as_they_are_written_also_if_they_look_like_missing_values(tmp_path):
    columns = {"id": ["NA", "null", "NaN", "N/A", "n1", "n2"], "x": ["a", "NA"] * 3}
    path = save({**columns, "label": [0, 1] * 3}, tmp_path / "countries.csv")
    for chosen in ({}, {"id_column": "id"}):
        data = coun.load(f"table:{path}", test_share=0.34, missing="fill", **chosen)
        assert {*data.train.ids, *data.test.ids} == set(columns["id"])
        assert data.shape == (1,)  # elsewhere NA is a missing value


def test_texts_of_arrow_in_the_layout_of_views_are_read(tmp_path):
    columns = {"id": [f"p{k}" for k in range(40)], "x": ["a", "b"] * 20, "label": ["c", "d"] * 20}
    views = pa.table({k: pa.array(v, pa.string_view()) for k, v in columns.items()})
    pq.write_table(views, tmp_path / "t.parquet")
    path = save(columns, tmp_path / "t.csv")
    data, plain = coun.load(f"table:{tmp_path / 't.parquet'}"), coun.load(f"table:{path}")
    assert data.train.ids == plain.train.ids
    assert torch.equal(data.train.images, plain.train.images)


def test_a_text_that_is_another_in_each_row_is_proposed_as_the_id(tmp_path):
    columns = {"customer": [f"c{k}" for k in range(200)], "x": [0.5, 1.5] * 100}
    path = save({**columns, "label": [0, 1] * 100}, tmp_path / "customers.csv")
    with pytest.raises(CounError, match="--id-column customer if they are ids, leave it out"):
        coun.load(f"table:{path}")
    assert set(coun.load(f"table:{path}", id_column="customer").ids) <= set(columns["customer"])
    save({**columns, "customer": [f"c{k % 110}" for k in range(200)], "label": [0, 1] * 100}, path)
    with pytest.raises(CounError, match="different texts in 160 rows; leave it out with --drop"):
        coun.load(f"table:{path}")


def test_the_only_column_of_ids_gives_the_ids(people):
    columns, path = people
    save({"id" if name == "name" else name: values for name, values in columns.items()}, path)
    data = coun.load(f"table:{path}")
    assert data.shape == (6,)
    assert "the values of column 'id' are the ids of the rows" in " ".join(data.notes)
    assert set(data.train.ids) <= set(columns["name"])


@pytest.mark.parametrize("value", [lambda k: b"%d" % k, lambda k: [k], lambda k: {"a": k}])
def test_ids_that_nobody_can_write_in_a_list_are_refused(tmp_path, value):
    rows = {"x": range(9), "label": list("abc") * 3, "person": [value(k) for k in range(9)]}
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    with pytest.raises(CounError, match="column 'person' has type .*; expected ids, text or int"):
        coun.load(f"table:{tmp_path / 't.parquet'}", id_column="person", drop="person")


@pytest.mark.parametrize(
    ("kind", "hours"),
    [("timestamp[s]", ""), ("timestamp[ns]", ""), ("date32", ""), ("timestamp[ns]", " 10:30:00")],
)
def test_a_date_is_the_same_id_in_csv_and_parquet(tmp_path, kind, hours):
    """Pandas writes days without hours, also those of times that are all at midnight."""
    written = [f"2024-01-{day:02}" for day in range(1, 21)]
    if hours:
        written = [f"{written[0]}{hours}", *(f"{day} 00:00:00" for day in written[1:])]
    columns = {"on": written, "x": list(range(20)), "label": [0, 1] * 10}
    save(columns, tmp_path / "t.csv")
    columns["on"] = pa.array(written).cast(pa.timestamp("s")).cast(kind)
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        data = coun.load(f"table:{tmp_path / name}", id_column="on", test_share=0.1)
        assert sorted(data.train.ids + data.test.ids) == sorted(written)


def test_of_two_columns_of_ids_none_is_taken(people):
    columns, path = people
    save({"user_id": range(len(columns["name"])), "id": columns["name"], **columns}, path)
    data = coun.load(f"table:{path}", drop="name")
    assert data.shape == (6,)
    assert "--id-column user_id makes its values the ids" in " ".join(data.notes)
    assert data.train.ids == tuple(str(number) for number in data.train.numbers.tolist())


def test_ids_that_count_from_one_name_their_own_rows(tmp_path):
    lines = [f"{k + 1:03d},{k % 7}.5,{'ab'[k % 2]}" for k in range(40)]
    path = write(tmp_path, "\n".join(["id,x,label", *lines]))
    data = coun.load(f"table:{path}")
    row = int(data.train.numbers[5])
    assert data.train.ids[5] == f"{row + 1:03d}"
    again = coun.load(data.source, **data.origin)
    assert again.train.ids == data.train.ids
    lines[row] = lines[row].replace(f"{row + 1:03d}", "001" if row else "002")
    write(tmp_path, "\n".join(["id,x,label", *lines]))
    with pytest.raises(CounError, match="unique"):  # the ids stay those of the column
        coun.load(data.source, **data.origin)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("text", [False, True])
def test_the_index_of_pandas_gives_the_ids_where_it_is_not_the_row_number(tmp_path, kind, text):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [k % 7 + 0.5 for k in range(40)], "label": ["a", "b"] * 20})
    frame = frame.sample(frac=1, random_state=0)
    if text:
        frame.index = [f"u{k}" for k in frame.index]
    path = tmp_path / f"people.{kind}"
    frame.to_csv(path) if kind == "csv" else frame.to_parquet(path)
    data = coun.load(f"table:{path}")
    assert data.shape == (1,)
    assert list(data.train.ids) == [str(frame.index[n]) for n in data.train.numbers.tolist()]
    assert any("the index of pandas" in note for note in data.notes)


def test_a_number_too_large_to_be_scaled_is_refused(tmp_path):
    lines = [f"{k}e300,{'ab'[k % 2]}" for k in range(40)]
    with pytest.raises(CounError, match=r"'x' has values up to 4e\+301, too large"):
        coun.load(f"table:{write(tmp_path, chr(10).join(['x,label', *lines]))}")


def test_numbers_as_categories(people):
    _, path = people
    assert load(path, categorical="smokes").views.widths == (1, 3, 1, 2)


def test_numbers_among_texts_are_categories_where_that_is_said(tmp_path):
    path = write(tmp_path, "x,label\n" + SPELLED.format("?", ","))
    assert coun.load(f"table:{path}", categorical="x").shape[0] > 5
    codes = {"zip": [f"0{k % 9}" for k in range(40)], "label": [0, 1] * 20}
    pq.write_table(pa.table(codes), tmp_path / "codes.parquet")  # written as text on purpose
    assert coun.load(f"table:{tmp_path / 'codes.parquet'}").shape == (9,)


@pytest.mark.parametrize("value", ["{}.2.2020", "1.{}.3", "e{}", "1,5 x {}", "{}th"])
def test_texts_with_digits_are_categories(tmp_path, value):
    rows = "".join(f'"{value.format(k % 9)}",{"ab"[k % 2]}\n' for k in range(40))
    assert coun.load(f"table:{write(tmp_path, 'x,label' + chr(10) + rows)}").shape == (9,)


def test_a_comma_in_the_header_does_not_divide_cells(tmp_path):
    path = write(tmp_path, '"a, b, c";label\n' + "1;a\n2;b\n" * 5)
    assert coun.load(f"table:{path}").classes == ("a", "b")


def test_categories_only_the_test_part_has_count_as_none_and_are_said(tmp_path):
    (tmp_path / "d").mkdir()
    write(tmp_path, HEADER + "30,nurse,true,a\n50,clerk,false,b\n" * 3, "d/train.csv")
    write(tmp_path, HEADER + "40,astronaut,true,a\n", "d/test.csv")
    data = coun.load(f"table:{tmp_path / 'd'}")
    assert data.test.images[0].tolist() == [0, 0, 0, 1]
    assert "'job' that no training row has, such as 'astronaut'" in data.notes[-1]


def test_missing_values_are_refused_or_filled(tmp_path):
    text = HEADER + "30,nurse,true,a\n,clerk,false,b\n50,,true,a\n40,nurse,false,b\n" * 5
    path = write(tmp_path, text)
    with pytest.raises(CounError, match=r"column 'age' has .* missing values, in row .*--missing"):
        coun.load(f"table:{path}")
    data = coun.load(f"table:{path}", missing="fill")
    everything = torch.cat([data.train.images, data.test.images])
    assert everything.isfinite().all()
    assert int((everything[:, 1:3].sum(1) == 0).sum()) == 5


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("x,z\n1,2\n3,4\n", {}, "no columns are called label"),
        ("x,label\n1,a\n2,a\n", {}, "one value only"),
        ("x,label\n1,0.5\n2,0.25\n", {}, "fractions"),
        ("label\na\nb\na\nb\n", {}, "no column of features"),
        ("x,x,label\n1,2,a\n3,4,b\n", {}, "two columns 'x'"),
        ("x,label\n", {}, "no rows"),
        ("", {}, "cannot read the table"),
        ("x,label\n1,a\n2\n", {}, "cannot read the table"),
        ('{"x": 1, "label": "a"}\n{"x": 2, "label": "b"}\n', {}, "holds JSON; .* as CSV"),
        ('[{"x": 1, "label": "a"}]\n', {}, "holds JSON; .* as CSV"),
        ("x,label\n1,a\n2,\n3,b\n", {}, "row 1 has no label"),
        ("x,label\n1,EU\n2,NA\n3,EU\n", {}, "such as NA; .* give the class another name"),
        ("when,label\n" + "2020-01-01,a\n2021-01-01,b\n" * 5, {}, "--drop when"),
        (
            "unit price;label\n" + "".join(f"{k},5;{'ab'[k % 2]}\n" for k in range(200)),
            {},
            r"'0,5' is not written as one; expected plain numbers .* --drop 'unit price', or",
        ),
        (
            "since,text,x,until,label\n"
            + "".join(f"2020-01-01,t{k},{k},2021-01-01,{'ab'[k % 2]}\n" for k in range(200)),
            {},
            "'since' has type .*; the same goes for 'text', 'until'",
        ),
        ("x,label\n" + "inf,a\n1,b\n" * 5, {}, "infinite"),
        ("x,label\n" + "1,a\n2,b\n" * 5, {"drop": "y"}, "unknown column of --drop 'y'"),
        ("x,label\n" + "1,a\n2,b\n" * 5, {"label_column": "lable"}, "did you mean 'label'"),
        ("x,label\n" + "1,a\n2,b\n" * 5, {"id_column": "x"}, "ids must be unique"),
        ("x,label\n1,a\n2,b\n".encode("utf-16"), {}, "encoding UTF-16; save it"),
        (gzip.compress(b"x,label\n1,a\n2,b\n", mtime=0), {}, "gzip; unpack it first"),
        ("x,label\n1,n\u00e9e\n2,b\n".encode("latin-1"), {}, "column 'label' .* is not UTF-8"),
        (
            "key,x,label\nm\u00fcller,1,a\nb,2,b\n".encode("latin-1"),
            {"id_column": "key"},
            "invalid UTF8 data; save it as CSV in UTF-8",
        ),
        (
            "guest,x,label\n" + "".join(f"Ann {k},{k},{'ab'[k % 2]}\n" for k in range(50)),
            {},
            "'guest' has 40 different texts in 40 rows; name it with --id-column guest",
        ),
        ("x;label\n" + SPELLED.format("0,5", ";"), {}, "'x' holds numbers, but '0,5' is"),
        ("x;label\n" + SPELLED.format("1,000", ";"), {}, "but '1,000' is"),
        ("x,label\n" + SPELLED.format("?", ","), {}, "but '.' is.*--categorical x"),
        ("x,label\n" + SPELLED.format("7%", ","), {}, "but '7%' is"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, options, line):
    with pytest.raises(CounError, match=line) as error:
        coun.load(f"table:{write(tmp_path, text)}", **options)
    assert "\n" not in str(error.value)


def test_empty_lines_above_the_header_are_skipped(tmp_path):
    path = write(tmp_path, "\n\nx,label\n" + "1,a\n\n2,b\n" * 5)
    assert coun.load(f"table:{path}").classes == ("a", "b")


@pytest.mark.parametrize("column", ["id", "label"])
def test_a_nan_in_parquet_is_a_missing_value(tmp_path, column):
    """pandas makes whole numbers with a hole fractions, and Arrow keeps NaN apart from null."""
    values = {"id": [float(k) for k in range(40)], "x": [k / 7 for k in range(40)]}
    values["label"] = [float(k % 2) for k in range(40)]
    values[column][4] = float("nan")
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(values), path)
    with pytest.raises(CounError, match=f"row 4 has no {column}: '{column}' is empty"):
        coun.load(f"table:{path}", id_column="id")


def test_a_byte_order_mark_and_semicolons_are_read(tmp_path):
    path = write(tmp_path, "\ufeffx;label\r\n" + "1;a\r\n2;b\r\n" * 5)
    assert coun.load(f"table:{path}").classes == ("a", "b")


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index"])
def test_a_counter_that_pandas_writes_is_no_feature(tmp_path, name):
    lines = [f"{k},{k % 7}.5,{'ab'[k % 2]}" for k in range(40)]
    data = coun.load(f"table:{write(tmp_path, chr(10).join([f'{name},x,label', *lines]))}")
    assert data.shape == (1,)
    assert f"column '{name}' counts the rows and is not a feature" in data.notes


def test_an_id_that_repeats_is_a_feature_and_said(tmp_path):
    lines = [f"{k // 2},{k % 7}.5,{'ab'[k % 2]}" for k in range(40)]
    data = coun.load(f"table:{write(tmp_path, chr(10).join(['id,x,label', *lines]))}")
    assert data.shape == (2,)
    assert any("'id' has the same value in several rows" in note for note in data.notes)


def test_classes_that_a_reader_cannot_tell_apart_are_refused(tmp_path):
    lines = [f"{k % 7}.5,{['cat', 'dog', 'cat '][k % 3]}" for k in range(40)]
    path = write(tmp_path, "\n".join(["x,label", *lines]))
    with pytest.raises(CounError, match="'cat' and 'cat ' differ only in blanks"):
        coun.load(f"table:{path}")


def test_whole_numbers_that_no_float_holds_become_the_nearest_one(tmp_path):
    """Such as counters of a database; the features are scaled anyway."""
    values = [2**62 + 2**40 * row for row in range(20)]
    unsigned = pa.array([2**64 - 1 - 2**40 * row for row in range(20)], pa.uint64())
    table = pa.table({"counter": values, "other": unsigned, "label": ["no", "yes"] * 10})
    pq.write_table(table, tmp_path / "rows.parquet")
    data = coun.load(f"table:{tmp_path / 'rows.parquet'}")
    rows = data.train.numbers.tolist()
    expected = torch.tensor([float(values[row]) for row in rows], dtype=torch.float64)
    expected = (expected - expected.mean()) / expected.std(correction=0)
    torch.testing.assert_close(data.train.fetch(torch.arange(len(rows)))[:, 0].double(), expected)
