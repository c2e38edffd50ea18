"""Models of transformers in folders, made tiny from configurations without any download."""

import json
import shutil
import sys

import pyarrow
import pyarrow.parquet
import pytest
import torch
from optional_packages import package
from tiny_vit import write_vit

import coun
from coun.cli import main
from coun.cli.start import _name_of_model
from coun.errors import CounError
from coun.models import Classifier, build, load_trained
from coun.models.inputs import run

LABELS = {0: "ant", 1: "bee", 2: "cat"}


@pytest.fixture(scope="module")
def transformers():
    return package("transformers")


@pytest.fixture(scope="module")
def vit(transformers, tmp_path_factory):
    """A folder with a vision transformer, its weights and its image processor."""
    folder = tmp_path_factory.mktemp("hf") / "my-vit"
    write_vit(folder, tuple(LABELS.values()))
    return folder


def reference(transformers, folder):
    kind = transformers.AutoModelForImageClassification
    return kind.from_pretrained(folder, local_files_only=True).eval()


def pictures(classes=("ant", "bee", "cat"), side=12):
    images = torch.randint(0, 256, (30, 3, side, side), dtype=torch.uint8)
    labels = torch.arange(30) % 3
    return coun.from_arrays(images, labels, images[:15], labels[:15], classes=classes)


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_the_weights_are_those_that_transformers_loads(transformers, vit, tmp_path, weights):
    folder = tmp_path / "copy"
    shutil.copytree(vit, folder)
    expected = reference(transformers, vit)
    if weights == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(expected.state_dict(), folder / "pytorch_model.bin")
    model, names = load_trained(f"hf:{folder}")
    assert names == ("ant", "bee", "cat")
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        logits = Classifier(model, example=x[:2])(x).logits
        torch.testing.assert_close(logits, expected(x).logits)


def test_a_folder_is_unlearned_and_opened_without_it(vit, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(vit, folder)
    data = pictures()
    split = coun.Split.by_index(data, [0, 1])
    run = coun.unlearn(
        folder,
        split,
        "finetune",
        data=data,
        epochs=1,
        lr=1e-3,
        optimizer="adamw",
        out=tmp_path / "a",
    )
    assert run.record.model.name == f"hf:{folder}"
    assert run.data.input_shape == (3, 16, 16)
    assert run.data.views.mean == (0.5, 0.5, 0.5)
    shutil.rmtree(folder)
    again = coun.Run.open(tmp_path / "a", data=data)
    assert again.data.views == run.data.views
    again = coun.unlearn(again, coun.Split.by_index(data, [2]), "retrain", epochs=1)
    assert again.record.model.config["id2label"] == {"0": "ant", "1": "bee", "2": "cat"}


def test_the_file_of_weights_in_a_folder_counts_as_the_folder(vit):
    file, data = vit / "model.safetensors", pictures()
    opened, whole = (coun.Run.from_weights(place, data) for place in (file, vit))
    assert opened.record.weights_sha256 == whole.record.weights_sha256
    assert (opened.data.classes, opened.record.model) == (whole.data.classes, whole.record.model)
    with pytest.raises(CounError, match="another architecture .*; give '.*my-vit' without a model"):
        coun.Run.from_weights(file, data, "mlp")
    assert _name_of_model(file, None) == f"hf:{vit}"  # as the command line takes it
    assert _name_of_model(file, "timm:resnet18") is None


def test_classes_are_taken_in_the_order_of_the_model(vit, caplog):
    data = pictures(classes=("cat", "ant", "bee"))
    run = coun.Run.from_weights(vit, data)
    assert run.data.classes == ("ant", "bee", "cat")
    assert [run.data.classes[y] for y in run.data.train.labels] == [
        data.classes[y] for y in data.train.labels
    ]
    assert "order of the model" in caplog.text


def changed(vit, tmp_path, **entries):
    folder = tmp_path / "changed"
    shutil.copytree(vit, folder)
    content = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_no_progress_bar_is_drawn_and_the_host_keeps_its_own(vit, capfd):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    load_trained(f"hf:{vit}")
    assert "%|" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled() == before


def test_code_of_the_folder_is_not_run(transformers, vit, tmp_path):
    folder = changed(vit, tmp_path, auto_map={"AutoModelForImageClassification": "evil.Model"})
    (folder / "evil.py").write_text("raise SystemExit('it ran')")
    model, _ = load_trained(f"hf:{folder}")
    assert type(model) is transformers.ViTForImageClassification


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"architectures": ["ViTModel"]}, "is a ViTModel; expected a classifier"),
        ({"architectures": None}, "model of unknown class"),
        ({"model_type": "vti"}, r"of the type 'vti'.*did you mean 'vit'"),
        ({"quantization_config": {"bits": 4}}, "is quantised"),
        ({"num_hidden_layers": 2}, "lack a part of the model"),
        ({"hidden_size": 24}, "cannot be loaded|another shape"),
    ],
)
def test_refused_in_one_line(transformers, vit, tmp_path, entries, words):
    with pytest.raises(CounError, match=words) as caught:
        load_trained(f"hf:{changed(vit, tmp_path, **entries)}")
    assert "\n" not in str(caught.value)


def test_another_number_of_classes(vit):
    data = pictures(classes=("ant", "bee", "cat", "dog"))
    with pytest.raises(CounError, match="3 outputs but the data has 4 classes"):
        coun.Run.from_weights(vit, data)
    assert build(f"hf:{vit}", classes=4, shape=(3, 16, 16)).config.num_labels == 4


def test_padding_of_texts_is_masked(transformers, tmp_path):
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        num_labels=3,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
    model, _ = load_trained(f"hf:{tmp_path}")
    ids = torch.tensor([[5, 6, 7, -1, -1], [5, 6, 7, 8, 9]])
    classifier = Classifier(model, example=torch.zeros(2, 5, dtype=torch.int64))
    with torch.no_grad():
        logits = classifier(ids).logits
        short = classifier(ids[:1, :3]).logits
    torch.testing.assert_close(logits[0], short[0])


@pytest.mark.parametrize("kind", ["GPT2", "Llama"])
def test_a_model_that_classifies_at_the_last_token(transformers, kind):
    small = {"num_labels": 3, "pad_token_id": 19, "bos_token_id": 18, "eos_token_id": 18}
    if kind == "GPT2":
        sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 8}
    else:
        sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
        sizes["num_attention_heads"] = 2
    config = getattr(transformers, f"{kind}Config")(vocab_size=20, **sizes, **small)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    ids = torch.tensor([[5, 6, 7, -1, -1], [5, 6, 7, 8, 9], [4, -1, -1, -1, -1]])
    classifier = Classifier(model, example=ids[:2]).eval()
    assert classifier.head_name == "score"
    logits, features = classifier(ids)
    alone = [model(row[row >= 0][None]).logits[0] for row in ids]
    torch.testing.assert_close(logits, torch.stack(alone))
    torch.testing.assert_close(model.score(features), logits)
    logits.square().sum().backward()
    gradient = model.score.weight.grad.clone()
    model.zero_grad()
    torch.stack(alone).square().sum().backward()
    torch.testing.assert_close(model.score.weight.grad, gradient)


def test_padding_comes_first_for_a_model_that_classifies_by_the_last_place(transformers):
    config = transformers.XLNetConfig(
        vocab_size=20, d_model=8, n_layer=1, n_head=2, d_inner=8, num_labels=3
    )
    model = transformers.XLNetForSequenceClassification(config)
    ids = torch.tensor([[5, 6, 7, -1, -1], [5, 6, 7, 8, 9]])
    logits = Classifier(model, example=ids).eval()(ids).logits
    alone = [model(row[row >= 0][None]).logits[0] for row in ids]
    torch.testing.assert_close(logits, torch.stack(alone))


@pytest.mark.parametrize(("padding", "expected"), [(19, [5, 19, 19]), (None, [5, 0, 0])])
def test_padding_is_the_token_that_the_configuration_names(transformers, padding, expected):
    class Tokens(torch.nn.Module):
        config = transformers.BertConfig(vocab_size=20, pad_token_id=padding)

        def forward(self, input_ids, attention_mask):
            return input_ids, attention_mask

    tokens, mask = run(Tokens(), torch.tensor([[5, -1, -1]]))
    assert (tokens[0].tolist(), mask[0].tolist()) == (expected, [1, 0, 0])


@pytest.mark.parametrize(
    ("texts", "entries", "words"),
    [
        ([1, 2, 3], {"problem_type": "multi_label_classification"}, "for multi label classif"),
        ([1, 2, 3], {"problem_type": "regression"}, "is for regression"),
        ([1, 2, 3] * 5, {}, "up to 15 tokens here, which --length lowers"),
        ([1, 2, 30], {}, "token ids up to 30"),
    ],
)
def test_a_text_model_that_cannot_work_is_refused_at_once(transformers, texts, entries, words):
    tokens, labels = torch.tensor([texts] * 6), torch.arange(6) % 2
    data = coun.from_arrays(tokens, labels, tokens, labels)
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=12,
        **entries,
    )
    with pytest.raises(CounError, match=words):
        coun.Run.from_weights(transformers.BertForSequenceClassification(config), data)


def test_a_text_classifier_is_unlearned_from_the_command_line(
    transformers, tmp_path, monkeypatch, capsys
):
    texts = [[1, 2 + n % 7, 9 + n % 5, 15 + n % 2][: 3 + n % 2] for n in range(40)]
    table = pyarrow.table({"input_ids": texts, "label": [n % 2 for n in range(40)]})
    pyarrow.parquet.write_table(table, tmp_path / "texts.parquet")
    config = transformers.DistilBertConfig(
        vocab_size=20, dim=8, hidden_dim=8, n_layers=1, n_heads=2, max_position_embeddings=8
    )
    model = transformers.DistilBertForSequenceClassification(config)
    model.save_pretrained(tmp_path / "my-classifier")
    monkeypatch.chdir(tmp_path)
    for words in (
        "unlearn my-classifier --data tokens:texts.parquet --method finetune --epochs 1 "
        "--forget-fraction 0.1 --out forgot",
        "train --from-request forgot --epochs 1 --out retrain",
        "evaluate forgot --against retrain",
        "export forgot served --to hf",
    ):
        monkeypatch.setattr(sys, "argv", ["coun", *words.split()])
        assert main() == 0, capsys.readouterr().err
    assert "texts seen" in capsys.readouterr().out
    assert type(load_trained("hf:served")[0]) is type(model)
