"""A split as a record: written, read again, and refused where it does not fit."""

import copy
import json

import pytest
import torch
from data.arrays import blank_images

from coun.data import Split
from coun.data.requests import Class


@pytest.fixture(scope="module")
def data():
    return blank_images()


@pytest.mark.parametrize(
    "make_split",
    [
        lambda data: Split.random(data, 0.3, seed=4),
        lambda data: Split.by_class(data, 2),
        lambda data: Split.by_index(data, [1, 5]),
    ],
)
def test_json_round_trip(data, make_split):
    split = make_split(data)
    again = Split.from_json(data, json.loads(json.dumps(split.to_json())))
    assert torch.equal(again.forget, split.forget)
    assert torch.equal(again.retain, split.retain)
    assert (again.scenario, again.seed, again.forget_class) == (
        split.scenario,
        split.seed,
        split.forget_class,
    )


def test_a_record_of_other_data_is_refused(data, refused):
    record = Split.random(data, 0.3).to_json()
    with refused("hash", "changed since"):
        Split.from_json(blank_images(51), record)
    changed = copy.deepcopy(record)
    changed["forget"][0] = next(row for row in range(50) if row not in record["forget"])
    with refused("hash"):
        Split.from_json(data, changed)


def test_records_of_version_0_1_are_read(data):
    new = Split.by_class(data, 2).to_json()
    names = ("scenario", "seed", "forget_count", "retain_count", "sha256", "forget")
    old = {name: new[name] for name in names} | {"forget_class": 2}
    split = Split.from_json(data, old)
    assert split.forget_class == 2
    assert split.request == (Class(name="class 2"),)


def test_a_split_without_a_typed_request_is_refused(data, refused):
    with refused("no class"):
        Split.by_class(data)
    with refused("no forget request"):
        Split.of(data)
    with refused("'3'", "Split.by_id"):
        Split.of(data, "3")
    with refused("list", "Split.by_id"):
        Split.of(data, [Class(name="3")])
    for name in ("9" * 5000, "label:" + "9" * 5000):
        with refused("unknown class"):
            Split.by_class(data, name)
    for fraction in ("0.1", None, float("nan")):
        with refused("fraction"):
            Split.random(data, fraction)
    with refused("seed is 1.5"):
        Split.random(data, 0.1, seed=1.5)


@pytest.mark.parametrize(
    "name", ["forget", "earlier", "held_out", "drawn", "request", "forgotten_classes", "sha256"]
)
@pytest.mark.parametrize("value", [None, 5, [12, 22.5], [2**70], {}, "missing"])
def test_a_damaged_record_is_refused_in_one_line(name, value, data, refused):
    record = Split.random(data, 0.1).to_json()
    if value == "missing":
        del record[name]
    else:
        record[name] = value
    with refused("damaged", name):
        Split.from_json(data, record)


def test_an_empty_record_is_refused(data, refused):
    for record in ({}, None, [], {"forget": []}):
        with refused("damaged", "forget"):
            Split.from_json(data, record)
