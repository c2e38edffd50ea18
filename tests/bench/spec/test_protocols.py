"""Presets do what their code bases do, and every switch can be changed by itself."""

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


def attack_on(kind, logits, labels, forgotten=()) -> float:
    """The attack on a model with these outputs, after the classes *forgotten* were forgotten."""
    outputs = {part: Outputs(x, x) for part, x in logits.items()}
    return attack(kind, Predictions(outputs, labels), SimpleNamespace(forgotten_classes=forgotten))


SIZES = {"retain": 60, "forget": 30, "test": 40}


def test_the_members_of_salun_are_the_first_retain_rows(outputs) -> None:
    logits, labels = outputs
    p = {n: x.double().softmax(1)[range(len(x)), labels[n]].numpy() for n, x in logits.items()}
    model = SVC(C=3, gamma="auto").fit(
        np.concatenate([p["retain"][:40], p["test"]])[:, None], [1] * 40 + [0] * 40
    )
    expected = 100 * accuracy_score([0] * 30, model.predict(p["forget"][:, None]))
    assert attack_on("svc-first", logits, labels) == pytest.approx(expected)


def test_attacks_leave_out_the_test_rows_of_a_forgotten_class(outputs) -> None:
    logits, labels = outputs
    others = labels["test"] != 2
    rest = [{**values, "test": values["test"][others]} for values in (logits, labels)]
    for kind in ("svc-first", "entropy", "loss"):
        assert attack_on(kind, logits, labels, forgotten=(2,)) == attack_on(kind, *rest)


def test_the_attack_of_ssd_is_lower_for_forgotten_rows(outputs) -> None:
    logits, labels = outputs
    sure = {**logits, "forget": logits["forget"] + 20 * torch.eye(3)[labels["forget"]]}
    assert attack_on("entropy", sure, labels) == 100
    assert attack_on("svc-first", {**logits, "forget": torch.zeros(30, 3)}, labels) == 100
    assert attack_on("entropy", {**logits, "forget": torch.zeros(30, 3)}, labels) == 0


def test_the_attack_of_deepunlearn_is_at_chance_for_equal_distributions(outputs) -> None:
    logits, _ = outputs
    g = torch.Generator().manual_seed(1)
    same = torch.randn(600, 3, generator=g)
    twins = {**logits, "forget": same[:300], "test": same[300:]}
    zeros = {n: torch.zeros(len(x), dtype=torch.long) for n, x in twins.items()}
    assert attack_on("loss", twins, zeros) == pytest.approx(50, abs=8)
    apart = {**twins, "forget": same[:300] + torch.tensor([30.0, 0, 0])}
    assert attack_on("loss", apart, zeros) > 95


def test_presets_split_normalise_and_augment_as_documented(tiny_text) -> None:
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
def test_each_protocol_runs_and_is_recorded(name, config_file, tmp_path) -> None:
    results = bench(
        config_file(top=f'protocol = "{name}"'), tmp_path / "out", only=["seed=0"], quiet=True
    )
    assert not results["failures"]
    assert results["protocol"]["mia"] == PROTOCOLS[name].mia
    assert all(0 <= row["mia_efficacy"] <= 100 for row in results["rows"])
    text = coun.bench.report(tmp_path / "out", paper=True)[0].read_text()
    assert f"Protocol {name}" in text
    assert "contradict their own row" in text


@pytest.mark.parametrize("name", PROTOCOLS)
def test_methods_accept_the_settings_of_each_protocol(name) -> None:
    for method, settings in PROTOCOLS[name].methods.items():
        make(method, settings)


def test_options_of_a_source_reach_it(tmp_path) -> None:
    lines = "".join(f"{k},{'' if k == 3 else k % 5},{'ab'[k % 2]}\n" for k in range(40))
    (tmp_path / "people.csv").write_text("number,x,label\n" + lines)

    def data(options: str):
        table = f'data = {{ source = "table:{tmp_path}/people.csv", options = {{ {options} }} }}'
        config = parse(
            f"""
            title = "options"
            seeds = [0]
            workload = [{{ name = "people", model = "mlp", {table} }}]
            scenario = [{{ kind = "random", fraction = 0.1 }}]
            method = [{{ name = "finetune" }}]
            """
        )
        return data_spec(config, config.workload[0]).load()

    made = data('missing = "fill", drop = "number", test_share = 0.25')
    assert (made.shape, len(made.train), len(made.test)) == ((1,), 30, 10)
    for options, words in (
        ('mising = "fill"', "did you mean 'missing'"),
        ("limit = 5", "options has 'limit', which is a key beside it; move it there"),
        ('drop = "number"', "give --missing fill$"),
    ):
        with pytest.raises(coun.CounError, match=words):
            data(options)
