"""Exported models give the outputs of the run, with what must be done before them."""

import json
import os
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from optional_packages import package
from torch import nn

import coun
from coun.data.tokens import from_tokenized
from coun.runs.exporting import PREPROCESSING


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving") / "run"
    data = coun.load("digits", limit=60, test_limit=30)
    views = coun.Views("CN", mean=(0.3,), std=(0.4,), size=(12, 12))
    coun.train(replace(data, views=views), "cnn", epochs=1, out=folder)
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """Images, and the logits of the run for them."""
    run = coun.Run.open(folder)
    images = run.data.test.images[:5]
    with torch.no_grad():
        return images, run.classifier(run.data.views.evaluate(images)).logits


def prepared(folder, images):
    """Prepare images by the numbers in the file only, as a serving program does."""
    numbers = json.loads((folder / PREPROCESSING).read_text())["preprocessing"]
    x = images.float() / numbers["divide_pixels_by"]
    x = nn.functional.interpolate(x, numbers["resize"], mode="bilinear", antialias=True)
    return (x - torch.tensor(numbers["mean"])) / torch.tensor(numbers["std"])


def test_a_model_is_loaded_without_its_data(folder, expected):
    images, logits = expected
    with torch.no_grad():
        result = coun.load_model(folder)(coun.load_views(folder).evaluate(images))
    torch.testing.assert_close(result, logits)


@pytest.mark.parametrize("of", ["folder", "run"])
def test_safetensors(folder, expected, tmp_path, of):
    source = folder if of == "folder" else coun.Run.open(folder)
    target = coun.export(source, tmp_path / "served")
    state = safetensors.torch.load_file(target / "model.safetensors")
    model = coun.load_model(folder)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    document = json.loads((target / PREPROCESSING).read_text())
    assert document["classes"] == [str(n) for n in range(10)]
    assert document["input"]["shape"] == [1, 12, 12]


@pytest.mark.parametrize("to", ["torchscript", "pt2"])
def test_graphs_give_the_logits_of_the_run(folder, expected, tmp_path, to):
    images, logits = expected
    target = coun.export(folder, tmp_path / "served", to)
    path = str(next(target.glob("model.*")))
    model = torch.jit.load(path) if to == "torchscript" else torch.export.load(path).module()
    with torch.no_grad():
        torch.testing.assert_close(model(prepared(target, images)), logits)


def test_onnx_gives_the_logits_of_the_run(folder, expected, tmp_path):
    package("onnx")
    package("onnxscript")
    runtime = package("onnxruntime")
    images, logits = expected
    target = coun.export(folder, tmp_path / "served", "onnx")
    session = runtime.InferenceSession(str(target / "model.onnx"))
    result = session.run(["logits"], {"images": prepared(target, images).numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(result), logits, rtol=1e-3, atol=1e-3)


def test_a_hugging_face_model_is_read_by_transformers(tmp_path):
    transformers = package("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=2
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "net")
    images = torch.randint(0, 256, (12, 3, 20, 20), dtype=torch.uint8)
    labels = torch.arange(12) % 2
    data = coun.from_arrays(images, labels, images, labels, classes=["ant", "bee"])
    run = coun.Run.from_weights(tmp_path / "net", data)
    target = coun.export(run, tmp_path / "served", "hf")
    model = transformers.AutoModelForImageClassification.from_pretrained(target).eval()
    assert model.config.id2label == {0: "ant", 1: "bee"}
    x = run.data.views.evaluate(images[:3])
    with torch.no_grad():
        torch.testing.assert_close(model(x).logits, run.classifier(x).logits)
    settings = json.loads((target / "preprocessor_config.json").read_text())
    assert settings["image_mean"] == list(run.data.views.mean)
    again = coun.Run.from_weights(target, data)  # the export is a start again
    assert again.data.views.mean == run.data.views.mean


class Wrapped(nn.Module):
    """Returns a loss before its logits, as many training codes do."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        logits = self.net(x)
        return logits.sum(), logits


class Branching(nn.Module):
    """Its trace takes one branch, so that other inputs give other outputs."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        logits = self.net(x)
        return logits if len(x) == 2 else logits + 1


def given(module):
    return coun.Run.from_weights(module, coun.load("digits", limit=20, test_limit=10))


def test_logits_are_found_among_several_outputs(tmp_path):
    run = given(Wrapped())
    target = coun.export(run, tmp_path / "served", "torchscript")
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(torch.jit.load(str(target / "model.pt"))(x), run.model(x)[1])


def test_an_export_that_differs_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(coun.CounError, match="differs from the original"):
        coun.export(given(Branching()), tmp_path / "served", "torchscript")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported(folder, tmp_path):
    (tmp_path / "there").mkdir()
    for target, to, words in (
        ("there", "safetensors", "exists; choose another folder"),
        ("new", "hf", "is not a model of transformers"),
        ("new", "onxx", r"did you mean 'onnx'"),
    ):
        with pytest.raises(coun.CounError, match=words):
            coun.export(folder, tmp_path / target, to)
    assert os.listdir(tmp_path) == ["there"]
    with pytest.raises(coun.CounError, match="not a folder"):
        coun.export(tmp_path / "nowhere", tmp_path / "new")


@pytest.mark.parametrize("to", ["pt2", "torchscript"])
def test_texts_are_served_with_their_padding(tmp_path, to):
    items = [{"input_ids": [n % 7 + 1, 7, *[3] * (n % 4)], "label": n % 2} for n in range(24)]
    data = from_tokenized(items, items)
    coun.train(data, "text", epochs=1, out=tmp_path / "run")
    ids = torch.tensor([[5, 7, -1, -1, -1], [5, 7, 3, 3, 3]])
    with torch.no_grad():
        logits = coun.Run.open(tmp_path / "run", data=data).classifier(ids).logits
    target = coun.export(tmp_path / "run", tmp_path / "served", to)
    path = str(next(target.glob("model.*")))
    model = torch.jit.load(path) if to == "torchscript" else torch.export.load(path).module()
    with torch.no_grad():
        torch.testing.assert_close(model(ids), logits)
    assert json.loads((target / PREPROCESSING).read_text())["input"]["dtype"] == "int64"
    assert torch.equal(coun.load_views(tmp_path / "run").evaluate(ids), ids)
