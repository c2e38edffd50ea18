"""Ensembles: how they vote, what they are called, what they keep."""

from __future__ import annotations

import copy
from itertools import permutations

import pytest
import torch
from torch import nn

from coun.models import Classifier, build, load_weights, save_weights, weights_digest
from coun.models.ensemble import FORGOTTEN, UNUSED, Layout, Shards, VotingHead

EXAMPLE = torch.zeros(2, 4)


def linear() -> nn.Module:
    return nn.Linear(4, 3)


def ensemble(shards=5, slices=1, votes="one_hot", rows=20) -> Shards:
    torch.manual_seed(0)
    return Shards(Layout(shards, slices, votes, rows), linear, example=EXAMPLE).eval()


@pytest.mark.parametrize("votes", ["one_hot", "softmax"])
def test_the_last_slices_vote_and_the_mean_decides(votes) -> None:
    net, x = ensemble(3, 2, votes), torch.randn(7, 4)
    expected = torch.zeros(7, 3, dtype=torch.float64)
    for shard in range(3):
        logits = net.member(2 * shard + 1).inner(x)
        for row in range(7):
            if votes == "one_hot":
                expected[row, int(logits[row].argmax())] += 1 / 3
            else:
                expected[row] += logits[row].double().softmax(0) / 3
    torch.testing.assert_close(net(x).double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("shards", [3, 5, 6, 7, 9])
def test_ties_go_to_the_lowest_class_whoever_votes(shards) -> None:
    half = shards // 2
    choices = [0] * half + [1] * half + [2] * (shards % 2)
    head = VotingHead(shards, 3)
    for order in list(permutations(choices))[:: 1 + shards**2]:
        votes = nn.functional.one_hot(torch.tensor(order), 3).float().flatten()[None]
        logits = head(votes)[0]
        assert logits[0] == logits[1]
        assert int(logits.argmax()) == 0


def test_a_shard_without_two_rows_abstains() -> None:
    net, x = ensemble(3, 2, "softmax"), torch.randn(40, 4)
    place = torch.full((20,), UNUSED)
    place[:6], place[6:9] = torch.tensor([0, 1, 5, 5, 2, FORGOTTEN]), FORGOTTEN
    net.save_assignment(place)  # two rows each for the first and the last shard, one for the second
    counted = [net.member(m).inner(x).softmax(1) for m in (1, 5)]
    torch.testing.assert_close(net(x), (counted[0] + counted[1]) / 2)
    assert torch.equal(net.place.long(), place)
    assert net.prepared


def test_it_is_a_classifier_with_nothing_to_train_behind_the_members() -> None:
    net = ensemble()
    computed = Classifier(net, example=EXAMPLE)
    assert computed.head is net.head
    x = torch.randn(6, 4)
    assert torch.equal(computed(x).logits, net(x))
    assert computed(x).features.shape == (6, 15)
    assert all(name.startswith("members.") for name, _ in net.named_parameters())
    twin = copy.deepcopy(net)
    assert torch.equal(twin(x), net(x))


def test_its_name_builds_it_again(tmp_path) -> None:
    layout = Layout(3, 2, "softmax", 9)
    name = layout.name("coun.models.mlp:mlp")
    assert Layout.parse(name) == (layout, "coun.models.mlp:mlp")
    net = build(name, classes=4, shape=(5,), trust=True)
    net.save_assignment(torch.tensor([0, 1, 2, 3, 4, 5, FORGOTTEN, UNUSED, 0]))
    save_weights(net, tmp_path / "model.safetensors")
    again = build(name, classes=4, shape=(5,), trust=True)
    assert weights_digest(again) != weights_digest(net)
    load_weights(again, tmp_path / "model.safetensors")
    assert weights_digest(again) == weights_digest(net)
    assert len(net.members) == 6
    x = torch.randn(3, 5)
    assert torch.equal(again.eval()(x), net.eval()(x))


@pytest.mark.parametrize("name", ["resnet8", "ensemble:Net", "ensemble:3x2:best:9:mlp", "a.b:Net"])
def test_other_names_are_not_taken_for_it(name) -> None:
    assert Layout.parse(name) is None


def test_a_slice_begins_as_the_one_before_it_and_the_first_afresh() -> None:
    net = ensemble(2, 2)
    before = [weights_digest(m) for m in net.members]
    net.init_member(3)
    assert weights_digest(net.member(3)) == before[2] != before[3]
    torch.manual_seed(4)
    net.init_member(2)
    torch.manual_seed(4)
    assert torch.equal(net.member(2).inner.weight, linear().weight)
    assert [weights_digest(m) for m in net.members][:2] == before[:2]
