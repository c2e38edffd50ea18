"""Methods that exist in a federation only."""

import pytest
import torch

import coun
from coun.data.requests import Client
from coun.engine import Edit, Task
from coun.errors import CounError
from coun.federated import Federation, catalogue
from coun.federated.fed_eraser import _recipe, replay, scaled_to
from coun.federated.pgd import distance, project
from coun.federated.rounds import in_rounds
from coun.methods import federated, find
from coun.metrics import accuracy
from coun.runs.start import wrap
from coun.seeds import Seeds


def test_methods_are_known_by_name():
    assert federated() == catalogue()
    assert find("pgd") is catalogue()["pgd"]
    with pytest.raises(CounError, match="did you mean 'fed_eraser'"):
        find("federaser")


def task_of(start, split, reads=("retain", "forget")):
    classifier = wrap(start.model, start.data, None)
    original = {"settings": start.record.original, "seed": start.record.original_seed}
    return Task(
        *(start.data, split, Seeds(0), frozenset(reads), classifier, start.build),
        *(torch.device("cpu"), 1.0, original),
    )


def test_a_replay_repeats_the_training(start, client_split, federation):
    task = task_of(start, client_split)
    before = coun.models.weights_digest(start.model)
    recipe = _recipe(start.record.original)
    memory = replay(task, federation, recipe, {1})
    initial, lengths = memory.initial, memory.lengths
    assert coun.models.weights_digest(start.model) == before
    assert len(lengths) == 3
    assert set(lengths[0]) == {0, 1, 2, 3}
    assert task.preparation.flops > 0
    assert task.cost.flops == 0
    with Seeds(0).fork("original").as_global("init", "original"):
        fresh = start.build()
    assert all(torch.equal(initial[k], v) for k, v in fresh.state_dict().items())


def test_fed_eraser_repeats_every_second_round_without_the_client(start, client_split):
    run = coun.unlearn(start, client_split, "fed_eraser", interval=2)
    trained = [name for name in run.record.stages if "client" in name and "to client" not in name]
    assert len(trained) == 2 * 3
    assert run.record.preparation_cost.steps > run.record.cost.steps
    with pytest.raises(CounError, match="starts from the Original"):
        coun.unlearn(run, coun.Split.by_class(run.data, 3), "fed_eraser")


@pytest.fixture
def merges(monkeypatch):
    """What every merge of a server reads and gives: present, states, clients, result."""
    seen = []

    def watched(*values, merge, **options):
        def remember(present, states, members, round):
            result = merge(present, states, members, round)
            seen.append((dict(present), list(states), [m.client for m in members], result))
            return result

        return in_rounds(*values, merge=remember, **options)

    monkeypatch.setattr("coun.federated.fed_eraser.in_rounds", watched)
    return seen


def mean_of(states, name):
    return sum(state[name] for state in states) / len(states)


def test_fed_eraser_as_in_the_authors_code(small, client_split, federation, merges):
    """Means without weights, scaled to their distance from the server's model after the round."""
    start = coun.train(small, "cnn", federation=federation, epochs=3, warmup=0.0)
    run = coun.unlearn(start, client_split, "fed_eraser", interval=1, mode="reference")
    stored, repeated = merges[:3], merges[3:]
    assert [clients for _, _, clients, _ in repeated] == [[0, 2, 3]] * 2
    staying = [[states[k] for k in (0, 2, 3)] for _, states, _, _ in stored]
    names = [name for name, _ in start.model.named_parameters()]
    for name in names:
        now = mean_of(staying[0], name)
        for (_, _, _, after), old, (present, new, _, result) in zip(
            stored[1:], staying[1:], repeated, strict=True
        ):
            torch.testing.assert_close(present[name], now)
            length = (mean_of(old, name) - after[name]).norm()
            update = mean_of(new, name) - now
            now = now + update * length / update.norm()
            torch.testing.assert_close(result[name], now)
        torch.testing.assert_close(run.model.get_parameter(name), now)


def test_the_first_model_of_the_authors_code_is_a_mean_of_stored_ones(start, client_split, merges):
    run = coun.unlearn(start, client_split, "fed_eraser", interval=3, mode="reference")
    ((_, _, _, _), (_, _, _, _), (_, states, _, _)) = merges
    for name, p in run.model.named_parameters():
        torch.testing.assert_close(p, mean_of([states[k] for k in (0, 2, 3)], name))
    with pytest.raises(CounError, match="interval of fed_eraser is 4, but the training had 3"):
        coun.unlearn(start, client_split, "fed_eraser", interval=4, mode="reference")


def test_the_authors_code_needs_whole_clients(start, split):
    with pytest.raises(CounError, match="a client keeps some of its rows"):
        coun.unlearn(start, split, "fed_eraser", mode="reference")


def test_fed_eraser_repeats_a_share_of_the_local_epochs(small):
    setting = Federation(clients=3, local_epochs=2)
    original = coun.train(small, "mlp", federation=setting, epochs=4)
    split = coun.Split.of(small, Client(client=1, partition=setting.partition))
    half, full = (
        coun.unlearn(original, split, "fed_eraser", interval=1, local_ratio=ratio).record
        for ratio in (0.5, 1.0)
    )
    assert half.cost.steps * 2 == full.cost.steps
    assert half.cost.bytes_sent == full.cost.bytes_sent  # as many rounds
    assert "local_ratio" not in full.method.settings


def test_updates_get_the_stored_length_and_keep_their_direction():
    torch.manual_seed(0)
    present, state = ({"w": torch.randn(3, 4), "buffer": torch.randn(2)} for _ in range(2))
    scaled = scaled_to(present, state, {"w": 0.7})
    update, direction = scaled["w"] - present["w"], state["w"] - present["w"]
    assert update.norm() == pytest.approx(0.7, rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(update.flatten(), direction.flatten(), dim=0)
    assert cosine == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(scaled["buffer"], state["buffer"])
    unchanged = scaled_to(present, present, {"w": 0.7})
    assert torch.equal(unchanged["w"], present["w"])


def test_projection_is_the_nearest_point_of_the_ball():
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    center = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}
    start = torch.cat([p.detach().flatten() for p in layer.parameters()])
    radius = 0.5 * float(start.norm())
    project(layer, center=center, radius=radius)
    after = torch.cat([p.detach().flatten() for p in layer.parameters()])
    torch.testing.assert_close(after, 0.5 * start)
    project(layer, center=center, radius=radius * 1.01)  # inside: nothing moves
    assert torch.equal(torch.cat([p.detach().flatten() for p in layer.parameters()]), after)


def test_pgd_ascends_within_the_ball_and_stops_at_chance(start, client_split, federation):
    """The stages are run by hand, to look at the model between them."""
    task = task_of(start, client_split)
    method = find("pgd")(epochs=1, batch_size=64, steps=30, ascent_lr=0.05, radius=0.05)
    from coun.engine import Compute, Engine

    model, seen = task.classifier.inner, []
    reference = None

    def watched():
        nonlocal reference
        for stage in method.federated_plan(model, task, federation):
            if reference is None and stage.name.startswith("ascent"):
                reference = {n: p.detach().clone() for n, p in model.named_parameters()}
            yield stage
            if isinstance(stage, Edit) and stage.name.startswith("projection"):
                seen.append(distance(model, reference))

    rows = client_split.rows(start.data, "forget")
    state = {k: v.clone() for k, v in model.state_dict().items()}
    try:
        Engine(task, Compute.choose("cpu", "fp32")).run(watched())
    finally:
        model.load_state_dict(state)
    assert 1 <= len(seen) <= 30
    random = [task.fresh("pgd", number) for number in range(3)]
    bound = 0.05 * sum(distance(m, reference) for m in random) / 3
    assert max(seen) <= bound * (1 + 1e-5)
    assert len(rows) > 0


def test_pgd_lowers_the_accuracy_on_the_client(start, client_split):
    run = coun.unlearn(start, client_split, "pgd", epochs=1, steps=30, ascent_lr=0.1, lr=1e-4)
    rows = client_split.rows(start.data, "forget")
    examples = start.data.train.take(rows)
    logits = [coun.engine.predict(r.classifier, start.data, examples).logits for r in (start, run)]
    before, after = (accuracy(x, examples.labels) for x in logits)
    assert after < before


def test_pgd_refuses_rows_of_several_clients(start, split):
    with pytest.raises(CounError, match="pgd needs rows of one client, but 4 clients"):
        coun.unlearn(start, split, "pgd", epochs=1)


def test_a_federation_is_described():
    assert "dirichlet 0.5" in Federation(spread="dirichlet", alpha=0.5).describe()


def test_a_client_of_another_division_is_refused(small):
    """Client 0 of another division holds other rows than client 0 of the federation."""
    federation, other = Federation(clients=3), Federation(clients=3, partition_seed=1)
    original = coun.train(small, "mlp", federation=federation, epochs=1)
    theirs, ours = (
        coun.Split.of(small, Client(client=0, partition=each.partition))
        for each in (other, federation)
    )
    assert set(theirs.forget.tolist()) != set(ours.forget.tolist())
    with pytest.raises(CounError, match="names client 0 of .* whose clients hold other rows"):
        coun.unlearn(original, theirs, "finetune", epochs=1)
    forgot = coun.unlearn(original, ours, "finetune", epochs=1)
    assert forgot.split.forget.tolist() == ours.forget.tolist()
