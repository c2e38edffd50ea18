"""Clients as functions, and as processes of Flower: the numbers of one process."""

import pytest
import torch

import coun
from coun.data.requests import Client
from coun.errors import CounError
from coun.federated import Federation
from coun.federated.averaging import average
from coun.federated.local import Job

FEDERATION = Federation(clients=3, local_epochs=2)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """An Original, NoT and a Retrain of client 1, each as a run and as a job."""
    folder = tmp_path_factory.mktemp("runs")
    data = coun.load("digits", limit=90)
    split = coun.Split.of(data, Client(client=1, partition=FEDERATION.partition))
    original = coun.train(
        data, "cnn", federation=FEDERATION, epochs=3, batch_size=16, out=folder / "original"
    )
    runs = {
        "original": original,
        "not": coun.unlearn(original, split, "not", epochs=3),
        "retrain": coun.unlearn(original, split, "retrain"),
        "coun": coun.unlearn(original, split, "finetune", epochs=2, contrast={"weight": 0.5}),
    }

    def job(name):
        record = runs[name].record
        settings = {
            key: value
            for key, value in record.method.settings.items()
            if key not in ("federation", "contrast")
        }
        return Job(
            *("digits", "cnn", FEDERATION, record.method.name.split("+")[0], settings),
            contrast={"weight": 0.5} if name == "coun" else None,
            kind=record.kind,
            forget=() if name == "original" else tuple(split.forget.tolist()),
            weights=str(folder / "original" / "model.safetensors")
            if record.kind == "unlearned"
            else "",
            limit=90,
        )

    return {name: (runs[name], job(name)) for name in runs}


@pytest.mark.parametrize("name", ["original", "not", "retrain", "coun"])
def test_clients_as_functions_give_the_bits_of_one_process(jobs, name):
    run, job = jobs[name]
    state, rounds = job.start()
    assert rounds == (1 if name == "coun" else 2)
    for round in range(rounds):
        replies = [job.train_locally(client, round, state) for client in range(3)]
        replies = [(new, rows) for new, rows in replies if rows]
        assert len(replies) == (3 if name == "original" else 2)
        state = average([new for new, _ in replies], [rows for _, rows in replies])
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_client_that_left_returns_the_model_unchanged(jobs):
    _, job = jobs["not"]
    state, _ = job.start()
    unchanged, rows = job.train_locally(1, 0, state)
    assert rows == 0
    assert all(torch.equal(unchanged[key], value) for key, value in state.items())


def test_methods_that_are_more_than_rounds_are_refused():
    job = Job("digits", "mlp", FEDERATION, "pgd", limit=60)
    with pytest.raises(CounError, match="pgd needs more than rounds"):
        job.start()


def test_a_client_a_round_or_a_model_of_another_job_is_refused(refused):
    job = Job("digits", "mlp", FEDERATION, settings={"epochs": 2}, limit=60)
    state, _ = job.start()
    for client in (-1, 3):  # as an engine numbers them that has more clients
        with refused(f"client {client}", "expected 0 to 2"):
            job.train_locally(client, 0, state)
    with refused("round is -1", "count from 0"):
        job.train_locally(0, -1, state)
    for other in ({}, {key: value[..., :1] for key, value in state.items()}):
        with refused("the server sent another model than mlp"):
            job.train_locally(0, 0, other)


def test_settings_that_are_no_federation_are_refused_in_one_line(refused):
    data = coun.load("digits", limit=60)
    with refused("federation is an object of type int", "settings by name"):
        coun.train(data, "mlp", federation=3, epochs=1)
    with refused("unknown setting of a federation 'client'", "did you mean 'clients'"):
        coun.train(data, "mlp", federation={"client": 3}, epochs=1)
    with refused("clients is 0", "greater than or equal to 1"):
        coun.train(data, "mlp", federation={"clients": 0}, epochs=1)


def test_without_flower_the_error_says_how_to_get_it(jobs):
    from coun.federated import flower

    try:
        import flwr  # noqa: F401
    except ImportError:
        with pytest.raises(CounError, match="Flower is not installed"):
            flower.simulate(jobs["not"][1])


def test_flower_gives_the_same_numbers_with_client_processes(jobs, monkeypatch):
    """Every client is a process of Ray; only the average is rounded in another way."""
    pytest.importorskip("flwr")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine, 15 starves the clients
    from coun.federated import flower

    for name in ("original", "not"):
        run, job = jobs[name]
        state = flower.simulate(job)
        for key, value in run.model.state_dict().items():
            torch.testing.assert_close(
                state[key].to(value.dtype), value, rtol=1e-4, atol=1e-5, msg=key
            )
