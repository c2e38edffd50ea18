"""Every kind of tampering is named, and has exit code 4."""

import contextlib
import json
import shutil
import sqlite3
import sys

import pytest

import coun
from coun.certificates import create_key
from coun.cli import main
from coun.errors import TamperingFound
from coun.files import write_sealed
from coun.ledger import canonical
from coun.registry.state import SHAPES, State
from coun.runs.metrics_record import read_metrics


def edit(folder, *statements):
    """Change the database behind the back of the library, and leave its triggers as they were."""
    with contextlib.closing(sqlite3.connect(folder / "registry.sqlite")) as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = connection.execute(query).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(*statement)
        for _, text in triggers:
            connection.execute(text)
        connection.commit()


def edit_row(folder):
    body = canonical({"request": 1, "rows": 1})
    edit(folder, ("UPDATE ledger SET body = ? WHERE kind = 'request'", (body,)))


def remove_row(folder):
    edit(folder, ("DELETE FROM ledger WHERE sequence = 4",))


def remove_last_row(folder):
    edit(folder, ("DELETE FROM ledger WHERE sequence = (SELECT max(sequence) FROM ledger)",))


def swap_rows(folder):
    edit(
        folder,
        ("UPDATE ledger SET sequence = -1 WHERE sequence = 3",),
        ("UPDATE ledger SET sequence = 3 WHERE sequence = 4",),
        ("UPDATE ledger SET sequence = 4 WHERE sequence = -1",),
    )


def swap_checkpoint(folder):
    shutil.copy(
        folder / "versions" / "1" / "model.safetensors",
        folder / "versions" / "2" / "model.safetensors",
    )


def swap_first_checkpoint(folder):
    shutil.copy(
        folder / "versions" / "2" / "model.safetensors",
        folder / "versions" / "1" / "model.safetensors",
    )


def edit_record(folder):
    path = folder / "versions" / "2" / "run.json"
    record = json.loads(path.read_text())
    record["split"]["forget"] = record["split"]["forget"][1:]
    path.write_text(json.dumps(record))


def remove_file(folder):
    (folder / "versions" / "2" / "rows.parquet").unlink()


def change_certificate(folder):
    path = folder / "certificates" / "1" / "certificate.intoto.json"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_certificate(folder):
    (folder / "certificates" / "1" / "certificate.intoto.json").unlink()


def swap_keys(folder):
    shutil.rmtree(folder / "keys", ignore_errors=False)
    create_key(folder / "keys" / "signing.pem")


def swap_private_key(folder):
    (folder / "keys" / "signing.pem").unlink()
    create_key(folder / "new.pem")
    (folder / "new.pem").rename(folder / "keys" / "signing.pem")


def swap_key_of_request(folder):
    (folder / "keys" / "request-1.key").write_text("00" * 32 + "\n")


def add_row_to_request(folder):
    edit(
        folder,
        (
            "INSERT INTO request_rows SELECT request, part, 999, id, id_leaf || '00', content_leaf "
            "FROM request_rows WHERE request = 1 LIMIT 1",
        ),
    )


def change_number_of_row(folder):
    edit(folder, ("UPDATE request_rows SET number = number + 100 WHERE request = 2",))


def change_content_of_row(folder):
    edit(folder, ("UPDATE request_rows SET content_leaf = 'aa' WHERE request = 1",))


def edit_metrics(folder):
    path = folder / "versions" / "2" / "metrics.json"
    content = read_metrics(path).to_json()
    write_sealed(path, {**content, "test_accuracy": 99.0})


def add_version(folder):
    shutil.copytree(folder / "versions" / "1", folder / "versions" / "9")


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (edit_row, "(request) was edited"),
        (remove_row, "entry 4 was removed from the ledger"),
        (remove_last_row, "removed from the ledger"),
        (swap_rows, "was moved: it was written as entry"),
        (swap_checkpoint, "version 2: model.safetensors was swapped or edited"),
        (edit_record, "version 2: run.json was swapped or edited"),
        (remove_file, "version 2: rows.parquet is missing"),
        (change_certificate, "request 1"),
        (remove_certificate, "request 1: certificate"),
        (swap_keys, "was swapped"),
        (swap_private_key, "signing.pem was swapped"),
        (swap_key_of_request, "request 1: its key was swapped"),
        (add_row_to_request, "request 1: its rows were changed"),
        (change_number_of_row, "request 2: its rows were changed"),
        (change_content_of_row, "request 1: its rows were changed"),
        (edit_metrics, "version 2: metrics.json says test_accuracy 99.0, and the ledger says"),
        (add_version, "versions/9 is not in the ledger"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_check_names_it(fulfilled, monkeypatch, capsys, tamper, named):
    fulfilled.close()
    tamper(fulfilled.folder)
    problems = coun.Registry.open(fulfilled.folder).check()
    assert any(named in problem for problem in problems), problems
    monkeypatch.setattr(sys, "argv", ["coun", "registry", "check", str(fulfilled.folder)])
    assert main() == 4
    assert named in capsys.readouterr().out


@pytest.mark.parametrize(
    "tamper",
    [edit_row, remove_row, swap_rows, swap_checkpoint, swap_first_checkpoint, swap_keys],
)
def test_nothing_is_built_on_it(fulfilled, tamper):
    fulfilled.close()
    tamper(fulfilled.folder)
    registry = coun.Registry.open(fulfilled.folder)
    for work in (
        lambda: registry.fulfil(method="finetune", settings={"epochs": 1}),
        lambda: registry.add(ids=["dog/carol-1.png"]),
        lambda: registry.rollback(1),
    ):
        with pytest.raises(TamperingFound):
            work()


def test_a_swapped_checkpoint_fails_its_certificate(fulfilled):
    assert not fulfilled.verify(1).tampered
    swap_checkpoint(fulfilled.folder)
    assert [check.name for check in fulfilled.verify(1).failures] == ["model"]


def test_a_certificate_of_another_registry(fulfilled, trained_folder, tmp_path):
    other = coun.Registry.init(tmp_path / "other", trained_folder / "original")
    other.add(ids=other.data()[0].ids[:1])
    result = other.fulfil(method="finetune", settings={"epochs": 1}, page=False)
    shutil.copy(result.certificates[0], fulfilled.folder / "certificates" / "1")
    assert any("is another certificate" in problem for problem in fulfilled.check())


@pytest.mark.parametrize(
    "kind", ["created", "version", "served", "request", "started", "fulfilled"]
)
def test_entries_that_no_coun_wrote(fulfilled, kind):
    """A key that is missing or of another type is refused, even if all hashes fit."""
    entries = fulfilled.ledger.entries()
    place = next(i for i, entry in enumerate(entries) if entry.kind == kind)
    for key in set(entries[place].body) & set(SHAPES[kind]):
        for body in ({**entries[place].body, key: object()}, {**entries[place].body}):
            if isinstance(body[key], str | int | float | list | dict | None):
                del body[key]
            entries[place] = entries[place]._replace(body=body)
            with pytest.raises(TamperingFound, match="not as coun wrote"):
                State.of(entries)


@pytest.mark.parametrize(("kind", "version"), [("served", 9), ("discarded", 2), ("discarded", 9)])
def test_a_served_version_that_is_not_there(fulfilled, kind, version):
    entries = fulfilled.ledger.entries()
    entries.append(entries[-1]._replace(kind=kind, body={"version": version}))
    with pytest.raises(TamperingFound):
        State.of(entries)


def test_a_path_outside_the_registry_is_refused(fulfilled):
    entries = fulfilled.ledger.entries()
    place = next(i for i, entry in enumerate(entries) if entry.kind == "fulfilled")
    for path in ("../elsewhere/c.json", "/etc/passwd", "certificates/../../c.json"):
        body = {**entries[place].body, "path": path}
        entries[place] = entries[place]._replace(body=body)
        with pytest.raises(TamperingFound):
            State.of(entries)


def test_a_database_whose_error_message_is_damaged_too(fulfilled):
    """SQLite repeats the damaged name, which is no UTF-8, in its message."""
    fulfilled.ledger.flush()
    fulfilled.close()
    path = fulfilled.folder / "registry.sqlite"
    path.write_bytes(path.read_bytes().replace(b"tablemetameta", b"table\x81etameta"))
    with pytest.raises(TamperingFound, match="restore it from a copy"):
        coun.Registry.open(fulfilled.folder)


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be read"])
def test_a_damaged_database_is_tampering(tmp_path, content):
    (tmp_path / "registry.sqlite").write_bytes(content)
    with pytest.raises(TamperingFound, match="damaged"):
        coun.Registry.open(tmp_path)


def test_metrics_that_evaluate_adds_are_no_tampering(fulfilled):
    other = coun.unlearn(
        fulfilled.open_version(1), fulfilled.open_version(2).split, "retrain", epochs=1
    )
    coun.evaluate(fulfilled.served, against=other)
    assert "average_gap" in (fulfilled.served / "metrics.json").read_text()
    assert fulfilled.check() == []


def test_listing_a_ledger_without_its_triggers_exits_with_4(fulfilled, monkeypatch, capsys):
    fulfilled.close()
    with contextlib.closing(sqlite3.connect(fulfilled.folder / "registry.sqlite")) as connection:
        connection.execute("DROP TRIGGER ledger_is_never_updated")
    for words in (["registry", "show"], ["request", "list"]):
        monkeypatch.setattr(sys, "argv", ["coun", *words, str(fulfilled.folder)])
        assert main() == 4
        assert "the triggers that forbid changes were removed" in "".join(capsys.readouterr())
