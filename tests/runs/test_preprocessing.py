"""A run that is opened again gets the views that it was made with, or is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import coun
from coun.files import SHA256
from coun.models.families import Preprocessing
from coun.runs import preprocessing
from coun.runs.folder import RECORD


def small_data(**more):
    return coun.load("digits", limit=60, test_limit=30, **more)


def train(data, folder, model="mlp"):
    return coun.train(data, model, epochs=1, out=folder)


def test_changed_views_come_back(tmp_path):
    views = coun.Views("N", mean=(0.3,), std=(0.4,))
    run = train(replace(small_data(), views=views), tmp_path / "a")
    again = coun.Run.open(tmp_path / "a")
    assert again.data.views == views
    assert again.record.data.preprocessing.mean == [0.3]
    assert coun.Run.open(tmp_path / "a", data=small_data()).data.views == views
    x = run.data.test.images
    assert torch.equal(
        again.classifier(again.data.views.evaluate(x)).logits,
        run.classifier(run.data.views.evaluate(x)).logits,
    )


def test_a_record_of_an_earlier_version_is_read_by_how_its_views_print(tmp_path):
    views = coun.Views("C", padding=2, mean=(0.3,), std=(0.4,))
    train(replace(small_data(), views=views), tmp_path / "a")
    path = tmp_path / "a" / RECORD
    content = json.loads(path.read_text())
    del content["data"]["preprocessing"], content[SHA256]
    assert content["data"]["views"].startswith("Views(letters='C'")
    path.write_text(json.dumps(content))
    assert coun.Run.open(tmp_path / "a").data.views == views


def test_transforms_made_in_python_must_be_passed_again(tmp_path):
    def halved(image):
        return np.array(image)[::2, ::2]

    data = replace(small_data(), views=halved)
    train(data, tmp_path / "a")
    with pytest.raises(coun.CounError, match=r"made with the views .*TransformViews.*pass data="):
        coun.Run.open(tmp_path / "a")
    assert coun.Run.open(tmp_path / "a", data=data).data.input_shape == (1, 4, 4)


CODE = """
import coun
def views():
    return coun.Views("N", mean=(0.25,), std=(0.5,)) if not PLAIN else (lambda x: x, lambda x: x)
PLAIN = False
"""


@pytest.mark.parametrize("plain", [False, True])
def test_views_of_a_function_are_made_again_with_trust(tmp_path, monkeypatch, plain):
    (tmp_path / f"made{plain}.py").write_text(CODE.replace("PLAIN = False", f"PLAIN = {plain}"))
    monkeypatch.chdir(tmp_path)
    code = f"made{plain}:views"
    train(coun.data.preprocessing.with_views(small_data(), code), tmp_path / "a")
    if plain:
        with pytest.raises(coun.CounError, match="views 'madeTrue:views' is code"):
            coun.Run.open(tmp_path / "a")
    again = coun.Run.open(tmp_path / "a", trust=True)
    assert again.data.views_code == code


@pytest.fixture
def expecting(monkeypatch):
    """Let the model `mlp` expect images as another library's models do."""

    def expect(*arguments):
        expected = Preprocessing(*arguments, origin="the library")
        monkeypatch.setattr(preprocessing, "preprocessing", lambda name: name and expected)

    return expect


def test_numbers_of_the_model_replace_defaults_only(expecting):
    expecting((16, 16), (0.1,), (0.2,), True)
    views = preprocessing.for_model(small_data(), "mlp").views
    assert (views.mean, views.std, views.size) == ((0.1,), (0.2,), (16, 16))
    assert views.origin == "the library"
    own = replace(small_data(), views=coun.Views("N", mean=(0.3,), std=(0.4,)))
    assert preprocessing.for_model(own, "mlp").views.mean == (0.3,)
    expecting((16, 16), None, None, False)
    assert preprocessing.for_model(small_data(), "mlp").views == small_data().views
    expecting(None, (0.1,) * 3, (0.2,) * 3, False)
    assert preprocessing.for_model(small_data(), "mlp").input_shape == (3, 8, 8)


def network(channels):
    """A network of a user, which takes images of so many channels and no others."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Flatten(), nn.Linear(144, 10))


def test_grey_images_are_repeated_for_a_model_of_colours(tmp_path, caplog):
    data = small_data()
    run = coun.train(data, lambda: network(3), epochs=1, out=tmp_path / "a")
    assert "these are grey, and are repeated on three channels" in caplog.text
    assert (run.data.input_shape, run.record.data.preprocessing.channels) == ((3, 8, 8), 3)
    x = data.test.images
    by_hand = data.views.evaluate(x).repeat(1, 3, 1, 1)
    assert torch.equal(run.data.views.evaluate(x), by_hand)
    again = coun.Run.open(tmp_path / "a", build=lambda: network(3))
    assert again.data.views == run.data.views
    assert "in colour" in run.data.views.in_words()


def test_weights_of_colour_and_of_grey_take_other_images(tmp_path, caplog):
    grey = small_data()
    images = grey.train.images[:20].repeat(1, 3, 1, 1)
    images[:, 0] = 0
    labels = torch.arange(20) % 10
    colour = coun.from_arrays(images, labels, images, labels)
    coun.models.save_weights(coun.models.build("cnn", classes=10, shape=(1, 8, 8)), tmp_path / "1")
    coun.models.save_weights(coun.models.build("cnn", classes=10, shape=(3, 8, 8)), tmp_path / "3")
    run = coun.Run.from_weights(tmp_path / "1", colour, "cnn")
    assert "these are in colour, and are turned to grey" in caplog.text
    luma = 0.587 * images[:, 1:2].double() / 255 + 0.114 * images[:, 2:].double() / 255
    seen = run.data.views.evaluate(images).double()
    torch.testing.assert_close(seen, (luma - 0.5) / 0.5, atol=1e-6, rtol=0)
    assert coun.Run.from_weights(tmp_path / "3", grey, "cnn").data.input_shape == (3, 8, 8)
    assert coun.Run.from_weights(network(3), grey).data.input_shape == (3, 8, 8)
    caplog.clear()
    with pytest.raises(coun.CounError, match="another architecture"):
        coun.Run.from_weights(tmp_path / "3", grey, "resnet8")
    assert not caplog.text
    three = replace(colour, views=coun.Views("N", mean=(0.1,) * 3, std=(0.2,) * 3))
    with pytest.raises(coun.CounError, match="--mean and --std are one number each"):
        coun.Run.from_weights(network(1), three)


def test_weights_that_do_not_fit_are_refused_for_their_own_reason(tmp_path):
    images, labels = torch.zeros(20, 3, 8, 8, dtype=torch.uint8), torch.arange(20) % 10
    views = coun.Views("N", mean=(0.1,) * 3, std=(0.2,) * 3)
    data = coun.from_arrays(images, labels, images, labels, views=views)
    net = coun.models.build("cnn", classes=10, shape=(3, 8, 8))
    torch.save(net, tmp_path / "pickled.pt")
    torch.save({"head.weight": torch.zeros(10, 3)}, tmp_path / "other.pt")
    for name, reason in (("pickled.pt", "more than tensors"), ("other.pt", "another architecture")):
        with pytest.raises(coun.CounError, match=reason):
            coun.Run.from_weights(tmp_path / name, data, "cnn")
    grey = coun.models.build("cnn", classes=10, shape=(1, 8, 8))
    torch.save(grey.state_dict(), tmp_path / "grey.pt")
    with pytest.raises(coun.CounError, match="--mean and --std are one number each"):
        coun.Run.from_weights(tmp_path / "grey.pt", data, "cnn")


def test_a_model_is_built_for_the_size_after_the_views(expecting, tmp_path):
    expecting((10, 10), (0.1,), (0.2,), True)
    run = train(small_data(), tmp_path / "a")
    assert run.model[1].in_features == 100
    assert coun.Run.open(tmp_path / "a").data.input_shape == (1, 10, 10)


def test_what_is_no_model_is_named():
    data = small_data()
    for start, kind in ((lambda: nn.Linear(2, 2), "function"), (3, "int"), (nn.Linear, "type")):
        with pytest.raises(coun.CounError, match=f"start is a {kind}; expected a run"):
            coun.unlearn(start, data=data)


def test_exact_ensembles_say_that_the_model_is_not_used(caplog):
    data = small_data()
    run = coun.train(data, "mlp", epochs=1)
    coun.unlearn(run, coun.Split.by_index(data, data.train.numbers[:2]), "sisa", epochs=1, shards=2)
    assert "weights of the model it starts from are not used" in caplog.text


def test_shapes_of_a_blank_batch():
    assert torch.Size(small_data().input_shape) == (1, 8, 8)
