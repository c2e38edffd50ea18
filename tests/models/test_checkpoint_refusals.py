"""Checkpoints that cannot be read, or only by a guess, are refused with what to do."""

import contextlib
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from models.checkpoint_contents import SOURCE, STATE, Net, lightning, optimizer, prefixed
from torch import nn
from torch.nn.utils import prune

from coun.errors import CounError
from coun.models.checkpoints import INDEX, read_checkpoint
from coun.models.weights import load_weights, save_weights, weights_digest


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


def test_tied_weights_that_differ_in_the_file_are_refused(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(CounError, match=r"wide\.weight and again\.weight are one tensor"):
        load_weights(Net(tied=True), tmp_path / "w.pt")
