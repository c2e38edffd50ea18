"""A plan refuses methods and rows that the runs would refuse, with the same words."""

from __future__ import annotations

import pytest

import coun
from coun.bench import bench
from coun.bench.spec.checks import method_of
from coun.bench.spec.estimation import estimate
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import load, parse

FINETUNE = 'name = "finetune"\nlabel = "FT"\nsettings = { epochs = 1 }'
CLASS = 'kind = "class"\nname = "3"'


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (FINETUNE, 'name = "ct"', "no square convolution kernel"),
        (FINETUNE, 'name = "not"\nsettings = { negate = ["stem"] }', "unknown parameter 'stem'"),
        (
            FINETUNE,
            'name = "out_of_fold"',
            "row .* of the scenario .class 3.: .*class 3 as a whole",
        ),
        (FINETUNE, 'name = "held_out"', "forgets class 3 as a whole"),
        (FINETUNE, 'name = "regun"', "forgets class 3 as a whole"),
        (FINETUNE, 'name = "scrub"\nsettings = { rewind = true }', "give reference_error"),
        (FINETUNE, 'name = "rewind"\nsettings = { epochs = 2 }', "expected at most 1"),
        (FINETUNE, 'name = "sisa"\nretain_access = 0.5', "sisa is exact"),
        (FINETUNE, FINETUNE.replace("FT", "Retrain"), "two rows of the table are called 'Retrain'"),
        (FINETUNE, FINETUNE + '\n[semantics]\nof = "cat"', "unknown class 'cat'"),
        (FINETUNE, FINETUNE + '\n[maps]\nof = "cat"', "unknown class 'cat'"),
        (FINETUNE, FINETUNE + '\n[maps]\nrows = ["NoT"]', "unknown row of maps 'NoT'"),
    ],
)
def test_a_plan_and_a_run_refuse_the_same(config_file, tmp_path, before, after, words) -> None:
    config = config_file(scenario=CLASS)
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))
    with pytest.raises(coun.CounError, match=words):
        estimate(config, timed=False)
    with pytest.raises(coun.CounError, match=words):
        bench(config, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("vary = { lr = [] }", "lr of FT has an empty list"),
        ("vary = { lr = [0.1, 0.1] }", "lr of FT '0.1' appears twice"),
        ("search = { lr = [] }", "lr of FT has an empty list"),
        ("search = { lr = { low = 1, high = 1 } }", "at method.0.search.lr: range from 1 to 1"),
        ("settings = { lr = inf }", "lr of finetune is inf; expected a finite number"),
    ],
)
def test_a_config_with_empty_or_endless_values_is_refused(tiny_text, setting, words) -> None:
    with pytest.raises(coun.CounError, match=words):
        parse(tiny_text().replace("settings = { epochs = 1 }", setting, 1))


def test_the_methods_that_are_checked_have_the_settings_of_the_runs() -> None:
    plan = make_plan(load("demo"))
    for model in plan.models:
        settings = method_of(model.experiment).settings()
        if model.settings:
            assert settings == model.settings
        else:  # the Original and Retrains
            assert settings == model.experiment.setting.recipe
