"""Scenarios are the typed requests of coun.data; hashes keep the words of version 0.1."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

import coun
from coun.bench import bench, make_plan
from coun.bench.spec.forget import hashed_record, label, score_name, seed_of_draw
from coun.bench.spec.reading import parse
from coun.bench.spec.workload import data_spec
from coun.data import Split, requests


class EveryTenth(requests.Request):
    """A kind of request that a plug-in adds."""

    kind: Literal["every_tenth"] = "every_tenth"
    start: int = 0

    def choose(self, data, *, seed=0, scores=None):
        return torch.arange(len(data.train)) % 10 == self.start

    def describe(self) -> str:
        return f"every tenth row from {self.start}"


def test_a_kind_of_a_plugin_is_a_scenario_without_any_edit(
    config_file, tmp_path, monkeypatch
) -> None:
    known = requests.kinds()
    monkeypatch.setattr(requests, "kinds", lambda: {**known, "every_tenth": EveryTenth})
    config = config_file(scenario='kind = "every_tenth"\nstart = 3')
    results = bench(config, tmp_path / "out", only=["seed=0"], quiet=True)
    assert not results["failures"]
    assert {record["scenario"] for record in results["rows"]} == {"every tenth row from 3"}
    coun.bench.report(tmp_path / "out", paper=True)


@pytest.mark.parametrize(
    ("request_", "record", "draw"),
    [
        (requests.Random(fraction=0.2), {"kind": "random", "fraction": 0.2}, "torch"),
        (requests.Random(draw="salun"), {"kind": "random", "fraction": 0.1}, "numpy"),
        (requests.Class(name="cat"), {"kind": "class", "name": "cat"}, "torch"),
        (requests.Subclass(name="oak"), {"kind": "subclass", "name": "oak"}, "torch"),
        (
            requests.Memorised(models=2),
            {"kind": "memorisation", "level": "high", "fraction": 0.1, "models": 2},
            "torch",
        ),
        (requests.WorstCase(), {"kind": "worst", "fraction": 0.1}, "torch"),
    ],
)
def test_hashes_keep_the_words_of_version_0_1(request_, record, draw) -> None:
    assert hashed_record(request_) == (record, draw)


def test_settings_that_version_0_1_did_not_have_change_the_hash() -> None:
    record, _ = hashed_record(requests.WorstCase(level="low"))
    assert record == {"kind": "worst", "fraction": 0.1, "level": "low"}
    assert score_name(requests.WorstCase()) == "self-influence"
    assert score_name(requests.Memorised()) == "memorisation"
    assert "every_tenth" in score_name(EveryTenth())


def test_a_request_with_a_seed_of_its_own_is_the_same_for_every_seed() -> None:
    assert seed_of_draw(requests.Random(), 5) == 5
    assert seed_of_draw(requests.Random(seed=7), 5) == 7
    assert seed_of_draw(requests.Class(name="cat"), 5) is None
    assert label(requests.Random(seed=7)) == "random 10% seed 7"


def test_a_sequential_request_shares_its_first_stage_with_a_random_one(tiny_text) -> None:
    single = make_plan(parse(tiny_text()))
    plan = make_plan(parse(tiny_text(scenario='kind = "sequential"\nstages = 3')))
    assert {m.experiment.key for m in single.models} <= {m.experiment.key for m in plan.models}
    chain = [m for m in plan.models if m.row == "CoUn" and m.seed == 0]
    assert [m.experiment.start.key for m in chain[1:]] == [m.experiment.key for m in chain[:-1]]


def test_every_measurement_of_two_scenarios_has_a_name_of_its_own(tiny_text) -> None:
    """The Original is measured on the rows of each scenario, which the progress names."""
    second = '[[scenario]]\nkind = "class"\nname = "0"'
    plan = make_plan(parse(tiny_text(scenario=f'kind = "random"\n{second}')))
    titles = [e.title for e in plan.experiments if e.kind == "evaluate" and "Original" in e.title]
    assert len(titles) == len(set(titles)) == 4
    assert "Original, seed 0, random 10%" in " ".join(titles)


def test_the_salun_protocol_draws_as_numpy_does(tiny_text) -> None:
    plan = make_plan(parse(tiny_text(top='protocol = "salun"')))
    forget = next(m.experiment.forget for m in plan.models if m.row == "Retrain" and m.seed == 1)
    data = data_spec(plan.config, plan.config.workload[0]).load()
    split = Split.of(data, forget.request, seed=forget.seed)
    expected = np.random.RandomState(0).choice(180, 18, replace=False)
    assert set(split.forget.tolist()) == set(data.train.numbers[expected].tolist())


def test_groups_merge_classes_and_a_subclass_is_one_of_the_merged_classes(tiny_text) -> None:
    even = ", ".join(f'"{n}"' for n in range(0, 10, 2))
    odd = ", ".join(f'"{n}"' for n in range(1, 10, 2))
    text = tiny_text(scenario='kind = "subclass"\nname = "8"').replace(
        "test_limit = 100", f"test_limit = 100, groups = {{ even = [{even}], odd = [{odd}] }}"
    )
    config = parse(text)
    data = data_spec(config, config.workload[0]).load()
    assert data.classes == ("even", "odd")
    split = Split.of(data, config.scenario[0])
    fine = coun.load("digits", limit=200).train
    assert set(split.forget.tolist()) == set(fine.numbers[fine.labels == 8].tolist())
    assert split.forget_class is None
