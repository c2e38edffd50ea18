"""Presets do what their code bases do, and every switch can be thrown by itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from sklearn.svm import SVC

import coun
from coun.bench import bench
from coun.bench.execute.attacks import attack
from coun.bench.spec.protocols import PROTOCOLS
from coun.bench.spec.reading import parse
from coun.bench.spec.workload import data_spec
from coun.methods import make
from coun.models import Outputs
from coun.runs import Predictions


@pytest.fixture
def outputs():
    g = torch.Generator().manual_seed(0)
    labels = {n: torch.randint(0, 3, (n_,), generator=g) for n, n_ in SIZES.items()}
    logits = {n: torch.randn(len(y), 3, generator=g) for n, y in labels.items()}
    for name, bonus in (("retain", 4.0), ("forget", 3.0), ("test", 1.0)):
        logits[name][torch.arange(len(labels[name])), labels[name]] += bonus
    return logits, labels


def ask(kind, logits, labels, gone=None) -> float:
    """The attack on a model with these outputs, where class *gone* was forgotten."""
    outputs = {part: Outputs(x, x) for part, x in logits.items()}
    return attack(kind, Predictions(outputs, labels), SimpleNamespace(forget_class=gone))


SIZES = {"retain": 60, "forget": 30, "test": 40}


def test_salun_takes_the_first_members(outputs) -> None:
    logits, labels = outputs
    p = {n: x.double().softmax(1)[range(len(x)), labels[n]].numpy() for n, x in logits.items()}
    model = SVC(C=3, gamma="auto").fit(
        np.concatenate([p["retain"][:40], p["test"]])[:, None], [1] * 40 + [0] * 40
    )
    wanted = 100 * accuracy_score([0] * 30, model.predict(p["forget"][:, None]))
    assert ask("svc-first", logits, labels) == pytest.approx(wanted)


def test_a_forgotten_class_leaves_the_test_rows(outputs) -> None:
    logits, labels = outputs
    kept = labels["test"] != 2
    rest = [{**one, "test": one["test"][kept]} for one in (logits, labels)]
    for kind in ("svc-first", "entropy", "loss"):
        assert ask(kind, logits, labels, gone=2) == ask(kind, *rest)


def test_ssds_column_has_the_other_direction(outputs) -> None:
    logits, labels = outputs
    sure = {**logits, "forget": logits["forget"] + 20 * torch.eye(3)[labels["forget"]]}
    assert ask("entropy", sure, labels) == 100
    assert ask("svc-first", {**logits, "forget": torch.zeros(30, 3)}, labels) == 100
    assert ask("entropy", {**logits, "forget": torch.zeros(30, 3)}, labels) == 0


def test_deepunlearns_column_is_a_coin_for_twins(outputs) -> None:
    logits, _ = outputs
    g = torch.Generator().manual_seed(1)
    same = torch.randn(600, 3, generator=g)
    twins = {**logits, "forget": same[:300], "test": same[300:]}
    zeros = {n: torch.zeros(len(x), dtype=torch.long) for n, x in twins.items()}
    assert ask("loss", twins, zeros) == pytest.approx(50, abs=8)
    apart = {**twins, "forget": same[:300] + torch.tensor([30.0, 0, 0])}
    assert ask("loss", apart, zeros) > 95


def test_presets_split_normalise_and_augment_as_they_say(tiny_text) -> None:
    def data(protocol: str, switches: str = ""):
        text = tiny_text(top=f'protocol = "{protocol}"\n{switches}')
        config = parse(text)
        return data_spec(config, config.workload[0]).load()

    plain, salun, deep = data("coun"), data("salun"), data("deepunlearn")
    assert (len(plain.train), len(salun.train), len(deep.train)) == (200, 180, 190)
    counts = [np.bincount(d.train.labels.numpy(), minlength=10) for d in (plain, salun)]
    assert (np.abs(0.9 * counts[0] - counts[1]) < 1).all()
    pixels = salun.train.fetch(torch.arange(180)).double() / 255
    assert salun.views.mean == pytest.approx((float(pixels.mean()),), abs=1e-4)
    assert plain.views.mean == (0.5,)
    x = deep.train.fetch(torch.arange(4))
    assert torch.equal(deep.views(x, torch.Generator()), deep.views.evaluate(x))
    mixed = data("salun", "switches = { validation = 0.0 }")
    assert len(mixed.train) == 200


@pytest.mark.parametrize(
    ("switches", "needle"),
    [
        ("validaton = 0.1", "did you mean 'validation'"),
        ("validation = 1.5", "expected a share"),
        ('mia = "svm"', "known: entropy, loss, svc, svc-first"),
    ],
)
def test_wrong_switches_are_refused(tiny_text, switches, needle) -> None:
    with pytest.raises(coun.CounError, match=needle):
        parse(tiny_text(top=f"switches = {{ {switches} }}"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_runs_and_is_on_record(name, config_file, tmp_path) -> None:
    found = bench(
        config_file(top=f'protocol = "{name}"'), tmp_path / "out", only=["seed=0"], quiet=True
    )
    assert not found["failures"]
    assert found["protocol"]["mia"] == PROTOCOLS[name].mia
    assert all(0 <= row["mia_efficacy"] <= 100 for row in found["rows"])
    text = coun.bench.report(tmp_path / "out", paper=True)[0].read_text()
    assert f"Protocol {name}" in text
    assert "contradict their own row" in text


@pytest.mark.parametrize("name", PROTOCOLS)
def test_settings_of_a_protocol_are_settings_of_its_methods(name) -> None:
    for method, settings in PROTOCOLS[name].methods.items():
        make(method, settings)
