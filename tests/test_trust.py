"""Code by name: imported only for who asked for it."""

import sys

import pytest

import coun
from coun.bench.spec.reading import parse
from coun.errors import CounError
from coun.methods import make
from coun.trust import import_code, importable, is_code, source_digest

NET = """
from dataclasses import dataclass
from pathlib import Path
from torch import nn

Path(__file__).with_name("ran").touch()

@dataclass
class Width:
    hidden: int = 3

def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "trusted_or_not.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if "trusted_or_not" in name]:
        del sys.modules[name]


def test_forms_of_names():
    assert all(map(is_code, ["a.b:c", "a:b.c", "../x y/z.py:C"]))
    assert not any(map(is_code, ["cnn", "a:", ":b", "ensemble:3x2:one_hot:200:cnn", "/tmp/x:y"]))


@pytest.mark.parametrize("name", ["trusted_or_not:net", "./trusted_or_not.py:net"])
def test_code_runs_only_for_who_asked_for_it(module, name):
    for trust in (False, frozenset(), frozenset({"other:net"})):
        with pytest.raises(CounError, match="coun runs none that you did not ask for"):
            import_code(name, "model", trust=trust)
    assert not (module / "ran").exists()
    path = list(sys.path)
    assert import_code(name, "model", trust=frozenset({name}))(4)[1].out_features == 4
    assert (module / "ran").exists()
    assert sys.path == path
    assert import_code(name.replace("net", "Width"), "model", trust=True)(5).hidden == 5


def test_a_file_that_fails_leaves_nothing_behind(module):
    (module / "trusted_or_not_broken.py").write_text("1 / 0")
    with pytest.raises(CounError, match="cannot import it: ZeroDivisionError"):
        import_code("trusted_or_not_broken.py:f", "model", trust=True)
    (module / "trusted_or_not_script.py").write_text("import sys; sys.exit(2)")
    with pytest.raises(CounError, match="ends the program when it is imported; put .* '__main__'"):
        import_code("trusted_or_not_script.py:f", "model", trust=True)
    with pytest.raises(CounError, match="does not exist"):
        import_code("trusted_or_not_gone.py:f", "model", trust=True)
    assert not any("trusted_or_not_" in name for name in sys.modules)


def test_the_code_beside_a_file_can_be_imported(module):
    (module / "sub").mkdir()
    (module / "sub" / "trusted_or_not_too.py").write_text("value = 3")
    with importable("sub/any.py:f"):
        import trusted_or_not_too
    assert trusted_or_not_too.value == 3


def test_the_digest_is_of_the_file(module):
    first = source_digest(import_code("trusted_or_not:net", "model", trust=True))
    assert first == source_digest(import_code("trusted_or_not:Width", "model", trust=True))
    with pytest.raises(CounError, match="no source file"):
        source_digest(3)


def test_a_run_folder_runs_no_code(module):
    data = coun.load("digits", limit=50)
    coun.train(data, "trusted_or_not:net", epochs=1, out="run")
    (module / "ran").unlink()
    del sys.modules["trusted_or_not"]
    for use in (coun.Run.open, coun.evaluate, coun.unlearn, coun.audit.audit):
        with pytest.raises(CounError, match="model 'trusted_or_not:net' is code that a file names"):
            use("run")
    assert not (module / "ran").exists()
    assert coun.Run.open("run", trust=True).record.model.name == "trusted_or_not:net"
    assert coun.evaluate("run", trust=frozenset({"trusted_or_not:net"}))["counts"]


METHOD = """
from typing import ClassVar

from pydantic.dataclasses import dataclass
from coun.methods.finetune import FineTune
from coun.plans.method import FROZEN

@dataclass(frozen=True, config=FROZEN)
class Mine(FineTune):
    \"\"\"Fine-tune on some layers.\"\"\"

    name: ClassVar[str] = "NAME"
    source: ClassVar[str] = "a test"
    layers: tuple[int, ...] | None = (1,)
"""


@pytest.mark.parametrize("name", ["trusted_or_not_method:Mine", "./trusted_or_not_method.py:Mine"])
def test_a_method_by_the_name_of_its_class(module, name):
    file = module / "trusted_or_not_method.py"
    file.write_text(METHOD.replace("NAME", "mine"))
    with pytest.raises(CounError, match="coun runs none that you did not ask for"):
        make(name)
    assert make(name, {"layers": "3, 4"}, trust=True).layers == (3, 4)
    data = coun.load("digits", limit=50)
    start = coun.train(data, "mlp", epochs=1)
    split = coun.Split.random(data, 0.1)
    run = coun.unlearn(start, split, name, epochs=1, layers="2", out="run")
    assert (run.record.method.name, run.record.method.settings["layers"]) == ("mine", (2,))
    assert coun.Run.open("run").record.method.name == "mine"  # a record of it needs no code
    for wrong in ("trusted_or_not_method:dataclass", "trusted_or_not_method:FROZEN"):
        with pytest.raises(CounError, match="expected a subclass of coun.Method"):
            make(wrong, trust=True)


def test_a_method_must_not_take_the_name_of_another(module):
    (module / "trusted_or_not_second.py").write_text(METHOD.replace("NAME", "coun"))
    with pytest.raises(CounError, match="calls itself 'coun', as another method does"):
        make("trusted_or_not_second:Mine", trust=True)


CONFIG = """
title = "t"
seeds = [0]
workload = [{name = "w", data = {source = "digits"}, model = "MODEL"}]
scenario = [{kind = "random", fraction = 0.1}]
method = [{name = "METHOD"}]
"""


@pytest.mark.parametrize(
    ("model", "method", "named"),
    [
        ("trusted_or_not:net", "finetune", "model 'trusted_or_not:net'"),
        ("cnn", "./trusted_or_not.py:net", "method './trusted_or_not.py:net'"),
    ],
)
def test_a_config_runs_no_code(module, model, method, named):
    from coun.bench import bench
    from coun.bench.spec.estimation import estimate

    file = module / "c.toml"
    file.write_text(CONFIG.replace("MODEL", model).replace("METHOD", method))
    for use in (estimate, lambda config: bench(config, module / "out")):
        with pytest.raises(CounError, match=f"{named} is code that a file names"):
            use(file)
    assert not (module / "ran").exists()
    assert not (module / "out").exists()


def test_changed_code_is_another_experiment(module):
    from coun.bench.spec.code import code_of, code_of_model

    assert code_of_model("cnn") == {} == code_of(coun.Split)
    before = code_of_model("./trusted_or_not.py:net")
    assert before == code_of_model("./trusted_or_not.py:net") != {}
    (module / "trusted_or_not.py").write_text(NET + "\n")
    assert code_of_model("./trusted_or_not.py:net") != before


LOSS = """
from pathlib import Path
from typing import ClassVar

from pydantic.dataclasses import dataclass
from coun.objectives.contrastive.registry import FROZEN, ContrastiveLoss

Path(__file__).with_name("ran").touch()

@dataclass(frozen=True, config=FROZEN)
class Nearness(ContrastiveLoss):
    \"\"\"Squared distance of the two views.\"\"\"

    name: ClassVar[str] = "nearness"
    source: ClassVar[str] = "a test"
    power: float = 2.0

    def loss(self, a, b, labels):
        return (a - b).abs().pow(self.power).mean()

class InfoNCE(Nearness):
    name = "info_nce"
"""


def test_a_contrastive_loss_by_the_name_of_its_class(module):
    (module / "trusted_or_not_loss.py").write_text(LOSS)
    name = "./trusted_or_not_loss.py:Nearness"
    method = coun.contrast(make("finetune"), name, 0.5, power=3)
    assert method.name == "finetune+nearness"
    assert method.settings()["contrast"]["power"] == 3
    data = coun.load("digits", limit=50)
    start = coun.train(data, "mlp", epochs=1)
    split = coun.Split.random(data, 0.1)
    run = coun.unlearn(start, split, "finetune", epochs=1, contrast={"loss": name})
    plain = coun.unlearn(start, split, "finetune", epochs=1)
    assert run.record.weights_sha256 != plain.record.weights_sha256
    for wrong, message in (
        (
            "trusted_or_not_loss:InfoNCE",
            "calls itself 'info_nce', as another contrastive",
        ),
        ("trusted_or_not_loss:Path", "expected a subclass of"),
        ("info_nec", "did you mean 'info_nce'"),
    ):
        with pytest.raises(CounError, match=message):
            coun.contrast(make("finetune"), wrong)


@pytest.mark.parametrize("place", ["contrast.loss = '{}'", "vary = {{'contrast.loss' = ['{}']}}"])
def test_a_config_runs_no_loss_without_trust(module, place):
    (module / "trusted_or_not_loss.py").write_text(LOSS)
    name = "trusted_or_not_loss:Nearness"
    text = f"[[method]]\nname = 'finetune'\n{place.format(name)}\n"
    with pytest.raises(CounError, match=f"contrastive loss '{name}' is code that a file names"):
        parse(text)
    assert not (module / "ran").exists()
