"""A run whose network has the recorded weights but other code does not open."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

import coun
from coun import CounError
from coun.files import unsealed, write_sealed
from coun.runs.answers import check_answers
from coun.runs.folder import write_record

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "none": nn.Identity}


def images():
    return coun.load("digits", limit=80, test_limit=20)


def table():
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand((60, 5), generator=generator) * torch.tensor([1.0, 1.0, 5.0, 50.0, 900.0])
    labels = (rows[:, 0] > 0.5).long()
    return coun.from_arrays(rows[:40], labels[:40], rows[40:], labels[40:])


def texts():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(50, (60, 6), generator=generator)
    labels = (rows[:, 0] > 25).long()
    return coun.from_arrays(rows[:40], labels[:40], rows[40:], labels[40:])


def network(data, activation="relu", first=None):
    """A small network for *data*, whose weights have the same shapes whatever the activation."""
    width = 6 * 8 if data.vocabulary else torch.Size(data.input_shape).numel()
    embed = nn.Embedding(data.vocabulary, 8) if data.vocabulary else nn.Identity()
    hidden = nn.Linear(width, 16)
    layers = [first or nn.Identity(), embed, nn.Flatten(), hidden, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(16, len(data.classes)))


@pytest.fixture(scope="module", params=[images, table, texts])
def trained(request, tmp_path_factory):
    data, folder = request.param(), tmp_path_factory.mktemp("answers") / "run"
    coun.train(data, lambda: network(data), epochs=2, lr=0.01, out=folder)
    return data, folder


@pytest.mark.parametrize("activation", ["gelu", "tanh", "none"])
def test_the_same_weights_in_other_code_are_refused_wherever_a_run_is_read(trained, activation):
    data, folder = trained
    other = lambda: network(data, activation)  # noqa: E731
    message = "run.json: the weights fit the model 'Sequential', but it gives other answers"
    for use in (
        lambda: coun.Run.open(folder, data=data, build=other),
        lambda: coun.Run.open(folder, data=data, build=other()),
        lambda: coun.load_model(folder, build=other),
        lambda: coun.train(data, other, epochs=2, lr=0.01, out=folder),
    ):
        with pytest.raises(CounError, match=message) as refused:
            use()
        assert "\n" not in str(refused.value)


def test_the_same_code_opens_also_where_arithmetic_is_coarse(trained):
    data, folder = trained
    opened = coun.Run.open(folder, data=data, build=network(data))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check_answers(folder, opened.record, opened.model)
    assert len(opened.record.answers.logits[0]) == len(data.classes)


def test_a_folder_without_answers_opens_as_before(trained, tmp_path):
    data, folder = trained
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    content, _ = unsealed(json.loads((folder / "run.json").read_text()), folder, "")
    del content["answers"]
    write_sealed(tmp_path / "run.json", content)
    run = coun.Run.open(tmp_path, data=data, build=lambda: network(data, "tanh"))
    assert run.record.answers is None


def test_a_file_of_code_that_was_changed_is_noticed(tmp_path):
    code = (
        "import torch\n\ndef make(classes):\n    return torch.nn.Sequential(torch.nn.Flatten(), "
        "torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, classes))\n"
    )
    file = tmp_path / "net.py"
    file.write_text(code)
    coun.train(images(), f"{file}:make", epochs=1, out=tmp_path / "run")
    assert coun.Run.open(tmp_path / "run", trust=True).record.answers is not None
    file.write_text(code.replace("ReLU", "GELU"))
    for name in [name for name in sys.modules if name.startswith("coun_code_net_")]:
        del sys.modules[name]
    with pytest.raises(CounError, match=r"net.py:make', but it gives other answers"):
        coun.Run.open(tmp_path / "run", trust=True)


def test_a_command_is_repeated_whose_record_has_a_relative_path(tmp_path, monkeypatch):
    """As versions before 0.2 wrote it, when the command was given in the folder of the file."""
    (tmp_path / "code").mkdir()
    (tmp_path / "elsewhere").mkdir()
    code = "import torch\n\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), {})\n"
    (tmp_path / "code" / "small.py").write_text(code.format("torch.nn.Linear(64, 10)"))
    first = coun.train(images(), f"{tmp_path / 'code' / 'small.py'}:make", epochs=1)
    folder = tmp_path / "run"
    coun.train(images(), f"{tmp_path / 'code' / 'small.py'}:make", epochs=1, out=folder)
    record = coun.Run.open(folder, trust=True).record
    model = record.model.model_copy(update={"name": "small.py:make"})
    write_record(folder, record.model_copy(update={"model": model}).identified())
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = coun.train(images(), "../code/small.py:make", epochs=1, out=folder)
    assert again.record.weights_sha256 == first.record.weights_sha256
    assert again.record.finished == record.finished  # nothing was trained
    with pytest.raises(CounError, match="holds another run"):
        coun.train(images(), "../code/small.py:make", epochs=2, out=folder)
    (tmp_path / "code" / "other.py").write_text(code.format("torch.nn.Linear(64, 10)"))
    with pytest.raises(CounError, match="differs in model"):
        coun.train(images(), "../code/other.py:make", epochs=1, out=folder)


def test_coun_s_own_networks_need_no_answers(tmp_path):
    run = coun.train(images(), "mlp", epochs=1, out=tmp_path / "run")
    assert run.record.answers is None


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class OnlySmall(nn.Module):
    """Takes numbers as positions, as an embedding of categories does, and counts its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        if x.abs().max() > 1.5 or x.min() < 0:
            raise IndexError("index out of range")
        return x


def test_random_answers_are_not_recorded(tmp_path):
    data = images()
    run = coun.train(data, lambda: network(data, first=Noise()), epochs=1, out=tmp_path / "run")
    assert run.record.answers is None


def test_code_that_takes_few_numbers_is_asked_about_blank_ones(tmp_path):
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.rand((40, 5), generator=generator), torch.arange(40) % 2
    data = coun.from_arrays(rows[:30], labels[:30], rows[30:], labels[30:])
    build = lambda name="relu": network(data, name, first=OnlySmall())  # noqa: E731
    run = coun.train(data, build, epochs=1, out=tmp_path / "run")
    assert set(run.record.answers.scales) == {0.0}
    opened = coun.Run.open(tmp_path / "run", data=data, build=build)
    assert coun.models.weights_digest(opened.model) == run.record.weights_sha256
    with pytest.raises(CounError, match="other answers"):
        coun.Run.open(tmp_path / "run", data=data, build=lambda: build("none"))
