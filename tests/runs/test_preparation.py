"""Out-of-fold predictions: how they are made, kept, checked and handed on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import coun
from coun.data import OutOfFold
from coun.engine import predict
from coun.runs import preparation
from coun.runs.preparation import divide, units_of

FOLDS = {"folds": 3, "repeats": 2, "epochs": 1}


@pytest.fixture(scope="module")
def data() -> coun.Data:
    return coun.load("digits", limit=60)


@pytest.fixture(scope="module")
def ready(data, tmp_path_factory) -> coun.Run:
    """An Original in a folder, prepared there."""
    out = tmp_path_factory.mktemp("prepared") / "original"
    return coun.prepare(coun.train(data, "mlp", epochs=2, out=out), **FOLDS)


def test_no_model_of_a_fold_sees_its_fold(data, monkeypatch) -> None:
    trained, train = [], preparation.train

    def watched(*args, **more):
        trained.append(train(*args, **more))
        return trained[-1]

    monkeypatch.setattr(preparation, "train", watched)
    run = coun.prepare(coun.train(data, "mlp", epochs=2), **FOLDS)
    assert len(trained) == 6
    for repeat in range(2):
        models = trained[3 * repeat : 3 * repeat + 3]
        assert sorted(torch.cat([m.split.forget for m in models]).tolist()) == sorted(
            data.train.numbers.tolist()
        )
        for model in models:
            rows = model.split.rows(data, "forget")
            logits = predict(model.classifier, data, data.train.take(rows)).logits
            torch.testing.assert_close(
                run.out_of_fold.log_probabilities[repeat, rows], F.log_softmax(logits, 1)
            )
    assert run.record.out_of_fold.cost.flops == sum(m.record.cost.flops for m in trained)
    assert len({m.record.weights_sha256 for m in trained}) == 6


def test_a_fold_holds_whole_groups_and_all_copies_of_a_row(data) -> None:
    twin = replace(data.train, images=data.train.images.clone())
    twin.images[7] = twin.images[3]
    names = data.ids
    groups = {names[0]: "ann", names[5]: "ann", names[9]: "bob", names[7]: "bob"}
    units = units_of(replace(data, train=twin), torch.arange(60), groups)
    expected = [{0, 5}, {3, 7, 9}]  # row 7 is a copy of row 3
    sets = [set(np.flatnonzero(units == u).tolist()) for u in set(units.tolist())]
    assert [rows for rows in sets if len(rows) > 1] in (expected, expected[::-1])
    assert sorted(set(units.tolist())) == list(range(int(units.max()) + 1))
    folds = divide(units, 4, np.random.default_rng(0))
    assert all(len(set(folds[units == u])) == 1 for u in set(units.tolist()))
    assert np.bincount(folds).min() > 0


def test_a_folder_keeps_the_predictions_and_checks_them(ready, data) -> None:
    opened = coun.Run.open(ready.folder)
    torch.testing.assert_close(
        opened.out_of_fold.log_probabilities, ready.out_of_fold.log_probabilities
    )
    assert opened.record.out_of_fold.repeats == 2
    assert not (ready.folder / "folds").exists()
    file = ready.folder / "out_of_fold.npz"
    content = file.read_bytes()
    changed = replace(
        ready.out_of_fold, log_probabilities=ready.out_of_fold.log_probabilities.flip(0)
    )
    try:
        changed.save(file)
        with pytest.raises(coun.CounError, match="not hold the predictions on record"):
            coun.Run.open(ready.folder)
        file.write_bytes(b"no npz file")
        with pytest.raises(coun.CounError, match="expected an npz file") as caught:
            coun.Run.open(ready.folder)
        assert "\n" not in str(caught.value)
        again = coun.prepare(ready.folder, **FOLDS, overwrite=True)
        assert again.out_of_fold.digest == ready.out_of_fold.digest
    finally:
        file.write_bytes(content)


def test_later_requests_use_what_was_prepared_and_drop_the_forgotten_rows(ready, data, tmp_path):
    first = coun.Split.random(data, 0.2, seed=1)
    march = coun.unlearn(
        ready.folder, first, "out_of_fold", epochs=1, batch_size=20, out=tmp_path / "march"
    )
    gone = {data.ids[row] for row in first.rows(data, "forget").tolist()}
    kept = coun.Run.open(march.folder).out_of_fold
    assert set(kept.ids) == set(data.ids) - gone
    assert gone.isdisjoint(np.load(march.folder / "out_of_fold.npz")["ids"].tolist())
    second = coun.Split.random(data, 0.2, seed=2, earlier=first)
    april = coun.unlearn(march.folder, second, "out_of_fold", epochs=1, batch_size=20)
    assert april.record.parent.out_of_fold_sha256 == kept.digest
    again = coun.unlearn(
        ready.folder, first, "out_of_fold", epochs=1, batch_size=20, out=tmp_path / "march"
    )
    assert again.out_of_fold.digest == kept.digest


def test_predictions_of_ones_own(data, tmp_path) -> None:
    run = coun.train(data, "mlp", epochs=1)
    p = np.random.default_rng(0).dirichlet(np.ones(10), len(data.train))
    np.savez(tmp_path / "a.npz", probabilities=p)
    given = coun.prepare(run, predictions=tmp_path / "a.npz").out_of_fold
    np.testing.assert_allclose(given.log_probabilities[0].exp(), p, rtol=1e-4)
    order = np.random.default_rng(1).permutation(len(p))
    ids = np.array(data.ids)[order]
    np.savez(tmp_path / "b.npz", log_probabilities=np.log(p)[order], ids=ids)
    named = coun.prepare(run, predictions=tmp_path / "b.npz").out_of_fold
    torch.testing.assert_close(named.of(data.train), given.of(data.train))
    certain = np.eye(10)[data.train.labels.numpy()]
    with np.errstate(divide="ignore"):
        contents = {"probabilities": certain}, {"log_probabilities": np.log(certain)}
    for content in contents:  # a probability of 0 would give infinite log-odds
        np.savez(tmp_path / "c.npz", **content)
        table = OutOfFold.load(tmp_path / "c.npz", data).log_probabilities[0]
        np.testing.assert_allclose(table.exp(), certain, atol=2e-12)
        assert table.isfinite().all()
    for reason, content in {
        "sum to 1": {"probabilities": 2 * p},
        "expected log_probabilities or probabilities": {"values": p},
        "expected .repeats, rows, classes.": {"probabilities": p[:, :9]},
        "no out-of-fold predictions for 1 row": {"probabilities": p[1:], "ids": data.ids[1:]},
        "occurs twice": {"probabilities": p, "ids": [data.ids[0], *data.ids[:-1]]},
        "expected those of the data": {"probabilities": p, "classes": list("abcdefghij")},
    }.items():
        np.savez(tmp_path / "wrong.npz", **content)
        with pytest.raises(coun.CounError, match=reason):
            coun.prepare(run, predictions=tmp_path / "wrong.npz")


def test_an_interrupted_preparation_continues(data, tmp_path, monkeypatch) -> None:
    run = coun.train(data, "mlp", epochs=2, out=tmp_path / "original")
    whole = coun.prepare(coun.train(data, "mlp", epochs=2), **FOLDS).out_of_fold
    train, calls = preparation.train, []

    def dies(*args, **more):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return train(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "train", dies)
        with pytest.raises(KeyboardInterrupt):
            coun.prepare(run, **FOLDS)
    assert json.loads((run.folder / "run.json").read_text())["out_of_fold"] is None
    resumed = coun.prepare(run.folder, **FOLDS)
    assert resumed.out_of_fold.digest == whole.digest


def test_a_preparation_that_dies_while_it_replaces_another_leaves_a_usable_run(
    data, tmp_path, monkeypatch
) -> None:
    run = coun.prepare(coun.train(data, "mlp", epochs=2, out=tmp_path / "original"), **FOLDS)

    def dies(folder, record):
        if record.out_of_fold is not None:
            raise KeyboardInterrupt
        write_record(folder, record)

    table = np.full((len(data.train), len(data.classes)), 1 / len(data.classes))
    np.savez(tmp_path / "own.npz", probabilities=table)
    write_record = preparation.write_record
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_record", dies)
        with pytest.raises(KeyboardInterrupt):
            coun.prepare(run.folder, predictions=tmp_path / "own.npz", overwrite=True)
    assert coun.Run.open(run.folder).out_of_fold is None
    assert coun.prepare(run.folder, predictions=tmp_path / "own.npz").out_of_fold.repeats == 1


def test_other_numbers_of_folds_are_refused(data) -> None:
    run = coun.train(data, "mlp", epochs=1)
    for wrong in ({"folds": 1}, {"folds": 61}, {"repeats": 0}):
        with pytest.raises(coun.CounError, match="expected"):
            coun.prepare(run, **wrong)
    bare = coun.Run.from_weights(run.model, data)
    with pytest.raises(coun.CounError, match="how it was trained is not on record"):
        coun.prepare(bare)


def test_the_rows_of_a_table_are_found_by_id() -> None:
    table = torch.full((1, 2, 2), 0.5).log()
    with pytest.raises(coun.CounError, match="expected .repeats, rows, classes."):
        OutOfFold(("a",), table, ("x", "y"))


def test_a_federation_is_refused(data) -> None:
    """No method of a federation would read the predictions."""
    original = coun.train(data, "mlp", epochs=1, federation={"clients": 2})
    with pytest.raises(coun.CounError, match="federation"):
        coun.prepare(original, folds=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"probabilities": np.full((60, 10), "a")}, "expected numbers"),
        ({"probabilities": np.array([{}, None])}, "arrays of numbers"),
        (
            {"probabilities": np.full((60, 10), 0.1), "log_probabilities": np.zeros((60, 10))},
            "expected one of them",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(data, tmp_path, content, message) -> None:
    np.savez(tmp_path / "p.npz", **content)
    with pytest.raises(coun.CounError, match=message):
        OutOfFold.load(tmp_path / "p.npz", data)


def test_a_finished_preparation_is_returned_and_another_is_refused(
    ready, data, tmp_path, monkeypatch, capsys
) -> None:
    """Also for rows in groups, whose file may have changed since."""
    before = (ready.folder / "run.json").read_bytes()
    monkeypatch.setattr(preparation, "train", None)
    monkeypatch.setattr(preparation, "locked", None)  # the folder may be read-only
    again = coun.prepare(ready.folder, **FOLDS, options=coun.Options(progress=True))
    assert again.out_of_fold.digest == ready.out_of_fold.digest
    assert "is prepared so already; nothing is computed again" in capsys.readouterr().err
    apart = dict.fromkeys(data.ids[:1], "ann")  # a group of one row changes nothing
    assert coun.prepare(ready.folder, **FOLDS, groups=apart).record == again.record
    own = np.full((len(data.train), len(data.classes)), 1 / len(data.classes))
    np.savez(tmp_path / "own.npz", probabilities=own)
    for part, change in {
        "folds": {"folds": 4},
        "repeats, seed": {"repeats": 1, "seed": 1},
        "rows or groups": {"groups": dict.fromkeys(data.ids[:2], "ann")},
        "folds, repeats, epochs, seed, rows or groups, predictions": {
            "predictions": tmp_path / "own.npz"
        },
    }.items():
        with pytest.raises(coun.CounError, match=rf"differs in {part}\); .*--overwrite") as caught:
            coun.prepare(ready.folder, **{**FOLDS, **change})
        assert "\n" not in str(caught.value)
    assert (ready.folder / "run.json").read_bytes() == before


def test_predictions_from_a_file_are_read_once(data, tmp_path, monkeypatch) -> None:
    run = coun.train(data, "mlp", epochs=1, out=tmp_path / "original")
    p = np.random.default_rng(0).dirichlet(np.ones(10), (2, len(data.train)))
    np.savez(tmp_path / "a.npz", probabilities=p)
    np.savez(tmp_path / "b.npz", probabilities=p[::-1])
    coun.prepare(run, predictions=tmp_path / "a.npz")
    monkeypatch.setattr(preparation, "write_record", None)
    assert coun.prepare(run.folder, predictions=tmp_path / "a.npz").out_of_fold.repeats == 2
    with pytest.raises(coun.CounError, match=r"differs in predictions\)"):
        coun.prepare(run.folder, predictions=tmp_path / "b.npz")


def test_an_interrupted_preparation_of_other_groups_is_not_continued(
    data, tmp_path, monkeypatch
) -> None:
    run = coun.train(data, "mlp", epochs=1, out=tmp_path / "original")
    folds = {"folds": 2, "repeats": 1, "epochs": 1}
    with monkeypatch.context() as patch:
        patch.setattr(
            preparation, "predict", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            coun.prepare(run, **folds)
    groups = dict.fromkeys(data.ids[:9], "ann")
    prepared = coun.prepare(run, **folds, groups=groups)
    fresh = coun.prepare(coun.train(data, "mlp", epochs=1), **folds, groups=groups)
    assert prepared.out_of_fold.digest == fresh.out_of_fold.digest
    assert not (run.folder / "folds").exists()


def test_a_preparation_by_another_process_in_the_meantime_is_noticed(data, tmp_path) -> None:
    run = coun.train(data, "mlp", epochs=1, out=tmp_path / "original")
    coun.prepare(run.folder, folds=2, repeats=1, epochs=1)
    with pytest.raises(coun.CounError, match="another process prepared"):
        coun.prepare(run, folds=3, repeats=1, epochs=1)
