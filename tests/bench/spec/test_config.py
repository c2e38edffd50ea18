"""Configs are checked; a wrong one is refused in one line that names the fault."""

from __future__ import annotations

import pytest

import coun
from coun.bench.spec import reading
from coun.bench.spec.estimation import estimate
from coun.bench.spec.reading import load, parse, shipped
from coun.methods import catalogue
from coun.report.style import method_style


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds =", "seed =", ["unknown key 'seed'", "did you mean 'seeds'"]),
        ('model = "mlp"', 'modell = "mlp"', ["workload.0", "'modell'", "did you mean 'model'"]),
        ("limit = 200", "limt = 200", ["workload.0.data", "did you mean 'limit'"]),
        ('kind = "random"', 'kind = "randon"', ["scenario.0", "randon", "random"]),
        ("{ epochs = 1 }", "{ epoch = 1 }", ["unknown setting 'epoch' of finetune", "'epochs'"]),
        ("{ epochs = 1 }", "{ epochs = -1 }", ["epochs of finetune is -1", "greater than 0"]),
        ('name = "coun"', 'name = "cuon"', ["unknown method 'cuon'", "did you mean 'coun'"]),
        ('name = "coun"', 'name = "retrain"', ["retrain is part of every bench"]),
        ("seeds = [0, 1]", "seeds = [0, 0]", ["seed '0' appears twice"]),
        ("seeds = [0, 1]", "seeds = []", ["seeds", "at least 1"]),
        ('title = "tiny"', 'title = "tiny', ["is not valid TOML", "line 2"]),
        ('title = "tiny"', 'title = "t"\nprotocol = "salum"', ["did you mean 'salun'"]),
        ('title = "tiny"', 'title = "t"\nmetrics = ["ta"]', ["unknown metric 'ta'"]),
        ('title = "tiny"', 'title = "t"\nfloor = [7]', ["floor seed 7"]),
        ('label = "CoUn"', 'label = "FT"', ["method 'FT' appears twice"]),
        (
            "settings = { epochs = 1 }\n\n",
            "search = { lrr = [0.1] }\n\n",
            ["unknown setting 'lrr' of finetune", "did you mean 'lr'"],
        ),
        (
            "settings = { epochs = 1 }\n\n",
            "search = { lr = { low = -1.0, high = 0.1 } }\n\n",
            ["lr of finetune is -1.0", "greater than 0"],
        ),
        (
            "settings = { epochs = 1 }\n\n",
            "vary = { retain_access = [0.5, 2.0] }\n\n",
            ["retain_access of FT is 2.0", "0 < share <= 1"],
        ),
        (
            "settings = { epochs = 1 }\n\n",
            "settings = { epochs = 1 }\npreparation = { repeats = 1 }\n\n",
            ["FT reads no out-of-fold predictions", "remove preparation"],
        ),
        (
            "settings = { epochs = 1 }\n\n",
            'settings = { epochs = 1 }\nvary = { "contrast.weight" = [1] }\n\n',
            ["does not use the module"],
        ),
        (
            "settings = { epochs = 1 }\n\n",
            "contrast = { temperture = 1 }\n\n",
            ["did you mean 'temperature'"],
        ),
    ],
)
def test_wrong_configs_are_refused_in_one_line(tiny_text, old, new, words) -> None:
    text = tiny_text()
    assert old in text
    with pytest.raises(coun.CounError) as caught:
        parse(text.replace(old, new, 1))
    message = str(caught.value)
    assert "\n" not in message.strip()
    for word in words:
        assert word in message


def test_settings_of_a_workload_and_chosen_settings_replace_the_others(tiny_text) -> None:
    more = """
[[method]]
name = "finetune"
label = "FT + module"
settings = { lr = 0.01 }
contrast = { weight = 1.0 }
on = { digits = { lr = 0.02, "contrast.weight" = 2.0 } }
"""
    method = parse(tiny_text(more=more)).method[-1]
    assert method.arguments("elsewhere", {}) == ({"lr": 0.01}, {"weight": 1.0})
    assert method.arguments("digits", {}) == ({"lr": 0.02}, {"weight": 2.0})
    chosen = {"lr": 0.03, "contrast.temperature": 0.5}
    assert method.arguments("digits", chosen) == (
        {"lr": 0.03},
        {"weight": 2.0, "temperature": 0.5},
    )


def test_every_combination_of_varied_settings_is_a_variant(tiny_text) -> None:
    more = """
[[method]]
name = "coun"
label = "grid"
vary = { lr = [0.1, 0.2], weight = [1, 2, 3] }
"""
    variants = parse(tiny_text(more=more)).method[-1].variants()
    assert len(variants) == 6
    assert {"lr": 0.2, "weight": 3} in variants


def test_an_unknown_config_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(coun.CounError, match=r"did you mean 'paper/table2.toml'"):
        load("paper/tabel2")


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_config_is_valid_and_can_be_planned(name: str, monkeypatch) -> None:
    monkeypatch.setenv("COUN_DATA", "nowhere")  # a plan needs no data
    config = load(name)
    estimated = estimate(name, timed=False)
    assert estimated["total"]["experiments"] > 0
    assert estimated["total"]["flops"] > 0
    assert {part["workload"] for part in estimated["parts"]} == {w.name for w in config.workload}


@pytest.mark.parametrize("name", shipped())
def test_labels_of_shipped_configs_are_those_of_the_papers(name: str) -> None:
    for method in load(name).method:
        # CoUn with weight 0 is fine-tuning.
        is_finetune = method.name == "coun" and method.settings.get("weight") == 0
        kind = "finetune" if is_finetune else method.name
        module = " + CL" * (method.contrast is not None)
        title = method.title
        for word in method_style(title).words.split():  # of variants
            title = title.replace(f" {word}", "")
        labels = [method_style(kind).label + module]
        if kind == "finetune" and module:  # CoUn by its two names
            labels.append("CoUn")
        assert title in labels


def test_every_method_can_be_planned(config_file) -> None:
    names = [name for name in catalogue() if name != "retrain"]
    more = "".join(f'[[method]]\nname = "{name}"\nlabel = "{name} again"\n' for name in names)
    path = config_file(more=more)
    path.write_text(path.read_text().replace('"mlp"', '"cnn"'))  # some need convolutions
    estimated = estimate(path, timed=False)
    kinds = {part["kind"]: part for part in estimated["parts"]}
    assert kinds["unlearnings"]["experiments"] == 2 * len(names)  # `tiny`'s own two are the same
    assert kinds["unlearnings"]["flops"] > 0


def test_an_estimate_counts_every_trial_of_the_tuning(config_file) -> None:
    more = "[method.search]\nlr = { low = 1e-3, high = 0.3 }\n"
    plain = estimate(config_file(more=more), timed=False)
    estimated = estimate(config_file(top="[tune]\ntrials = 4\n", more=more), timed=False)
    tuning = next(part for part in estimated["parts"] if part["kind"] == "tuning")
    # one Original, one Retrain and its measurement; four candidates and theirs
    assert tuning["experiments"] == 1 + 1 + 1 + 1 + 4 + 4
    assert tuning["epochs"] == 2 + 2 + 4
    assert estimated["total"]["flops"] == plain["total"]["flops"] + tuning["flops"]


def test_a_file_of_windows_in_the_home_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    text = reading.read_text("demo")
    (tmp_path / "bench.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load("~/bench.toml") == load("demo")
