import copy
import os
import re
import stat
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn

from coun.errors import CounError
from coun.models.weights import load_weights, save_weights, weights_digest


def net(width: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Linear(width, 2))


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight


class Extra(nn.Module):
    def get_extra_state(self):
        return {"step": 3}


def test_round_trip(tmp_path):
    path = tmp_path / "w.safetensors"
    source = net().to(memory_format=torch.channels_last)
    source[1].num_batches_tracked += 7
    save_weights(source, path)
    target = net()
    load_weights(target, path)
    assert equal(source, target)
    assert set(safetensors.torch.load_file(path)) == set(source.state_dict())


def test_the_file_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    old, new = net(), net()
    save_weights(old, path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CounError, match=r"cannot write .*No space left"):
        save_weights(new, path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    target = net()
    load_weights(target, path)
    assert equal(old, target)
    save_weights(new, path)
    load_weights(target, path)
    assert equal(new, target)


def test_the_file_has_ordinary_permissions(tmp_path):
    path, plain = tmp_path / "w.safetensors", tmp_path / "plain"
    save_weights(net(), path)
    plain.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_tied_weights_stay_tied(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = Tied(), Tied()
    save_weights(source, path)
    load_weights(target, path)
    assert equal(source, target)
    assert target.a.weight is target.b.weight


def test_another_architecture_is_named_and_leaves_the_model(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(net(5), path)
    target = net(4)
    before = weights_digest(target)
    with pytest.raises(CounError, match=r"another architecture.*0.weight is \[5, 1, 3, 3\]") as e:
        load_weights(target, path)
    assert "and 4 more" in str(e.value)
    with pytest.raises(CounError, match=r"missing 3.weight; missing 3.bias"):
        load_weights(nn.Sequential(*net(5), nn.Linear(2, 2)), path)
    with pytest.raises(CounError, match=r"unexpected 2.bias; unexpected 2.weight"):
        load_weights(net(5)[:2], path)
    assert weights_digest(target) == before


def test_unreadable_files(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(CounError, match="no such file"):
        load_weights(net(), path)
    save_weights(net(), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CounError, match="damaged"):
        load_weights(net(), path)
    path.write_text("hello")
    with pytest.raises(CounError, match="not a safetensors file"):
        load_weights(net(), path)


@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict", "net", "model", "ema"])
@pytest.mark.parametrize("name", ["w.pth", "w.pth.tar", "pytorch_model.bin", "w.safetensors"])
def test_torch_files_are_read_whatever_their_suffix(tmp_path, key, name):
    path = tmp_path / name
    source, target = net(), net()
    state = source.state_dict()
    torch.save({key: state, "epoch": 3} if key else state, path)
    assert key in load_weights(target, path)
    assert equal(source, target)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "net."])
def test_a_prefix_of_all_names_is_removed_and_reported(tmp_path, prefix, caplog):
    path = tmp_path / "w.pt"
    source, target = net(), net()
    torch.save({prefix + name: tensor for name, tensor in source.state_dict().items()}, path)
    note = load_weights(target, path)
    assert f"the prefix '{prefix}' of all names was removed" in note
    assert note in caplog.text
    assert equal(source, target)


def test_a_prefix_that_the_model_has_is_kept(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = (nn.Sequential(OrderedDict(net=net())) for _ in range(2))
    save_weights(source, path)
    assert load_weights(target, path) == ""
    assert equal(source, target)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("bomb",)


def test_pickles_are_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.pt"
    for content in (net(), {"state_dict": net().state_dict(), "x": Bomb()}):
        torch.save(content, path)
        with pytest.raises(CounError, match=r"if you trust it, convert it: torch\.save") as caught:
            load_weights(net(), path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "bomb").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half a zip"])
def test_damaged_torch_files(tmp_path, content):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(CounError) as caught:
        load_weights(net(), path)
    assert "\n" not in str(caught.value)


def test_torch_files_without_a_state_dict(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3}, path)
    with pytest.raises(CounError, match=r"holds no state dict.*'epoch'"):
        load_weights(net(), path)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(CounError, match=re.escape("w.safetensors")):
        save_weights(net(), tmp_path / "w.pt")
    (tmp_path / "w.pt.txt").touch()
    with pytest.raises(CounError, match="cannot write"):
        save_weights(net(), tmp_path / "w.pt.txt" / "w.safetensors")
    with pytest.raises(CounError, match=r"holds a dict under '0\._extra_state'"):
        save_weights(nn.Sequential(Extra()), tmp_path / "w.safetensors")


def test_digest_sees_names_shapes_dtypes_and_bytes():
    source = net()
    digests = {weights_digest(source), weights_digest(copy.deepcopy(source).double())}
    digests.add(weights_digest(nn.Sequential(nn.Identity(), *copy.deepcopy(source))))
    flat = copy.deepcopy(source)
    flat[0].weight = nn.Parameter(flat[0].weight.detach().reshape(4, 9))
    digests.add(weights_digest(flat))
    buffer = copy.deepcopy(source)
    buffer[1].num_batches_tracked += 1
    digests.add(weights_digest(buffer))
    signed = copy.deepcopy(source)
    signed[1].running_mean.neg_()  # zeros to minus zeros: equal, other bytes
    digests.add(weights_digest(signed))
    assert len(digests) == 6
    assert weights_digest(copy.deepcopy(source).to(memory_format=torch.channels_last)) in digests
    assert weights_digest(nn.Linear(2, 2).bfloat16()) != weights_digest(nn.Linear(2, 2).bfloat16())
