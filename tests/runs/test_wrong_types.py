"""Arguments of a wrong type are refused in one line, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import coun
from coun import CounError
from coun.audit import audit
from coun.certificates import verify
from coun.data.checks import nameable

WRONG = (1.5, object(), np.zeros(3), b"bytes")


@pytest.fixture(scope="module")
def run() -> coun.Run:
    return coun.train(coun.load("digits", limit=50), "mlp", epochs=1)


@pytest.mark.parametrize("value", WRONG, ids=["float", "object", "array", "bytes"])
@pytest.mark.parametrize(
    "call",
    [
        lambda run, split, value: coun.load(value),
        lambda run, split, value: coun.load_model(value),
        lambda run, split, value: coun.train(value, "mlp"),
        lambda run, split, value: coun.train(run.data, value),
        lambda run, split, value: coun.train(run.data, "mlp", split=value),
        lambda run, split, value: coun.train(run.data, "mlp", options=value),
        lambda run, split, value: coun.train(run.data, "mlp", epochs=1, seed=value),
        lambda run, split, value: coun.train(run.data, "mlp", epochs=1, out=value),
        lambda run, split, value: coun.unlearn(value, split),
        lambda run, split, value: coun.unlearn(run, value),
        lambda run, split, value: coun.unlearn(run, split, value),
        lambda run, split, value: coun.unlearn(run, split, data=value),
        lambda run, split, value: coun.unlearn(run, split, contrast=value),
        lambda run, split, value: coun.unlearn(run, split, contrast="info_nce"),
        lambda run, split, value: coun.evaluate(value),
        lambda run, split, value: coun.evaluate(run, against=value),
        lambda run, split, value: coun.prepare(value),
        lambda run, split, value: coun.export(run, value),
        lambda run, split, value: audit(value),
        lambda run, split, value: coun.Registry.open(value),
        lambda run, split, value: coun.Split.random(value, 0.1),
        lambda run, split, value: coun.from_arrays(value, value, value, value),
        lambda run, split, value: coun.Options(device=value) and coun.Options(head=value),
        lambda run, split, value: coun.Options(precision=value),
        lambda run, split, value: coun.Options(workers=value),
    ],
)
def test_a_wrong_type_is_named(run: coun.Run, call: Callable[..., object], value: object) -> None:
    with pytest.raises(CounError) as error:
        call(run, coun.Split.random(run.data, 0.1), value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda run, value: coun.load("digits", limit=value),
        lambda run, value: coun.load("digits", test_limit=value),
        lambda run, value: coun.train(run.data, "mlp", epochs=1, seed=value),
        lambda run, value: coun.train(run.data, "mlp", epochs=value),
        lambda run, value: coun.train(run.data, "mlp", epochs=1, lr=value),
        lambda run, value: coun.prepare(run, folds=2, repeats=value),
        lambda run, value: coun.Split.random(run.data, 0.1, seed=value),
        lambda run, value: coun.Options(workers=value),
    ],
)
def test_a_truth_value_is_no_number(
    run: coun.Run, call: Callable[..., object], value: bool
) -> None:
    with pytest.raises(CounError, match=f"type bool; expected|is {value}; expected an?"):
        call(run, value)


class Pixels(torch.nn.Module):
    """A model without weights."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10]


def test_a_model_without_weights(run: coun.Run) -> None:
    with pytest.raises(CounError, match="Pixels has no nn.Linear"):
        coun.unlearn(Pixels(), coun.Split.random(run.data, 0.1), "finetune", data=run.data)


def test_a_device_of_torch_is_accepted() -> None:
    assert coun.Options(device=torch.device("cpu")).device == "cpu"  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_seconds_between_checkpoints(seconds: float) -> None:
    with pytest.raises(CounError, match="expected 0 or more"):
        coun.Options(checkpoint_every=seconds)


@pytest.mark.parametrize("size", [0, -3])
def test_images_of_no_size(size: int) -> None:
    with pytest.raises(CounError, match="expected a number of pixels"):
        coun.load("folder:photos", size=size)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a\0b"])
def test_a_path_of_no_system(path: str) -> None:
    for call in (coun.load_model, coun.Registry.open, verify):
        with pytest.raises(CounError):
            call(path)  # type: ignore[operator]


def test_an_id_with_an_escape_code() -> None:
    assert not nameable("a/\x1b[31mred.png")
    assert nameable("a/caf\u00e9 1.png")
