"""Requests from intake to certificate, on eight-pixel photographs."""

import datetime
import json
import shutil
import sqlite3
import subprocess
import sys

import pytest
import torch

import coun
from coun import CounError
from coun.certificates import verify
from coun.cli import main
from coun.data.row_table import RowTable
from coun.errors import TamperingFound


def people(registry, name):
    data = registry.data()[0]
    return [row for row in (*data.ids, *data.test.ids) if name in row]


def test_a_request_is_fulfilled_and_certified(fulfilled):
    summary = fulfilled.summary(today=datetime.date(2026, 3, 20))
    assert summary.served == 2
    assert [(r.request, r.state, r.version) for r in summary.requests] == [
        (1, "fulfilled", 2),
        (2, "open", None),
    ]
    assert summary.requests[1].days_left == 12
    assert not summary.overdue
    assert fulfilled.summary(today=datetime.date(2026, 4, 2)).overdue == (2,)
    verification = fulfilled.verify(1)
    assert not verification.tampered
    stated = verification.statement.predicate
    assert stated.request.rows == summary.requests[0].rows
    assert stated.result == "FULFILLED"
    assert fulfilled.check() == []


def test_the_model_was_never_trained_on_the_rows_again(fulfilled):
    run = coun.Run.open(fulfilled.served)
    retained = {run.data.ids[row] for row in run.split.rows(run.data, "retain").tolist()}
    assert not any("alice" in name for name in retained)


def test_no_name_is_left_in_any_file(fulfilled):
    names = people(fulfilled, "alice")
    assert names  # the pictures are still there, and the keys tell which they are
    rows = fulfilled.ledger.connection.execute("SELECT id FROM request_rows WHERE request = 1")
    assert all(name is None for (name,) in rows)
    for version in (1, 2):
        folder = fulfilled.folder / "versions" / str(version)
        assert not any("alice" in name for name in RowTable.load(folder / "rows.parquet").ids)
        assert "alice" not in (folder / "run.json").read_text()
    for file in fulfilled.folder.rglob("*"):
        if file.is_file():
            assert b"alice" not in file.read_bytes(), file


def test_all_versions_open_with_the_key_and_without_the_files(fulfilled, trained_folder, tmp_path):
    for version in (1, 2):
        coun.Run.open(fulfilled.folder / "versions" / str(version))
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    for name in people(fulfilled, "alice"):
        (moved / name).unlink()
    run = coun.Run.open(fulfilled.served, data=f"folder:{moved}")
    assert len(run.split.missing(run.data)) == len(run.split.forget)
    assert coun.evaluate(run)["retain_accuracy"] is not None


def test_the_key_is_destroyed_only_when_the_rows_are_gone(fulfilled, trained_folder, tmp_path):
    with pytest.raises(coun.CounError, match="still in folder:"):
        fulfilled.shred(1)
    with pytest.raises(coun.CounError, match="request 2 is not fulfilled"):
        fulfilled.shred(2)
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    for name in people(fulfilled, "alice"):
        (moved / name).unlink()
    source = f"folder:{moved}"
    assert fulfilled.shred(1, data=source).shredded
    assert not (fulfilled.folder / "keys" / "request-1.key").exists()
    assert fulfilled.check() == []
    with pytest.raises(coun.CounError, match="version 1 does not fulfil request 1, whose key was"):
        fulfilled.rollback()
    assert fulfilled.summary().open == (2,)
    result = fulfilled.fulfil(2, method="finetune", settings={"epochs": 1}, page=False, data=source)
    assert result.result == "FULFILLED"
    assert fulfilled.check() == []


def test_a_request_without_its_key_is_refused_before_the_work(fulfilled):
    key = fulfilled.folder / "keys" / "request-2.key"
    key.rename(key.with_suffix(".copy"))
    with pytest.raises(TamperingFound, match=r"key of request 2, .* is missing"):
        fulfilled.fulfil(2, method="finetune", page=False)
    # Earlier versions of coun rolled back past a request whose key was destroyed.
    fulfilled.rollback(1)
    with fulfilled.ledger.transaction():
        fulfilled.append("shredded", {"request": 1})
    with pytest.raises(coun.CounError, match=r"request 1 was destroyed .* rollback .* 2$"):
        fulfilled.fulfil(1, method="finetune", page=False)
    assert fulfilled.rollback(2) == 2


def test_ids_that_were_forgotten_and_deleted_are_left_out(fulfilled, trained_folder, tmp_path):
    alice, bob = people(fulfilled, "alice"), people(fulfilled, "bob")
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    for name in alice:
        (moved / name).unlink()
    source = f"folder:{moved}"
    with pytest.raises(coun.CounError, match=f"all {len(alice)} ids named rows that earlier"):
        fulfilled.add(ids=alice, data=source)
    lines = []
    registry = coun.Registry.open(fulfilled.folder, say=lines.append)
    added = registry.add(ids=[*alice, *bob], data=source)
    assert added.rows + added.test_rows == len(bob)
    assert f"{len(alice)} ids named rows" in lines[0]
    with pytest.raises(coun.CounError, match="names no row"):
        registry.add(ids=[*alice, "cat/nobody.png"], data=source)


def test_a_forgotten_picture_that_returns_is_refused(fulfilled, trained_folder, tmp_path):
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    first = people(fulfilled, "alice")[0]
    (moved / first).rename(moved / "cat/visitor.png")
    with pytest.raises(coun.CounError, match="content of forgotten rows"):
        fulfilled.data(f"folder:{moved}")


def test_the_next_request_starts_from_the_served_version(fulfilled):
    rows = fulfilled.request(2).rows
    result = fulfilled.fulfil(method="finetune", settings={"epochs": 1}, page=False)
    summary = fulfilled.summary()
    assert (result.version, summary.versions[2].parent) == (3, 2)
    assert summary.versions[2].forgotten_rows == summary.versions[1].forgotten_rows + rows
    assert summary.versions[2].drift is not None
    first, second = (fulfilled.verify(n).statement.predicate for n in (1, 2))
    assert first.previous is None
    assert second.previous is not None
    assert fulfilled.check() == []


def test_rollback_opens_requests_again(fulfilled):
    assert fulfilled.rollback() == 1
    assert fulfilled.summary().open == (1, 2)
    with pytest.raises(coun.CounError, match=r"open again .* cannot be withdrawn; fulfil it again"):
        fulfilled.withdraw(1)
    result = fulfilled.fulfil(1, method="finetune", settings={"epochs": 1}, page=False)
    assert result.version == 3
    assert fulfilled.summary().open == (2,)
    assert not fulfilled.verify(1).tampered
    assert fulfilled.check() == []
    with pytest.raises(coun.CounError, match="there is no version 9"):
        fulfilled.rollback(9)


def test_a_withdrawn_request_leaves_no_rows(fulfilled):
    assert fulfilled.withdraw(2).state == "withdrawn"
    count = "SELECT count(*) FROM request_rows WHERE request = 2"
    assert fulfilled.ledger.connection.execute(count).fetchone() == (0,)
    assert not (fulfilled.folder / "keys" / "request-2.key").exists()
    with pytest.raises(coun.CounError, match="no open request"):
        fulfilled.fulfil()
    with pytest.raises(coun.CounError, match="not open"):
        fulfilled.withdraw(1)
    assert fulfilled.check() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "names no row"),
        ({"ids": ["nobody.png"]}, "names no row"),
        ({"classes": ["bird"]}, "bird"),
        ({"classes": ["cat"], "received": "1.3.2026"}, "--received is '1.3.2026'"),
        ({"classes": ["cat"], "received": "2026-13-01"}, "expected a date"),
        ({"classes": ["cat"], "received": "2026-03-02", "due": "2026-03-01"}, "before it was"),
    ],
)
def test_what_cannot_be_a_request_is_refused(begun, arguments, message):
    with pytest.raises(coun.CounError, match=message):
        begun.add(**arguments)
    assert begun.summary().requests == ()


def test_a_reason_that_is_not_unicode_is_refused_and_is_no_tampering(begun, trained_folder):
    names = coun.Run.open(trained_folder / "original").data.ids[:2]
    with pytest.raises(CounError, match=r"Zo\\udceb.* is not valid Unicode") as refused:
        begun.add(ids=names, reason="Zo\udceb")
    assert not isinstance(refused.value, TamperingFound)
    assert begun.add(ids=names, reason="Zoë").rows == 2


def test_rows_that_were_forgotten_before_are_not_counted_again(fulfilled):
    names = people(fulfilled, "alice")
    with pytest.raises(coun.CounError, match="forgotten before"):
        fulfilled.add(ids=names)
    assert fulfilled.add(ids=[*names, people(fulfilled, "carol")[0]]).rows == 1


def test_named_test_rows_are_counted_too(begun, monkeypatch, capsys, tmp_path):
    data = begun.data()[0]
    (tmp_path / "ids.txt").write_text("\n".join([data.ids[0], *data.test.ids[:2]]))
    arguments = ["request", "add", str(begun.folder), "--ids", str(tmp_path / "ids.txt")]
    monkeypatch.setattr(sys, "argv", ["coun", *arguments])
    assert main() == 0
    assert "1 training row and 2 test rows that measurements leave out" in capsys.readouterr().out
    assert begun.request(1).test_rows == 2


def test_content_and_class_name_rows(begun, trained_folder):
    picture = trained_folder / "photos" / "cat" / "carol-3.png"
    by_content = begun.add(match=[picture])
    by_class = begun.add(classes=["dog"])
    assert (by_content.kind, by_content.rows) == ("listed", 1)
    labels = begun.data()[0].train.labels
    assert (by_class.kind, by_class.rows) == ("class", int((labels == 1).sum()))


def test_weights_that_coun_did_not_train(trained_folder, tmp_path):
    data = coun.load(f"folder:{trained_folder / 'photos'}")
    weights = shutil.copy(trained_folder / "original/model.safetensors", tmp_path / "w.safetensors")
    run = coun.Run.from_weights(weights, data, "mlp")
    registry = coun.Registry.init(tmp_path / "r", run, recipe_settings={"epochs": 4})
    registry.add(ids=data.ids[:2])
    result = registry.fulfil(budget=1, page=False)
    assert (result.method, result.settings["epochs"]) == ("retrain", 4)
    stated = registry.summary().versions[0].metrics["test_accuracy"]
    assert stated == coun.evaluate(registry.folder / "versions" / "1")["test_accuracy"]
    assert registry.check() == []


def test_the_page_of_the_audit_names_no_forgotten_row(fulfilled):
    result = fulfilled.fulfil(method="finetune", settings={"epochs": 1})
    folder = fulfilled.folder / "certificates" / "2"
    assert "bob" not in (folder / "audit.html").read_text()
    assert "bob" not in (folder / "audit.json").read_text()
    for file in ("audit.html", "audit.json"):  # nor how the disk is arranged
        assert str(fulfilled.folder.parent) not in (folder / file).read_text()
        text = (folder / file).read_text()
        assert "versions/1" in text
        assert "versions/3" in text
        assert "work/" not in text
    assert {s.name for s in verify(result.certificates[0]).statement.subject} == {
        "model.safetensors",
        "audit.html",
        "audit.json",
    }


def test_a_registry_begins_with_an_unlearned_run_once_its_rows_are_deleted(
    trained_folder, tmp_path
):
    photos = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    data = coun.load(f"folder:{photos}")
    original = coun.train(data, "mlp", epochs=1, out=tmp_path / "original")
    name = next(name for name in data.ids if "alice" in name)
    coun.unlearn(
        original, coun.Split.by_id(data, [name]), "finetune", epochs=1, out=tmp_path / "unlearned"
    )
    with pytest.raises(coun.CounError, match=f"has forgotten 1 row .*: '{name}'; delete"):
        coun.Registry.init(tmp_path / "registry", tmp_path / "unlearned")
    assert not (tmp_path / "registry").exists()
    (photos / name).unlink()
    registry = coun.Registry.init(tmp_path / "registry", tmp_path / "unlearned")
    assert registry.add(ids=[next(i for i in data.ids if "bob" in i)]).rows == 1


def test_a_folder_that_is_no_registry(tmp_path):
    with pytest.raises(coun.CounError, match="is not a folder"):
        coun.Registry.open(tmp_path / "nowhere")
    with pytest.raises(coun.CounError, match="registry.sqlite does not exist"):
        coun.Registry.open(tmp_path)
    (tmp_path / "registry.sqlite").write_bytes(b"no database at all, but long enough to be read")
    with pytest.raises(coun.CounError, match="not a database"):
        coun.Registry.open(tmp_path)


def test_private_keys_are_readable_by_the_owner_only(fulfilled_folder):
    files = [*(fulfilled_folder / "keys").glob("*.pem"), *(fulfilled_folder / "keys").glob("*.key")]
    assert len(files) == 3
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)


def test_a_thousand_requests_and_a_hundred_versions(fulfilled):
    entries = fulfilled.ledger.entries()
    request = next(e.body for e in entries if e.kind == "request")
    version = [e.body for e in entries if e.kind == "version"][-1]
    with fulfilled.ledger.transaction():
        for number in range(3, 1001):
            fulfilled.append("request", {**request, "request": number})
        for number in range(3, 101):
            fulfilled.append("version", {**version, "version": number, "parent": number - 1})
    summary = fulfilled.summary()
    assert (len(summary.requests), len(summary.versions)) == (1000, 100)
    assert not summary.ledger.problems
    size = sum(f.stat().st_size for f in fulfilled.folder.glob("registry.sqlite*"))
    assert size < 8e6


def test_ids_are_not_in_the_ledger(fulfilled):
    text = json.dumps([entry.body for entry in fulfilled.ledger.entries()])
    assert "alice" not in text
    assert "bob" not in text


def test_state_is_a_sum_of_entries_only(fulfilled):
    database = sqlite3.connect(fulfilled.folder / "registry.sqlite")
    tables = {
        name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    }
    assert tables == {"meta", "ledger", "request_rows"}
    assert torch.is_tensor(coun.Run.open(fulfilled.served).split.forget)


def test_near_copies_are_shown_and_do_not_join(begun):
    first = begun.data()[0].ids[0]
    number = begun.add(ids=[first]).request
    page = begun.near_copies(number, 0.5)
    names = page.with_suffix(".txt").read_text().split()
    assert names
    assert first not in names
    assert begun.request(number).rows == 1
    begun.withdraw(number)
    assert not page.exists()


def test_listing_does_not_load_torch(fulfilled_folder):
    code = (
        "import sys; sys.argv = ['coun', 'request', 'list', sys.argv[1]]\n"
        "from coun.cli import main; main()\n"
        "assert not {'torch', 'scipy', 'sklearn', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, fulfilled_folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "fulfilled" in done.stdout


def test_an_earlier_version_can_be_deleted_for_good(fulfilled):
    with pytest.raises(coun.CounError, match="is served"):
        fulfilled.discard(2)
    fulfilled.discard(1)
    assert not (fulfilled.folder / "versions" / "1").exists()
    assert fulfilled.check() == []
    with pytest.raises(coun.CounError, match="discarded"):
        fulfilled.rollback(1)
    result = fulfilled.fulfil(method="retrain", settings={"epochs": 1}, page=False)
    assert result.version == 3
    assert fulfilled.check() == []
    fulfilled.discard(2)
    assert not fulfilled.verify(1).tampered
    assert [v.discarded for v in fulfilled.summary().versions] == [True, True, False]


def test_a_run_is_not_written_into_the_folder_of_a_registry(begun):
    data = coun.load("digits", limit=50)
    for place in ("run", "versions/2", "certificates/run"):
        with pytest.raises(CounError, match="lies inside the registry folder"):
            coun.train(data, "mlp", epochs=1, out=begun.folder / place)
        assert not (begun.folder / place).exists()


def test_another_request_is_entered_while_rows_of_an_open_one_are_deleted(
    trained_folder, fulfilled, tmp_path
):
    """Who deletes files as soon as a request comes need not name them in the next one."""
    moved = shutil.copytree(trained_folder / "photos", tmp_path / "photos")
    for picture in moved.rglob("bob*"):  # of the open request 2
        picture.unlink()
    source = f"folder:{moved}"
    carol = [name for name in fulfilled.data()[0].ids if "carol" in name][:2]
    request = fulfilled.add(ids=carol, data=source)
    assert request.rows == 2
    result = fulfilled.fulfil(method="finetune", settings={"epochs": 1}, page=False, data=source)
    assert result.requests == (2, request.request)
    split = fulfilled.open_version(result.version, source).split
    assert bool(torch.isin(fulfilled.data(source)[0].absent.numbers, split.forget).all())
