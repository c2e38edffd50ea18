"""The order of steps, and loading ahead, which changes nothing."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.engine import Compute, Engine, Fit, Phase
from coun.engine.batches import BatchLoader, Progress
from coun.engine.process_group import ProcessGroup
from coun.models import weights_digest
from coun.objectives import Objective, cross_entropy

CPU = Compute(torch.device("cpu"), "fp32")
NOTHING = Objective(())


def feed(task, phases, epochs):
    return BatchLoader(task, Fit(tuple(phases), epochs), group=ProcessGroup())


@pytest.fixture
def task(small, split, make_task, dropping):
    return make_task(small, dropping(), split, reads=("retain", "forget"))


def test_positions_are_consecutive_even_if_phases_end_early(task):
    # 30 forget rows in batches of 20: two updates, in the first epoch only; the other pass is
    # given three updates.
    phases = [
        Phase(NOTHING, {"forget": 20}, until_epoch=1),
        Phase(NOTHING, {"retain": 20}, steps=3),
    ]
    it = feed(task, phases, 3)
    expected = [(0, 0, 0), (0, 0, 1), *[(e, 1, u) for e in range(3) for u in range(3)]]
    seen = [(p.epoch, p.phase, p.step) for p, *_ in it.batches(Progress(0))]
    assert seen == expected
    assert it.total == len(expected)
    for number, (epoch, phase, update) in enumerate(expected):
        at = Progress(0, epoch, phase, update)
        assert it.done(at) == number
        assert it.first(at) == at
        rest = [(p.epoch, p.phase, p.step) for p, *_ in it.batches(at)]
        assert rest == expected[number:]
    assert it.done(it.next(Progress(0, 2, 1, 2))) == it.total


@pytest.mark.parametrize("size", [7, 32, 64, 169])
def test_batches_of_a_phase_differ_by_one_row_at_most(task, size):
    result = [loaded["retain"][2] for *_, loaded in feed(
        task, [Phase(NOTHING, {"retain": size})], 1
    ).batches(Progress(0))]  # fmt: skip
    sizes = [len(rows) for rows in result]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size
    assert torch.cat(result).sort().values.tolist() == list(range(170))


def test_a_resumed_loader_gives_the_same_rows(task):
    phases = [Phase(NOTHING, {"retain": 64, "forget": 20})]
    whole = list(feed(task, phases, 2).batches(Progress(0)))
    later = list(feed(task, phases, 2).batches(whole[3][0]))
    for (at, _, one), (its, _, two) in zip(whole[3:], later, strict=True):
        assert at == its
        for role in ("retain", "forget"):
            assert all(torch.equal(a, b) for a, b in zip(one[role], two[role], strict=True))


def test_slots_are_positions_in_the_rows_of_the_role(task, small):
    one = Phase(NOTHING, {"forget": 7})
    for _, _, loaded in feed(task, [one], 1).batches(Progress(0)):
        images, labels, rows = loaded["forget"]
        wanted = task.indices("forget")[rows]
        assert torch.equal(images, small.train.images[wanted])
        assert torch.equal(labels, small.train.labels[wanted])


def test_a_role_can_come_from_a_part_of_the_data(task):
    part = task.indices("forget")[:5]
    task.define("forget/1", part)
    one = Phase(NOTHING, {"forget": 3}, roles={"forget": "forget/1"})
    loaded = [result["forget"] for _, _, result in feed(task, [one], 1).batches(Progress(0))]
    assert [len(rows) for *_, rows in loaded] == [2, 3]
    assert sorted(torch.cat([rows for *_, rows in loaded]).tolist()) == list(range(5))
    labels = torch.cat([y for _, y, _ in loaded])
    assert labels.sort().values.tolist() == task.data.train.labels[part].sort().values.tolist()


def test_a_defined_role_may_hold_only_declared_rows(small, split, make_task, dropping):
    task = make_task(small, dropping(), split)  # reads retain alone
    with pytest.raises(coun.CounError, match="declare"):
        task.define("some", torch.arange(18, 22))  # 20 and 21 are forgotten


class Slow:
    """A map-style dataset that is read item by item."""

    def __init__(self, part) -> None:
        self.part, self.targets = part, part.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row):
        return self.part.images[row], self.targets[row]


@pytest.mark.parametrize("workers", [1, 2])
def test_loading_in_workers_changes_no_bit(small, make_task, workers):
    data = coun.from_dataset(Slow(small.train), Slow(small.test), stream=True, views=small.views)
    digests = []
    for count in (0, workers):
        torch.manual_seed(0)
        net = coun.models.build("mlp", classes=10, shape=small.shape)
        stage = Fit((Phase(cross_entropy("retain"), {"retain": 32}),), 2)
        state = torch.random.get_rng_state()
        Engine(make_task(data, net), CPU, workers=count).run([stage])
        assert torch.equal(torch.random.get_rng_state(), state)
        digests.append(weights_digest(net))
    assert digests[0] == digests[1]
