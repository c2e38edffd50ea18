"""Models of other libraries by name: built, recorded, and refused in one line."""

import json
import sys

import pytest
import torch
from optional_packages import package
from torch import nn

from coun.errors import CounError
from coun.models import Classifier, build, preprocessing, zoo
from coun.models.families import Family, Preprocessing, catalogue, family, family_of


def test_a_family_is_one_file():
    assert set(catalogue()) == {"hf", "timm", "torchvision"}
    assert family_of("my.module:factory") is None


def test_a_package_that_is_missing_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(CounError, match=r"need the package timm.*pip install timm"):
        build("timm:resnet18", classes=3, shape=(3, 8, 8))


def test_a_package_that_is_broken_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('built for another torch')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CounError, match=r"broken_package cannot be imported \(RuntimeError: built"):
        family.require("broken_package", "x")


def test_an_unknown_name_lists_families_too():
    with pytest.raises(CounError, match="timm:NAME"):
        build("timm", classes=3, shape=(3, 8, 8))


def test_a_family_of_a_stub(monkeypatch):
    stub = Family(
        "stub",
        "NAME",
        "one linear layer",
        lambda name, classes, shape, config: nn.Linear(shape[0], classes),
        lambda name: Preprocessing((8, 8), (0.1,), (0.2,)),
    )
    monkeypatch.setattr(zoo, "catalogue", lambda: {"stub": stub})
    monkeypatch.setattr("coun.models.families.catalogue", lambda: {"stub": stub})
    assert build("stub:any", classes=4, shape=(7,)).out_features == 4
    assert preprocessing("stub:any").mean == (0.1,)
    assert zoo.code_name("stub:any") is None


def test_timm():
    package("timm")
    net = build("timm:resnet10t", classes=3, shape=(1, 32, 32))
    classifier = Classifier(net, example=torch.zeros(2, 1, 32, 32))
    assert (classifier.head_name, classifier.out_features) == ("fc", 3)
    expected = preprocessing("timm:vit_tiny_patch16_224")
    assert (expected.size, expected.mean, expected.fixed) == ((224, 224), (0.5, 0.5, 0.5), True)
    assert not preprocessing("timm:resnet10t").fixed


@pytest.mark.parametrize("name", ["resnet19", "hf-hub:a/b", "local-dir:/tmp", "../x"])
def test_timm_names_that_are_unknown_or_lead_elsewhere(name):
    package("timm")
    with pytest.raises(CounError, match="unknown timm model"):
        build(f"timm:{name}", classes=3, shape=(3, 32, 32))


def test_torchvision():
    package("torchvision")
    net = build("torchvision:squeezenet1_1", classes=3, shape=(3, 64, 64))
    assert Classifier(net, example=torch.zeros(2, 3, 64, 64)).head_name == "classifier.1"
    assert preprocessing("torchvision:resnet18").mean == (0.485, 0.456, 0.406)
    with pytest.raises(CounError, match=r"did you mean 'resnet18'"):
        build("torchvision:resnet1", classes=3, shape=(3, 64, 64))


def test_nothing_is_imported_for_a_preprocessor(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    settings = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4] * 3, "rescale_factor": 1 / 127.5}
    settings |= {"rescale_offset": True, "size": {"shortest_edge": 30}}
    settings |= {"do_center_crop": True, "crop_size": 24}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    expected = preprocessing(f"hf:{tmp_path}")
    assert expected.size == (24, 24)
    pixel = 200.0  # the same number as the processor computes
    for mean, std, m, s in zip(
        settings["image_mean"], settings["image_std"], expected.mean, expected.std, strict=True
    ):
        assert (pixel / 255 - m) / s == pytest.approx((pixel / 127.5 - 1 - mean) / std, abs=1e-4)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there is no"),
        ({"config.json": "[]"}, "expected a JSON object"),
        ({"config.json": "{"}, "cannot be read as JSON"),
        ({"config.json": "{}"}, "names no model_type"),
    ],
)
def test_folders_that_are_no_model(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CounError, match=words):
        build(f"hf:{tmp_path}", classes=3, shape=(3, 8, 8))
