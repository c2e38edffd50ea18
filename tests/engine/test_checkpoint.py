"""Checkpoints are restored completely or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from coun import CounError
from coun.engine.checkpoint import Checkpoint, pack, unpack


def test_saving_and_loading_restores_model_and_optimizer() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizers = [torch.optim.AdamW(n.parameters(), lr=0.1, fused=True) for n in (net, twin)]
    x = torch.randn(5, 3)

    def update(n: nn.Module, o: torch.optim.Optimizer) -> None:
        o.zero_grad()
        n(x).square().sum().backward()
        o.step()

    update(net, optimizers[0])
    saved = {k: v.clone() for k, v in pack(net, (), optimizers[:1]).items()}
    unpack(saved, twin, (), optimizers[1:])
    for n, o in zip((net, twin), optimizers, strict=True):
        update(n, o)
    for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_an_incomplete_file_and_a_file_of_another_run_are_refused(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path, "me")
    assert store.load("step") is None
    store.save("step", {"model.w": torch.ones(100)}, {"at": 1})
    assert store.load("step")[1] == {"at": 1}
    with pytest.raises(CounError, match="other settings"):
        Checkpoint(tmp_path, "you").load("step")
    path = tmp_path / "step.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CounError, match="damaged; delete"):
        store.load("step")
    store.clear()
    assert not tmp_path.exists()


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path, "me")
    store.save("step", {"w": torch.arange(5.0), "n": torch.tensor(3)}, {"at": 1})
    path = tmp_path / "step.safetensors"
    content = path.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        try:
            tensors, state = store.load("step")
        except CounError:
            continue
        # A flip in the padding of the header changes nothing.
        assert state == {"at": 1}
        assert torch.equal(tensors["w"], torch.arange(5.0))
