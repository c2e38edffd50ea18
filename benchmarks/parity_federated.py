"""The comparisons of parity.py with federations and with models of several networks."""

from __future__ import annotations

import contextlib
import copy
import json
import runpy
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from parity_common import (
    CONTIGUOUS,
    Batches,
    Case,
    Line,
    differences,
    flat_weights,
    module_of,
    notebook,
    on_the_cpu,
    recorded,
    weights,
)
from torch import Tensor, nn

import coun
from coun.data.requests import Client
from coun.engine import Task
from coun.federated import Federation, rounds
from coun.federated import pgd as pgd_module
from coun.federated.averaging import average
from coun.federated.fed_eraser import scaled_to
from coun.methods.sisa import Sisa
from coun.models.ensemble import Shards

CLIENTS, ROUNDS, LEAVING = 4, 6, 2


class ByEpoch:
    """The batches of one client, of which each new iterator gives those of the next epoch."""

    def __init__(self) -> None:
        self.epochs: list[Batches] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.epochs.pop(0))


def federation(c: Case, model: str) -> tuple[coun.Run, coun.Split, list[Any], list[Any]]:
    """An Original that four clients trained, a request of one, and the models of every round.

    Returns: also the server's model before each round and at the end, and those of the clients.
    """
    setting = Federation(clients=CLIENTS, local_epochs=2)
    before: list[Any] = []
    sent: list[Any] = []
    plain = rounds._average

    def remember(present: Any, states: Any, *rest: Any) -> Any:
        after = plain(present, states, *rest)
        before.extend([after] if before else [copy.deepcopy(present), after])
        sent.append([copy.deepcopy(state) for state in states])
        return after

    with patch.object(rounds, "_average", remember):
        original = coun.train(
            c.run.data, model, federation=setting, epochs=2 * ROUNDS, batch_size=32, lr=0.01,
            schedule="constant", warmup=0.0, weight_decay=0.0, options=CONTIGUOUS,
        )  # fmt: skip
    request = Client(client=LEAVING, partition=setting.partition)
    return original, coun.Split.of(c.run.data, request), before, sent


def as_models(original: coun.Run, states: list[Any]) -> list[nn.Module]:
    models = []
    for state in states:
        model = coun.models.copy_model(original.model)
        model.load_state_dict(state)
        models.append(model)
    return models


def fed_eraser(folder: Path, c: Case) -> Iterator[Line]:
    """FedEraser on a perceptron, with an interval of 2 and half of the local epochs."""
    name = "FedEraser-Code"
    original, split, before, sent = federation(c, "mlp")
    stubs = {k: types.ModuleType(k) for k in ("model_initiation", "data_preprocess")}
    stubs["model_initiation"].model_init = None  # type: ignore[attr-defined]
    stubs["data_preprocess"].data_set = None  # type: ignore[attr-defined]
    base = module_of(folder / "FL_base.py", extra=stubs)
    script = module_of(folder / "Fed_Unlearn_base.py", extra={**stubs, "FL_base": base})
    with recorded() as steps:
        ours = coun.unlearn(
            original, split, "fed_eraser", interval=2, local_ratio=0.5, mode="reference",
            options=CONTIGUOUS,
        )  # fmt: skip
    loaders = [ByEpoch() for _ in range(CLIENTS)]
    staying = [k for k in range(CLIENTS) if k != LEAVING]
    batches, replayed = steps.of("retain"), 2 * ROUNDS * CLIENTS  # epochs of clients
    size = len(batches) // (replayed + (ROUNDS // 2 - 1) * len(staying))
    for number, at in enumerate(range(replayed * size, len(batches), size)):
        loaders[staying[number % len(staying)]].epochs.append(Batches(batches[at : at + size]))
    options = types.SimpleNamespace(
        if_unlearning=True, forget_client_idx=LEAVING, N_client=CLIENTS, unlearn_interval=2,
        global_epoch=ROUNDS, local_epoch=2, forget_local_epoch_ratio=0.5, use_gpu=False,
        cuda_state=False, local_lr=0.01, train_with_test=False, if_retrain=False,
    )  # fmt: skip
    olds = as_models(original, before), as_models(original, [s for r in sent for s in r])
    with on_the_cpu():
        result = script.unlearning(*olds, loaders, None, options)
    case = Case(c.logits, c.labels, original, split)
    what = f"FedEraser, `mode=reference`: weights after {ROUNDS // 2} rounds"
    yield weights(case, what, name, ours, result[-1], "")

    # One step of equation 2 and of their function, from the same models.
    present, old, new = before[-1], sent[0], sent[1]
    with on_the_cpu():
        after = script.unlearning_step_once(
            *(as_models(original, [states[k] for k in staying]) for states in (old, new)),
            *as_models(original, [before[1], present]),
        )
    names = [key for key, _ in original.model.named_parameters()]
    steps_of_clients = []
    for k in staying:
        lengths = {n: float((old[k][n] - before[0][n]).norm()) for n in names}
        steps_of_clients.append(scaled_to(present, new[k], lengths))
    equation = average(steps_of_clients, [1] * len(staying))
    sides = [torch.cat([x[n].flatten() for n in names]) for x in (equation, after.state_dict())]
    words = (
        "theirs scales the mean of the clients, to its distance from the server's model after the "
        "round; equation 2 scales each client, to the distance from the model before"
    )
    yield Line("FedEraser, equation 2: weights after a step", name, *differences(*sides), words)


def pgd(folder: Path, c: Case) -> Iterator[Line]:
    """The ascent of the client that leaves, in a ball around the reference."""
    name = "federated-unlearning"
    original, split, _, _ = federation(c, "mlp")
    randoms: list[nn.Module] = []
    centres: list[dict[str, Tensor]] = []
    projected: list[dict[str, Tensor]] = []
    project, fresh = pgd_module.project, Task.fresh

    def keep(model: nn.Module, *, center: dict[str, Tensor], radius: float) -> None:
        project(model, center=center, radius=radius)
        centres.append(center)
        projected.append({k: p.detach().clone() for k, p in model.named_parameters()})

    def drawn(self: Task, *purpose: str | int) -> nn.Module:
        randoms.append(result := fresh(self, *purpose))
        return result

    # Their code compares the square of the distance with a third of the mean square.
    with (
        patch.object(pgd_module, "project", keep),
        patch.object(Task, "fresh", drawn),
        patch.object(pgd_module, "RANDOM_MODELS", 10),
        patch.object(pgd_module, "fmean", lambda values: (sum(v**2 for v in values) / 10) ** 0.5),
        recorded() as steps,
    ):
        coun.unlearn(
            original, split, "pgd", radius=3**-0.5, ascent_lr=2.0, steps=6, epochs=1,
            batch_size=32, options=CONTIGUOUS,
        )  # fmt: skip
    cells = notebook(folder / "federated_unlearning.ipynb")
    source = next(cell for cell in cells if "distance_threshold = 2.2" in cell)
    for old, new in (
        ("momentum=0.9", "momentum=0.0"), ("clip_grad = 5", "clip_grad = 0"),
        ("distance_threshold = 2.2", "distance_threshold = 1e9"), ("lr = 0.01", "lr = 2.0"),
    ):  # fmt: skip
        assert old in source
        source = source.replace(old, new)
    reference = coun.models.copy_model(original.model)
    reference.load_state_dict(centres[0])
    queue = [reference, reference, *randoms[-10:], *[reference] * 9]
    utils = module_of(folder / "utils/utils.py").Utils
    utils.evaluate = lambda *values: 0.0
    loader = ByEpoch()
    loader.epochs = [steps.of("forget"), *(Batches() for _ in range(4))]
    state = reference.state_dict()
    names: dict[str, Any] = {
        "FLNet": lambda: copy.deepcopy(queue.pop(0)), "copy": copy, "nn": nn, "np": np,
        "torch": torch, "Utils": utils, "num_parties": CLIENTS, "party_to_be_erased": 0,
        "fusion_types": ["FedAvg"], "fusion_types_unlearn": ["Retrain", "Unlearn"],
        "model_dict": {"FedAvg": state}, "party_models_dict": {"FedAvg": [reference]},
        "trainloader_lst": [loader], "testloader": None, "testloader_poison": None,
    }  # fmt: skip
    with on_the_cpu():
        exec(source, names)
    sides = [
        torch.cat([x[k].flatten() for k in projected[-1]])
        for x in (projected[-1], names["unlearned_model_dict"]["Unlearn"])
    ]
    start = torch.cat([v.flatten() for v in centres[0].values()])
    away = float((sides[0] - start).norm())
    words = (
        f"{len(projected)} steps, the last at {away:.3g} of {float(names['threshold']) ** 0.5:.3g} "
        "from the reference; theirs has momentum 0.9 and clips gradients, which is switched off, "
        "and compares squared distances, which radius=0.577 does here"
    )
    yield Line("PGD: weights after the ascent", name, *differences(*sides), words)


def sisa(folder: Path, c: Case) -> Iterator[Line]:
    """SISA after a request, with whole shards as batches: three shards of two slices.

    Their scripts read a container of files; the order of rows in a batch does not matter.
    """
    name, data, shards, slices, epochs = "machine-unlearning", c.run.data, 3, 2, 4
    firsts: list[dict[str, Tensor]] = []
    first = Shards.init_member

    def remember(self: Shards, number: int) -> None:
        first(self, number)
        if number % slices == 0:
            firsts.append(copy.deepcopy(self.member(number).inner.state_dict()))

    assigned: list[Tensor] = []
    assign = Sisa.assign

    def watch(self: Sisa, *values: Any) -> Tensor:
        assigned.append(result := assign(self, *values))
        return result

    with patch.object(Shards, "init_member", remember), patch.object(Sisa, "assign", watch):
        ours = coun.unlearn(
            coun.train(data, "mlp", epochs=1, options=CONTIGUOUS), c.split, "sisa", shards=shards,
            slices=slices, epochs=epochs, batch_size=len(data.train), lr=0.5, momentum=0.0,
            weight_decay=0.0, schedule="constant", warmup=0.0, unaugmented_epochs=epochs,
            options=CONTIGUOUS,
        )  # fmt: skip
    forget = c.split.rows(data, "forget").numpy()
    place = [(assigned[0] == k).nonzero().flatten().numpy() for k in range(shards * slices)]
    split = [np.concatenate(place[k * slices : (k + 1) * slices]) for k in range(shards)]
    images = {
        "train": data.views.evaluate(data.train.fetch(torch.arange(len(data.train)))).numpy(),
        "test": data.views.evaluate(data.test.fetch(torch.arange(len(data.test)))).numpy(),
    }
    labels = {"train": data.train.labels.numpy(), "test": data.test.labels.numpy()}
    loader = types.ModuleType("data.loader")
    loader.load = lambda rows, category="train": (  # type: ignore[attr-defined]
        images[category][rows], labels[category][rows],
    )  # fmt: skip
    architecture = types.ModuleType("architectures.network")
    waiting = [firsts[k] for k in range(shards)]

    def network(*values: Any, **options: Any) -> nn.Module:
        model = coun.models.build("mlp", classes=10, shape=tuple(data.shape))
        model.load_state_dict(waiting[number])
        return model

    architecture.Model = network  # type: ignore[attr-defined]
    modules = {"architectures.network": architecture, "data.loader": loader}
    modules |= {k: types.ModuleType(k) for k in ("architectures", "data")}
    with tempfile.TemporaryDirectory() as place_of_files, contextlib.chdir(place_of_files):
        for part in ("cache", "times", "outputs"):
            Path("containers/c", part).mkdir(parents=True)
        requests = [np.intersect1d(rows, forget) for rows in split]
        for file, lists in (("splitfile", split), ("requestfile:latest", requests)):
            kept = np.empty(shards, dtype=object)
            kept[:] = lists
            np.save(f"containers/c/{file}.npy", kept)
        Path("data").mkdir()
        facts = {"input_shape": list(data.shape), "nb_classes": 10, "dataloader": "loader"}
        Path("data/datasetfile").write_text(json.dumps(facts | {"nb_test": len(data.test)}))
        common = ["--container", "c", "--dataset", "data/datasetfile"]
        stubs = {**modules, "sharded": module_of(folder / "sharded.py")}
        with patch.dict(sys.modules, stubs), on_the_cpu():
            models = []
            for number in range(shards):
                options = [
                    "sisa.py", "--model", "network", "--shard", str(number), "--slices",
                    str(slices), "--epochs", str(epochs), "--batch_size", "100000",
                    "--learning_rate", "0.5", "--train", "--test", *common,
                ]  # fmt: skip
                with patch.object(sys, "argv", options):
                    models.append(runpy.run_path(str(folder / "sisa.py"))["model"])
            options = ["aggregation.py", "--shards", str(shards), *common]
            with patch.object(sys, "argv", options):
                votes = runpy.run_path(str(folder / "aggregation.py"))["votes"]
    ensemble = ours.model
    assert isinstance(ensemble, Shards)
    sides = [
        torch.cat([flat_weights(m) for m in side])
        for side in (
            [ensemble.member((k + 1) * slices - 1).inner for k in range(shards)],
            models,
        )
    ]
    words = "batches of whole shards, with their order of rows and constant rate"
    yield Line("SISA after a request: weights of 3 shards", name, *differences(*sides), words)
    logits = coun.engine.predict(ours.classifier, data, data.test).logits
    other = int((logits.argmax(1).numpy() != votes).sum())
    what = "SISA: votes on test rows that differ"
    yield Line(what, name, float(other), other / len(votes), f"of {len(votes)} rows")
