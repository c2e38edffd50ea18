"""Rewind: it continues an earlier epoch as the Original did, and finds that epoch again."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from methods.closed_form import close, loss, smooth, still

import coun
from coun.models import weights_digest

RECIPE = {"batch_size": 200, "lr": 0.1, "schedule": "cosine", "warmup": 0.2}
KEEP = coun.Options(keep_every=2)


@pytest.fixture(scope="module")
def kept(small, tmp_path_factory) -> coun.Run:
    """A perceptron of 8 epochs in a folder, of which epochs 2, 4 and 6 were kept."""
    out = tmp_path_factory.mktemp("kept") / "o"
    return coun.train(small, "mlp", epochs=8, out=out, options=KEEP, **RECIPE)


def test_the_rest_of_a_plain_training_in_closed_form(small, split) -> None:
    data, net = still(small), smooth()
    plain = {**RECIPE, "momentum": 0.0, "weight_decay": 0.0}
    original = coun.train(data, net, epochs=8, options=KEEP, **plain)
    run = coun.unlearn(original, split, "rewind", epochs=3)
    assert run.record.stages == ["return to epoch 4", "rewind"]
    rates = [row["lr"] for row in original.record.history]
    assert [row["lr"] for row in run.record.history] == pytest.approx(rates[4:])
    expected = copy.deepcopy(net)
    for epoch, rate in enumerate(rates):
        rows = torch.arange(200) if epoch < 4 else split.rows(data, "retain")
        gradients = torch.autograd.grad(loss(expected, data, rows), list(expected.parameters()))
        with torch.no_grad():
            for p, g in zip(expected.parameters(), gradients, strict=True):
                p.sub_(rate * g)
    close(list(run.model.parameters()), list(expected.parameters()), atol=1e-5)


def test_a_folder_keeps_epochs_which_cost_nothing(kept, small, split) -> None:
    files = sorted(path.name for path in (kept.folder / "epochs").iterdir())
    assert files == [f"epoch-000{e}.safetensors" for e in (2, 4, 6)]
    again = coun.Run.open(kept.folder, data=small)
    assert sorted(again.kept_epochs) == [2, 4, 6]
    assert weights_digest(again.model) == weights_digest(
        coun.train(small, "mlp", epochs=8, **RECIPE).model
    )
    run = coun.unlearn(again, split, "rewind", epochs=2)
    assert run.record.cost.samples_seen == 2 * 170
    assert run.record.cost.flops < 0.26 * coun.unlearn(again, split, "retrain").record.cost.flops


def test_a_later_request_rewinds_the_original_without_both(kept, small, split, tmp_path) -> None:
    first = coun.unlearn(kept, split, "rewind", epochs=2, out=tmp_path / "u")
    more = coun.Split.by_index(small, range(60, 70))
    second = coun.unlearn(coun.Run.open(first.folder, data=small), more, "rewind", epochs=2)
    both = coun.Split.by_index(small, [*range(20, 50), *range(60, 70)])
    at_once = coun.unlearn(kept, both, "rewind", epochs=2)
    assert weights_digest(second.model) == weights_digest(at_once.model)


def test_a_killed_training_keeps_the_same_epochs(small, tmp_path, killed_at) -> None:
    eager = replace(KEEP, checkpoint_every=0)
    whole = coun.train(small, "mlp", epochs=5, out=tmp_path / "a", options=eager, **RECIPE)
    common = {"epochs": 5, "out": tmp_path / "b", "options": eager, **RECIPE}
    with killed_at(4):
        coun.train(small, "mlp", **common)
    again = coun.train(small, "mlp", **common)
    assert again.record.kept_epochs == whole.record.kept_epochs
    assert list(whole.record.kept_epochs) == [2, 4]


def test_other_kept_epochs_make_another_run(kept, small, split, tmp_path) -> None:
    """The weights of the Original are the same; only what was kept on the way is not."""
    start = coun.Run.open(kept.folder, data=small)
    run = coun.unlearn(start, split, "rewind", epochs=2, out=tmp_path / "u")
    assert coun.unlearn(start, split, "rewind", epochs=2).record.identity == run.record.identity
    fewer = replace(start, kept_epochs={e: start.kept_epochs[e] for e in (2, 4)})
    other = coun.unlearn(fewer, split, "rewind", epochs=2)
    assert other.record.identity != run.record.identity
    with pytest.raises(coun.CounError, match="another run"):
        coun.unlearn(fewer, split, "rewind", epochs=2, out=tmp_path / "u")
    in_memory = coun.train(small, "mlp", epochs=8, options=KEEP, **RECIPE)
    assert [len(epoch.digest) for epoch in in_memory.kept_epochs.values()] == [64] * 3


def test_what_cannot_be_rewound_is_refused(kept, small, split, tmp_path) -> None:
    bare = coun.train(small, "mlp", epochs=2)
    with pytest.raises(coun.CounError, match="none was kept"):
        coun.unlearn(bare, split, "rewind")
    with pytest.raises(coun.CounError, match="expected at most 6 epochs"):
        coun.unlearn(kept, split, "rewind", epochs=7)
    with pytest.raises(coun.CounError, match="epochs of sisa cannot be kept"):
        coun.train(small, "mlp", method="sisa", shards=2, epochs=2, options=KEEP)
    coun.train(small, "mlp", epochs=3, out=tmp_path / "o", options=KEEP, **RECIPE)
    path = tmp_path / "o" / "epochs" / "epoch-0002.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(coun.CounError, match="is not the file that the run wrote"):
        coun.unlearn(tmp_path / "o", split, "rewind", epochs=1, data=small)
