"""What must hold between methods, to the bit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from guarded import Guarded
from methods.canonical import CANONICAL
from torch import Tensor

import coun
from coun.methods import catalogue, describe, make
from coun.models import weights_digest
from coun.runs.start import Start, shaped
from coun.seeds import Seeds

RETAIN_ONLY = sorted(
    name
    for name, kind in catalogue().items()
    if kind.reads <= {"retain"} and not kind.needs_kept_epochs
)


def digest(run: coun.Run) -> str:
    return weights_digest(run.model)


def with_images(data: coun.Data, rows: Tensor) -> coun.Data:
    """*data* with noise for the training images at *rows*."""
    images = data.train.images.clone()  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(9)
    images[rows] = torch.randint(0, 256, images[rows].shape, generator=generator).byte()
    return replace(data, train=replace(data.train, images=images))  # type: ignore[type-var]


def test_coun_without_its_loss_is_finetune(original: coun.Run, split: coun.Split) -> None:
    plain = coun.unlearn(original, split, "finetune", epochs=2, lr=0.05)
    assert digest(coun.unlearn(original, split, "coun", epochs=2, lr=0.05, weight=0)) == digest(
        plain
    )
    assert digest(coun.unlearn(original, split, "coun", epochs=2, lr=0.05)) != digest(plain)


@pytest.mark.parametrize(
    ("name", "settings", "partner"),
    [
        ("neggrad_plus", {"alpha": 1}, "finetune"),
        ("l1_sparse", {"gamma": 0}, "finetune"),
        ("projection", {"weight": 0}, "finetune"),
        ("salun", {"fraction": 1}, "random_label"),
        ("salun", {"fraction": 1, "labels": "per_epoch"}, "random_label"),
        ("salun", {"fraction": 1, "labels": "fixed"}, "random_label"),
    ],
    ids=str,
)
def test_at_its_neutral_setting_a_method_is_its_partner(
    original: coun.Run, split: coun.Split, name: str, settings: dict[str, object], partner: str
) -> None:
    shared = {"epochs": 2, "lr": 0.05}
    labels = {k: v for k, v in settings.items() if k == "labels"}
    plain = coun.unlearn(original, split, partner, **shared, **labels)
    assert digest(coun.unlearn(original, split, name, **shared, **settings)) == digest(plain)
    assert digest(coun.unlearn(original, split, name, **shared, **labels)) != digest(plain)


def test_retrain_is_training_on_the_rest(
    small: coun.Data, original: coun.Run, split: coun.Split
) -> None:
    trained = coun.train(small, "cnn", split=split, epochs=3, seed=4)
    assert digest(coun.unlearn(original, split, "retrain", seed=4)) == digest(trained)


@pytest.mark.parametrize("name", RETAIN_ONLY)
def test_forget_images_do_not_matter(original: coun.Run, split: coun.Split, name: str) -> None:
    def forget(data: coun.Data) -> str:
        run = coun.unlearn(
            original.model, split, name, data=data, build=original.build, **CANONICAL[name]
        )
        return digest(run)

    data = original.data
    plain = forget(data)
    assert forget(with_images(data, split.rows(data, "forget"))) == plain
    assert forget(with_images(data, split.rows(data, "retain")[:1])) != plain


@pytest.mark.parametrize("name", RETAIN_ONLY)
def test_no_forget_row_and_no_test_row_is_read(
    original: coun.Run, split: coun.Split, name: str
) -> None:
    data = original.data
    first = int(data.train.index[0])
    keep = coun.Split.by_index(data, [i for i in split.forget.tolist() if i != first])
    settings = make(name, CANONICAL[name]).with_defaults_from({})
    task = coun.engine.Task(
        replace(data, train=Guarded(data.train, set(keep.forget.tolist()))),  # type: ignore[arg-type]
        keep,
        Seeds(0),
        settings.reads,
        original.classifier,
        original.build,
        torch.device("cpu"),
    )
    start = shaped(Start(original.build(), None, original.build), settings, data)  # type: ignore[misc]
    task.classifier = coun.runs.run.wrap(start.model, data, None)
    test = Guarded(data.test, set(data.test.index.tolist()))  # type: ignore[arg-type]
    object.__setattr__(task.data, "test", test)
    compute = coun.engine.Compute.choose("cpu", "fp32")
    coun.engine.Engine(task, compute).run(settings.plan(task.classifier.inner, task))


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_method_describes_itself(name: str) -> None:
    kind = catalogue()[name]
    about = describe(kind)
    assert about["summary"].endswith((".", ")."))
    assert about["source"]
    assert set(about["reads"]) <= {
        "retain",
        "forget",
        "held-out",
        "original training",
        "predictions",
        "kept epochs",
        "shards",
    }
    assert json.loads(json.dumps(about)) == about
    for key, field in about["settings"].items():
        assert field.get("description"), f"{name}.{key} has no description"
        assert "default" in field, f"{name}.{key} has no default"
