"""What a request may name, on the command line."""

import sys

import coun
from coun.cli import main


def test_rows_are_named_by_number_where_ids_may_be_customers(tmp_path, monkeypatch, capsys):
    lines = [f"{10 + row // 3},{row * 0.37 % 1},{'yes' if row % 2 else 'no'}" for row in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["customer,size,label", *lines]))
    data = coun.load(f"table:{tmp_path / 't.csv'}", drop="customer")
    coun.train(data, "mlp", epochs=1, out=tmp_path / "original")
    registry = coun.Registry.init(tmp_path / "r", tmp_path / "original")
    customer = [row for row in range(60) if lines[row].startswith("14,")]
    parts = [[n for n in customer if n in part.numbers] for part in (data.train, data.test)]
    (tmp_path / "rows.txt").write_text("\n".join(map(str, customer)))

    def add(option):
        words = ["request", "add", str(tmp_path / "r"), option, str(tmp_path / "rows.txt")]
        monkeypatch.setattr(sys, "argv", ["coun", *words])
        return main()

    assert add("--ids") == 2
    error = capsys.readouterr().err
    assert "may be a row number or a value of column 'customer'" in error
    assert "--index" in error
    assert add("--index") == 0
    request = registry.request(1)
    assert (request.rows, request.test_rows) == tuple(map(len, parts))
    result = registry.fulfil(method="retrain", page=False)
    version = registry.open_version(result.version)
    assert version.split.forget.tolist() == parts[0]


def test_a_request_that_came_twice_is_closed_with_the_next_one(begun, refused):
    """The second letter of one person, entered before the first one was fulfilled."""
    begun.add(ids=["cat/alice-1.png"])
    begun.add(ids=["cat/alice-1.png"])
    begun.fulfil(1, method="retrain", page=False)
    with refused("version 2, which is served, has forgotten all rows of request 2 already"):
        begun.fulfil(2, method="retrain", page=False)
    begun.add(ids=["dog/bob-1.png"])
    assert begun.fulfil(method="retrain", page=False).result == "FULFILLED_BY_RETRAINING"
    assert [begun.request(n).state for n in (1, 2, 3)] == ["fulfilled"] * 3
    assert not begun.verify(2).tampered
