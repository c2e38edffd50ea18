"""Checkpoints as people have them are read."""

import argparse
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from models.checkpoint_contents import SOURCE, STATE, Net, lightning, optimizer, prefixed
from torch import nn

from coun.errors import CounError
from coun.models.checkpoints import INDEX
from coun.models.weights import load_weights, save_weights, weights_digest


class Options:
    """A class of a training script, as hyperparameters hold it."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Table(dict):
    """A dict of a training script, as Lightning's AttributeDict."""


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
    "AveragedModel": (
        {"n_averaged": torch.tensor(3)} | {f"module.{k}": v for k, v in STATE.items()},
        "left out: n_averaged",
    ),
    "counted by thop": (STATE | {"conv.total_ops": torch.zeros(1)}, "left out: conv.total_ops"),
    "no counters": (
        {name: value for name, value in STATE.items() if "num_batches" not in name},
        "1 counter of BatchNorm",
    ),
    "a step among the weights": (STATE | {"epoch": 3}, ""),
    "a layer in DataParallel": (inside("module"), "wrappers inside of other names"),
    "a layer compiled": (inside("_orig_mod"), "wrappers inside of other names"),
}


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
