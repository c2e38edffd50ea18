"""What any earlier run forgot stays forgotten, and the record tells how it came about."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import coun
from coun.errors import CounError
from coun.models import weights_digest
from coun.runs import history
from coun.runs.chain import accumulated


@pytest.fixture(scope="module")
def data():
    return coun.load("digits", limit=100)


@pytest.fixture(scope="module")
def original(data):
    return coun.train(data, "mlp", epochs=1)


def listed(data, *positions):
    return coun.Split.by_index(data, data.train.numbers[list(positions)])


def forget(run, split, method="finetune", **settings):
    return coun.unlearn(run, split, method, epochs=1, **settings)


def test_a_second_request_keeps_the_first_in_force(original, data):
    first, second = listed(data, 0, 1, 2), listed(data, 3, 4)
    run = forget(forget(original, first), second)
    assert set(run.split.forget.tolist()) == {*first.forget.tolist(), *second.forget.tolist()}
    assert torch.equal(run.split.new, second.forget)
    assert not torch.isin(run.split.retain, first.forget).any()
    assert (run.record.split["new_count"], len(run.split.earlier)) == (2, 3)


def test_a_retrain_of_the_second_request_is_without_all_rows(original, data):
    first, second = listed(data, 0, 1, 2), listed(data, 3, 4)
    run = forget(forget(original, first), second)
    exact = coun.unlearn(run, None, "retrain", epochs=1, seed=3)
    both = listed(data, 0, 1, 2, 3, 4)
    plain = coun.train(data, "mlp", split=both, epochs=1, seed=3)
    assert weights_digest(exact.model) == weights_digest(plain.model)
    assert coun.evaluate(run, against=exact)["counts"]["forget"] == 5


def test_a_request_for_forgotten_rows_only_is_refused(original, data):
    run = forget(original, listed(data, 0, 1, 2))
    with pytest.raises(CounError, match="were forgotten before") as caught:
        forget(run, listed(data, 1, 2))
    assert "\n" not in str(caught.value)


def test_the_same_request_may_be_worked_on_again(original, data):
    run = forget(original, listed(data, 0, 1))
    assert forget(run, listed(data, 0, 1)).split is run.split
    with pytest.raises(CounError, match="has forgotten its 2 rows already; name new rows"):
        forget(run, None)


def test_the_history_survives_the_folders_of_earlier_runs(original, data, tmp_path):
    coun.train(data, "mlp", epochs=1, out=tmp_path / "o")
    forget(tmp_path / "o", listed(data, 0, 1, 2), out=tmp_path / "a")
    forget(tmp_path / "a", listed(data, 3), "coun", out=tmp_path / "b")
    digest = coun.Run.open(tmp_path / "a").record.weights_sha256
    shutil.rmtree(tmp_path / "o")
    shutil.rmtree(tmp_path / "a")
    steps = history(tmp_path / "b")
    assert [s.method for s in steps] == ["retrain", "finetune", "coun"]
    assert [(s.new_rows, s.forgotten_rows) for s in steps] == [(0, 0), (3, 3), (1, 4)]
    assert steps[1].weights_sha256 == digest
    assert steps[1].request == "3 rows listed"
    assert all(s.flops > 0 and s.finished for s in steps)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 99), min_size=1, max_size=8), min_size=1, max_size=6))
def test_no_sequence_of_requests_retains_a_forgotten_row(data, requests):
    split, forgotten = None, set()
    for positions in requests:
        numbers = set(data.train.numbers[sorted(positions)].tolist())
        request = listed(data, *sorted(positions))
        if numbers <= forgotten and numbers != forgotten:
            with pytest.raises(CounError, match="forgotten before"):
                accumulated(request, split, data)
            continue
        split = accumulated(request, split, data)
        forgotten |= numbers
        assert set(split.forget.tolist()) == forgotten
        assert not forgotten & set(split.retain.tolist())
        assert len(split.forget) + len(split.retain) == 100
