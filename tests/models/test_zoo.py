import sys

import pytest
import torch
from torch import nn

from coun.errors import CounError
from coun.models import zoo
from coun.models.families import Family, Preprocessing
from coun.models.zoo import MODELS, build

MINE = """
from torch import nn
import neighbour_of_mine

class Net(nn.Linear):
    def __init__(self, in_channels, num_classes):
        super().__init__(in_channels, num_classes)

def takes_shape(input_shape, *, n_classes, width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[1], n_classes))

def plain():
    import late_neighbour_of_mine
    return nn.Linear(2, 2)

def hidden(**kwargs):
    assert not kwargs
    return nn.Linear(2, 2)

def needs_more(classes, depth):
    return nn.Linear(2, classes)

def fails():
    raise RuntimeError("two\\nlines")

def text():
    return "no model"

ready = nn.Linear(2, 2)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "file_of_mine.py").write_text(MINE)
    (tmp_path / "neighbour_of_mine.py").write_text("")
    (tmp_path / "late_neighbour_of_mine.py").write_text("")
    (tmp_path / "broken_of_mine.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield "file_of_mine"
    assert sys.path == path
    for name in [name for name in sys.modules if name.endswith("_of_mine")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"text"}))
def test_every_entry_builds_and_ends_in_a_head(name):
    with torch.device("meta"):
        net = build(name, classes=5, shape=(3, 32, 32))
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert isinstance(net.head, nn.Linear)
    assert MODELS[name].summary
    assert MODELS[name].scale in ("paper", "small")


def test_the_callers_seed_decides():
    nets = []
    for _ in range(2):
        torch.manual_seed(3)
        nets.append(build("mlp", classes=3, shape=(4,)))
    assert torch.equal(nets[0].head.weight, nets[1].head.weight)
    other = build("mlp", classes=3, shape=(4,))
    assert not torch.equal(nets[0].head.weight, other.head.weight)


def test_own_factories_get_what_they_name(mine):
    net = build(f"{mine}:Net", classes=4, shape=(3, 8, 9), trust=True)
    assert (net.in_features, net.out_features) == (3, 4)
    net = build(f"{mine}:takes_shape", classes=4, shape=(3, 8, 9), trust=True)
    assert (net[1].in_features, net[1].out_features) == (8, 4)
    assert build(f"{mine}:plain", classes=4, shape=(3, 8, 8), trust=True).out_features == 2
    assert build(f"{mine}:hidden", classes=4, shape=(3, 8, 8), trust=True).out_features == 2
    net = build("coun.models.mlp:mlp", classes=4, shape=(6,), trust=True)
    assert net.hidden1.in_features == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", "unknown model 'resnet81' (did you mean 'resnet8"),
        ("no_such_file_of_mine:Net", "cannot import it: ModuleNotFoundError"),
        ("broken_of_mine:Net", "nothing_of_that_name"),
        ("file_of_mine:Nett", "no 'Nett' in 'file_of_mine' (did you mean 'Net'?)"),
        ("file_of_mine:needs_more", "TypeError"),
        ("file_of_mine:fails", "RuntimeError: two lines"),
        ("file_of_mine:text", "expected an nn.Module back; got a str"),
        ("file_of_mine:ready", "expected a function or class"),
        ("file_of_mine:", "expected 'package.module:factory'"),
        (":Net", "expected 'package.module:factory'"),
        ("coun.models.cnn:cnn", "cnn takes images"),
    ],
)
def test_errors_are_one_line(mine, name, words):
    with pytest.raises(CounError) as caught:
        build(name, classes=4, shape=(6,), trust=True)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_class_is_refused():
    with pytest.raises(CounError, match="at least 2 classes"):
        build("mlp", classes=1, shape=(4,))


def test_whatever_the_builder_of_another_library_raises_is_one_line(monkeypatch, refused):
    def fails(name, classes, shape, config):
        raise RuntimeError("first line\nsecond line")

    family = Family("tiny", "NAME", "small networks", fails, lambda name: Preprocessing())
    monkeypatch.setattr(zoo, "family_of", lambda name: (family, "x"))
    with refused("model 'tiny:x': building it failed: RuntimeError: first line second line"):
        build("tiny:x", classes=2, shape=(3, 8, 8))
