"""Checkpoints as people have them: each is read, or refused in one line that says what to do."""

import argparse
import contextlib
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import prune

from coun.errors import CounError
from coun.models.checkpoints import INDEX, read_checkpoint
from coun.models.weights import load_weights, save_weights, weights_digest


class Net(nn.Module):
    def __init__(self, classes=3, tied=False):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.wide = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, classes)
        self.again = nn.Linear(4, 4, bias=False)
        if tied:
            self.again.weight = self.wide.weight


class Options:
    """A class of a training script, as hyperparameters hold it."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Table(dict):
    """A dict of a training script, as Lightning's AttributeDict."""


SOURCE = Net()
STATE = SOURCE.state_dict()


def prefixed(prefix, state=STATE):
    return OrderedDict((prefix + name, value) for name, value in state.items())


def lightning(**more):
    return {
        "epoch": 3,
        "global_step": 99,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": prefixed("model.") | {"accuracy.total": torch.tensor(3)},
        "optimizer_states": [torch.optim.SGD(SOURCE.parameters(), 0.1).state_dict()],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 0.1},
        **more,
    }


def optimizer():
    optimizer = torch.optim.Adam(SOURCE.parameters())
    SOURCE.zero_grad()
    sum(p.sum() for p in SOURCE.parameters()).backward()
    optimizer.step = None  # not a step: the weights must stay
    return {"state": {0: {"exp_avg": torch.zeros(4, 1, 3, 3)}}, "param_groups": [{"lr": 0.1}]}


def inside(wrapper):
    """The weights where one layer was wrapped, as `features` is for AlexNet and VGG on ImageNet."""
    return {name.replace("conv.", f"conv.{wrapper}."): value for name, value in STATE.items()}


READ = {
    "plain": (STATE, ""),
    "dataparallel": (prefixed("module."), "'module.'"),
    "compiled": (prefixed("_orig_mod."), "'_orig_mod.'"),
    "compiled within ddp": (prefixed("module._orig_mod."), "'module._orig_mod.'"),
    "cifar scripts": ({"net": prefixed("module."), "acc": 93.1, "epoch": 199}, "'net'"),
    "numpy numbers": ({"state_dict": STATE, "best_prec1": np.float64(93.1)}, "'state_dict'"),
    "arguments": ({"model": STATE, "args": argparse.Namespace(lr=0.1)}, "'model'"),
    "tutorial": ({"model_state_dict": STATE, "optimizer_state_dict": optimizer()}, "model_state"),
    "detr": ({"model": STATE, "optimizer": optimizer(), "lr_scheduler": {"n": 3}}, "'model'"),
    "nested": ({"checkpoint": {"model": {"state_dict": STATE}}}, "'checkpoint.model.state_dict'"),
    "deepspeed": ({"module": STATE, "ds_version": "0.15"}, "'module'"),
    "ema beside": ({"state_dict": STATE, "state_dict_ema": STATE}, "state_dict_ema' fit as well"),
    "ema only": ({"model_ema": prefixed("module."), "step": torch.tensor(3)}, "'model_ema'"),
    "lightning": (lightning(), "start with 'model.'; left out: accuracy.total"),
    "lightning, own classes": (lightning(hyper_parameters=Table(o=Options(lr=1))), "'state_dict'"),
    "lightning, a path": (lightning(callbacks={"checkpoint": {"dir": Path("x")}}), "'state_dict'"),
    "half precision": ({name: value.half() for name, value in STATE.items()}, ""),
    "bfloat16": ({name: value.bfloat16() for name, value in STATE.items()}, ""),
    "channels last": (Net().to(memory_format=torch.channels_last).state_dict(), ""),
    "parameters": (dict(SOURCE.named_parameters()) | dict(SOURCE.named_buffers()), ""),
    "counted by thop": (STATE | {"conv.total_ops": torch.zeros(1)}, "left out: conv.total_ops"),
    "no counters": (
        {name: value for name, value in STATE.items() if "num_batches" not in name},
        "1 counter of BatchNorm",
    ),
    "a step among the weights": (STATE | {"epoch": 3}, ""),
    "a layer in DataParallel": (inside("module"), "wrappers inside of other names"),
    "a layer compiled": (inside("_orig_mod"), "wrappers inside of other names"),
}


def changed(function):
    """The weights with every floating-point entry changed by *function*."""
    return {n: function(v) if v.is_floating_point() else v for n, v in STATE.items()}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"best": STATE, "last": changed(lambda v: v + 1)},
            "several models with different weights, under 'best' and 'last'",
        ),
        (
            {f"epoch {k}": {"state_dict": changed(lambda v, k=k: v + k)} for k in range(2)},
            "under 'epoch 0.state_dict' and 'epoch 1.state_dict'; save the state dict of one",
        ),
        (changed(lambda v: (100 * v).to(torch.int8)), "holds values of type int8, not weights"),
        (changed(lambda v: v.to(torch.complex64)), "holds values of type complex64"),
        (
            changed(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)),
            "holds values of type qint8",
        ),
        (changed(lambda v: v.to_sparse()), r"is a sparse tensor; save it with \.to_dense"),
        (changed(lambda v: v.to("meta")), "on the device meta and has no values"),
    ],
    ids=["best and last", "epochs", "int8", "complex", "quantised", "sparse", "meta"],
)
def test_what_would_be_a_guess_is_refused(content, words, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    target = Net()
    before = weights_digest(target)
    with pytest.raises(CounError, match=words) as caught:
        load_weights(target, tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert weights_digest(target) == before


def test_equal_weights_under_several_keys_are_no_choice(tmp_path):
    torch.save({"best": STATE, "last": STATE}, tmp_path / "w.pt")
    assert "under 'best' (those under 'last' fit as well)" in load_weights(Net(), tmp_path / "w.pt")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", READ)
def test_read(tmp_path, name, legacy):
    content, words = READ[name]
    path = tmp_path / "checkpoint.pth.tar"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    if legacy and name in (
        "lightning, own classes",
        "lightning, a path",
        "numpy numbers",
        "arguments",
    ):
        with pytest.raises(CounError, match=r"convert it: torch\.save"):
            load_weights(Net(), path)
        return
    target = Net()
    note = load_weights(target, path)
    assert words in note
    assert "\n" not in note
    expected = content if name in ("channels last",) else STATE
    exact = name not in ("half precision", "bfloat16")
    for key, value in target.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0 if exact else 1e-2, atol=1e-2)


def test_no_object_of_the_file_is_made(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(Table, "__setitem__", lambda *_: made.append(1))
    torch.save(lightning(hyper_parameters=Table(lr=1)), tmp_path / "w.ckpt")
    before = set(torch.serialization.get_safe_globals())
    load_weights(Net(), tmp_path / "w.ckpt")
    assert made == []
    assert set(torch.serialization.get_safe_globals()) == before
    with open(tmp_path / "w.ckpt", "rb") as file, pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize("written", ["one", "two", "safetensors", "metadata"])
def test_tied_weights_are_written_once_or_twice(tmp_path, written):
    source, target = Net(tied=True), Net(tied=True)
    state = source.state_dict()
    if written == "one":
        del state["again.weight"]
    path = tmp_path / "model.safetensors"
    if written == "metadata":  # as Hugging Face writes it
        del state["again.weight"]
        safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    elif written == "safetensors":
        save_weights(source, path)
    else:
        torch.save(state, path)
    load_weights(target, path)
    assert weights_digest(target) == weights_digest(source)


def shards(folder, suffix="safetensors"):
    """Write the weights in two files with an index, as Hugging Face does."""
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = list(STATE)
    places = {n: f"{stem}-0000{1 + (i > 3)}-of-00002.{suffix}" for i, n in enumerate(names)}
    for file in set(places.values()):
        part = {name: STATE[name].contiguous() for name in names if places[name] == file}
        save = safetensors.torch.save_file if suffix == "safetensors" else torch.save
        save(part, folder / file)
    index = folder / f"{stem}.{suffix}{INDEX}"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files(tmp_path, suffix):
    index = shards(tmp_path, suffix)
    for path in (index, tmp_path):
        target = Net()
        load_weights(target, path)
        assert weights_digest(target) == weights_digest(SOURCE)


def write(path, content):
    path.write_bytes(content)
    return path


def tar(path):
    (path.parent / "a").write_text("x")
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "a", "a")
    return path


def script(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(path)
    return path


def saved(path, content):
    torch.save(content, path)
    return path


def zipped(path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    return path


def pruned():
    network = Net()
    prune.l1_unstructured(network.wide, "weight", 0.5)
    return network.state_dict()


def index_with(path, **places):
    index = path.parent / f"model.safetensors{INDEX}"
    index.write_text(json.dumps({"weight_map": places}))
    return index


def folder_with(path, *names):
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


REFUSED = {
    "missing": (lambda p: p, "no such file"),
    "empty": (lambda p: write(p, b""), "it is empty"),
    "folder": (folder_with, "folder without weights"),
    "distributed": (lambda p: folder_with(p, ".metadata"), "dcp_to_torch"),
    "text": (lambda p: write(p, b"conv.weight: 1\n" * 9), "it is a text"),
    "lfs": (lambda p: write(p, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "page": (lambda p: write(p, b"<!DOCTYPE html><html>"), "web page"),
    "keras": (lambda p: write(p, b"\x89HDF\r\n\x1a\n" + bytes(99)), "HDF5"),
    "gzip": (lambda p: write(p, b"\x1f\x8b\x08" + bytes(99)), "gzip"),
    "noise": (lambda p: write(p, bytes(range(128, 256))), "no file of weights"),
    "half a file": (lambda p: write(p, saved(p, STATE).read_bytes()[:900]), "damaged"),
    "tar": (tar, "tar archive; unpack it first"),
    "zip": (lambda p: zipped(p, "w.pt"), "zip archive of other files; unpack it first"),
    "exported": (lambda p: zipped(p, "m/archive_format"), "a program of torch.export"),
    "numpy": (lambda p: saved(p, {n: v.numpy() for n, v in STATE.items()}), "arrays of NumPy"),
    "pruned": (lambda p: saved(p, pruned()), "prune.remove before saving"),
    "weight_norm": (
        lambda p: saved(p, {**STATE, "wide.weight_g": torch.ones(4, 1)}),
        "the file has weight_norm",
    ),
    "pickle": (lambda p: write(p, pickle.dumps({"a": 1})), "convert it|no state dict"),
    "whole model": (lambda p: saved(p, SOURCE), r"convert it: torch\.save"),
    "torchscript": (script, "TorchScript"),
    "npz": (lambda p: (np.savez(p.open("wb"), x=np.zeros(3)), p)[1], "an archive of NumPy"),
    "numbers": (lambda p: saved(p, {"epoch": 3}), "holds no state dict"),
    "list": (lambda p: saved(p, [1, 2]), "got a list"),
    "optimizer only": (lambda p: saved(p, {"optimizer": optimizer()}), "holds no state dict"),
    "two models": (
        lambda p: saved(p, {**prefixed("student."), **prefixed("teacher.")}),
        "several models, under 'student.', 'teacher.'",
    ),
    "other classes": (lambda p: saved(p, Net(5).state_dict()), "5 outputs and the model 3"),
    "index leads out": (lambda p: index_with(p, a="../x.safetensors"), "files beside it"),
    "index of nothing": (lambda p: index_with(p, a="x.safetensors"), "no such file"),
    "index is a list": (lambda p: write(p.parent / f"x{INDEX}", b"[]"), "not an index"),
    "sizes": (lambda p: saved(p, {**STATE, "head.bias": torch.zeros(())}), "head.bias is"),
    "device": (lambda p: Path(os.devnull), "not a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path, name):
    make, words = REFUSED[name]
    model = Net()
    before = weights_digest(model)
    path = make(tmp_path / "w.pt")
    with pytest.raises(CounError, match=words) as caught:
        load_weights(model, path)
    assert "\n" not in str(caught.value)
    assert weights_digest(model) == before


def test_damaged_files_never_give_a_traceback(tmp_path):
    rng = np.random.default_rng(0)
    files = [saved(tmp_path / "a.pt", lightning()), tmp_path / "b.safetensors"]
    save_weights(SOURCE, files[1])
    for path in files:
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 3000), 3):
                damaged[place] = rng.integers(256)
            path.write_bytes(damaged)
            with contextlib.suppress(CounError):
                read_checkpoint(path)


NORMS = {
    "weight_norm": (nn.utils.weight_norm, nn.utils.parametrizations.weight_norm),
    "spectral_norm": (nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm),
}


@pytest.mark.filterwarnings("ignore:.*_norm:FutureWarning")
@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_weights_are_read_in_both_spellings(norm, newer, tmp_path):
    old, new = (make(nn.Linear(5, 4)).eval() for make in NORMS[norm])
    source, target = (old, new) if newer else (new, old)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    assert "another version of torch" in load_weights(target, tmp_path / "w.pt")
    x = torch.randn(3, 5)
    torch.testing.assert_close(target(x), source(x))


def test_tied_weights_that_differ_in_the_file_are_refused(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(CounError, match=r"wide\.weight and again\.weight are one tensor"):
        load_weights(Net(tied=True), tmp_path / "w.pt")
