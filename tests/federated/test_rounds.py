"""Federated training beside plain training, a naive loop, and what must hold of any of it."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.data.requests import Client
from coun.engine import Checkpoint, Optimizer
from coun.errors import CounError
from coun.federated import Federation
from coun.federated.averaging import state_bytes
from coun.federated.rounds import PartOfSchedule

EAGER = coun.Options(checkpoint_every=0)


def weights(run):
    return run.record.weights_sha256


@pytest.mark.parametrize("schedule", ["cosine", "multistep"])
def test_one_client_with_all_rows_is_plain_training_to_the_bit(small, schedule):
    plain = coun.train(small, "cnn", epochs=2, schedule=schedule)
    alone = coun.train(
        small, "cnn", epochs=2, schedule=schedule, federation={"clients": 1, "local_epochs": 2}
    )
    assert weights(alone) == weights(plain)


def test_epochs_without_augmentation_are_the_last_of_all_rounds(small):
    federation = {"clients": 2, "local_epochs": 2}
    settings = {"epochs": 3, "federation": federation}
    unchanged = replace(small, views=replace(small.views, letters="N"))
    digests = [
        weights(coun.train(data, "mlp", **settings, unaugmented_epochs=epochs))
        for data, epochs in ((small, 0), (small, 1), (small, 3), (unchanged, 0))
    ]
    assert digests[2] == digests[3]
    assert len(set(digests)) == 3


def test_rounds_are_those_of_a_naive_loop(small):
    """Full batches and no augmentation leave no randomness but the initial weights."""
    data = replace(small, views=coun.Views(letters=""))
    settings = {"epochs": 5, "batch_size": 256, "lr": 0.2, "schedule": "cosine", "warmup": 0.0}
    federation = Federation(clients=3, spread="dirichlet", alpha=1.0, local_epochs=2)
    split = coun.Split.random(data, 0.2)
    run = coun.train(data, "mlp", split=split, federation=federation, **settings)

    with coun.seeds.Seeds(0).fork("retrain").as_global("init", "retrain"):
        model = run.build()
    clients = federation.clients_of(data)
    retained = torch.isin(data.train.numbers, split.retain)
    schedule = Optimizer(lr=0.2, schedule="cosine")
    for first, epochs in ((0, 2), (2, 2), (4, 1)):
        before = {name: p.detach().clone() for name, p in model.state_dict().items()}
        total, count = dict.fromkeys(before, 0.0), 0
        for client in range(3):
            model.load_state_dict(before)
            rows = (retained & (clients == client)).nonzero().flatten()
            x, y = data.train.fetch(rows).float() / 255, data.train.labels[rows]
            optimizer = torch.optim.SGD(model.parameters(), 0.2, 0.9, weight_decay=5e-4)
            for epoch in range(first, first + epochs):
                optimizer.param_groups[0]["lr"] = schedule.rate(epoch / 5)
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            for name, value in model.state_dict().items():
                total[name] = total[name] + len(rows) * value
            count += len(rows)
        model.load_state_dict({name: value / count for name, value in total.items()})
    for name, value in model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_part_of_a_schedule_joins_to_the_whole():
    whole = Optimizer(lr=0.1, warmup=0.2)
    parts = [PartOfSchedule(lr=0.1, warmup=0.2, start=k / 4, share=1 / 4) for k in range(4)]
    rates = [part.rate(p) for part in parts for p in (0.0, 0.5)]
    assert rates == pytest.approx([whole.rate(k / 8) for k in range(8)])


def test_a_client_that_left_takes_no_part(start, client_split):
    """Whatever its rows hold, the result is the same."""
    data = start.data
    images = data.train.images.clone()
    images[client_split.rows(data, "forget")[5:]] = 0
    changed = replace(data, train=replace(data.train, images=images))
    for method in ("not", "retrain"):
        runs = [
            coun.unlearn(replace(start, data=d), client_split, method, epochs=1)
            for d in (data, changed)
        ]
        assert weights(runs[0]) == weights(runs[1])
        assert not any("client 1" in name for name in runs[0].record.stages)
        assert any("client 2" in name for name in runs[0].record.stages)


def test_the_server_negates_once_and_clients_train_in_every_round(start, split):
    run = coun.unlearn(start, split, "not", epochs=3)
    stages = run.record.stages
    assert stages[0].startswith("negate")
    assert sum(name.startswith("negate") for name in stages) == 1
    assert sum("server" in name for name in stages) == 3
    assert run.record.method.settings["federation"]["clients"] == 4


def test_bytes_are_two_models_for_each_client_and_round(start, client_split):
    run = coun.unlearn(start, client_split, "finetune", epochs=3)
    assert run.record.cost.bytes_sent == 3 * 3 * 2 * state_bytes(run.model)
    assert start.record.cost.bytes_sent == 3 * 4 * 2 * state_bytes(run.model)


def test_the_module_of_weight_zero_changes_nothing(start, split):
    plain = coun.unlearn(start, split, "finetune", epochs=1)
    without = coun.unlearn(start, split, "coun", epochs=1, weight=0.0)
    module = coun.unlearn(start, split, "not", epochs=1, contrast={"weight": 0.5})
    assert weights(without) == weights(plain)
    assert module.record.method.settings["contrast"]["weight"] == 0.5
    assert weights(module) != weights(plain)


class Killed(BaseException):
    """Simulates a SIGKILL."""


@pytest.mark.parametrize("point", [2, 9, 13, 14, 15, 22])
def test_a_run_killed_at_a_save_resumes_to_the_same_bits(
    monkeypatch, tmp_path, start, split, point
):
    def call(out):
        return coun.unlearn(start, split, "not", epochs=2, batch_size=128, out=out, options=EAGER)

    whole, real, calls = call(None), Checkpoint.save, []

    def save(self, *args):
        real(self, *args)
        calls.append(args)
        if len(calls) == point:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Checkpoint, "save", save)
        call(tmp_path / "run")
    if point > 14:  # the first round is complete, so the models of its clients are gone
        saved = {path.stem for path in (tmp_path / "run/checkpoint").glob("stage-*")}
        assert min(saved) == "stage-008"
    again = call(tmp_path / "run")
    assert weights(again) == weights(whole)
    assert again.record.cost.bytes_sent == whole.record.cost.bytes_sent
    assert again.record.cost.flops == whole.record.cost.flops


def test_a_run_is_opened_and_unlearned_again_in_its_federation(tmp_path, start, small):
    federation = {"clients": 4, "spread": "dirichlet", "alpha": 1.0}
    coun.train(small, "mlp", federation=federation, epochs=1, out=tmp_path / "original")
    request = Client(client=0, partition=Federation.of(federation).partition)
    opened = coun.Run.open(tmp_path / "original", data=small)
    first = coun.unlearn(opened, coun.Split.of(small, request), "finetune", out=tmp_path / "first")
    opened = coun.Run.open(tmp_path / "first", data=small)
    second = coun.unlearn(opened, coun.Split.by_class(small, 3), "finetune")
    assert second.record.method.settings["federation"] == start.record.original["federation"]
    assert len(second.split.forget) > len(first.split.forget)


def test_auto_takes_a_method_that_clients_can_carry_out(small):
    original = coun.train(small, "mlp", federation={"clients": 2}, epochs=4)
    run = coun.unlearn(original, coun.Split.by_class(small, 3), "auto")
    assert run.record.method.name == "not"


def test_what_cannot_be_federated_is_refused(start, split, original, small):
    for method in ("scrub", "ssd", "neggrad_plus"):
        with pytest.raises(CounError, match=f"{method} does not train on retain rows alone"):
            coun.unlearn(start, split, method)
    with pytest.raises(CounError, match="no federation keeps any"):
        coun.unlearn(start, split, "rewind")
    with pytest.raises(CounError, match="cannot be averaged"):
        coun.unlearn(start, split, "finetune", contrast={"loss": "moco"}, epochs=1)
    with pytest.raises(CounError, match="pgd works in a federation only"):
        coun.unlearn(original, split, "pgd")
    with pytest.raises(CounError, match="several networks"):
        coun.train(small, "mlp", method="sisa", federation={"clients": 2})
    with pytest.raises(CounError, match="clients is 0; expected greater than or equal to 1"):
        coun.train(small, "mlp", federation={"clients": 0})
    other = replace(small, train=small.train.take(torch.arange(150)), source="")
    with pytest.raises(CounError, match="not those that were divided among the clients"):
        coun.unlearn(replace(start, data=other), coun.Split.random(other, 0.1), "finetune")


def test_a_client_with_a_single_row_sits_out(small):
    """BatchNorm cannot normalise one row."""
    federation = Federation(clients=4)
    client = federation.clients_of(small)
    rows = (client == 3).nonzero().flatten()[1:]
    split = coun.Split.by_index(small, small.train.numbers[rows])
    run = coun.train(small, "cnn", split=split, federation=federation, epochs=1)
    assert not any("client 3" in name for name in run.record.stages)
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())


def test_dropout_does_not_break_the_equality_with_plain_training(small, dropping):
    federation = {"clients": 1, "local_epochs": 1}
    runs = [coun.train(small, dropping, epochs=1, federation=f) for f in (None, federation)]
    assert isinstance(runs[0].model, nn.Module)
    assert weights(runs[0]) == weights(runs[1])
