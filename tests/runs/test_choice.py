"""The rule of `auto`, case by case."""

from dataclasses import replace

import pytest
import torch

import coun
from coun.data import OutOfFold
from coun.data.requests import Subclass
from coun.methods import make
from coun.runs.choice import choose_method, kind_of, share_of_classes
from coun.runs.choosing import error_ratio

ROWS = {"forget_rows": 30, "retain_rows": 270, "forget_rows_present": True}
RECIPE = {"epochs": 30, "batch_size": 64, "optimizer": "sgd"}


def names(**values):
    """The methods that are tried if each fails its gate."""
    tried = []
    values = {**ROWS, **values}
    while not tried or tried[-1] != "retrain":
        tried.append(choose_method(original=RECIPE, exclude=tried, **values).name)
    return tried


@pytest.mark.parametrize(
    ("kind", "present", "expected"),
    [
        ("class", True, ["class_matching", "not", "coun", "retrain"]),
        ("class", False, ["not", "coun", "retrain"]),
        ("listed", True, ["neggrad_plus", "coun", "retrain"]),
        ("random", True, ["neggrad_plus", "coun", "retrain"]),
        ("mixed", True, ["neggrad_plus", "coun", "retrain"]),
        ("listed", False, ["coun", "retrain"]),
    ],
)
def test_the_order_of_methods(kind, present, expected):
    assert names(kind=kind, forget_rows_present=present) == expected


@pytest.mark.parametrize("kind", ["listed", "random"])
def test_a_prepared_model_is_matched_first(kind):
    values = {"kind": kind, "prepared": True}
    tried = names(**ROWS, **values)
    assert tried == ["out_of_fold", "neggrad_plus", "coun", "retrain"]
    assert names(forget_rows_present=False, **values) == ["coun", "retrain"]
    choice = choose_method(original=RECIPE, **ROWS, **values)
    assert make(choice.name, choice.settings).epochs == 4  # and not the 7 that the budget pays for


@pytest.mark.parametrize("budget", [0.05, 0.1, 0.3, 0.7])
def test_single_rows_are_matched_for_at_most_the_default_epochs(budget):
    values = {"kind": "listed", "prepared": True, "budget": budget}
    choice = choose_method(original=RECIPE, **ROWS, **values)
    default = make(choice.name).with_defaults_from(RECIPE).epochs
    affordable = int(budget * RECIPE["epochs"] / 1.25)
    assert choice.settings["epochs"] == min(default, affordable)
    choice = choose_method(original=RECIPE, **ROWS, kind="class", budget=budget)
    assert (choice.name, choice.settings["epochs"]) == ("class_matching", affordable)


@pytest.mark.parametrize(("forget", "expected"), [(200, 8), (400, 7), (800, 5)])
def test_a_large_request_has_fewer_epochs_because_each_forget_row_comes_up_in_all(forget, expected):
    """Of 35 epochs 0.3 pays for 10.5 passes of 800 rows; the forget rows are a quarter or more."""
    rows = {"forget_rows": forget, "retain_rows": 800, "forget_rows_present": True}
    choice = choose_method(kind="class", original={**RECIPE, "epochs": 35}, **rows)
    assert (choice.name, choice.settings["epochs"]) == ("class_matching", expected)


@pytest.mark.parametrize(
    ("epochs", "budget", "expected"), [(16, 0.3, 3), (10, 0.3, 2), (10, 0.6, 3)]
)
def test_short_trainings_are_matched_for_three_epochs_if_the_budget_pays(epochs, budget, expected):
    """With one or two, the targets are hardly moved; the default is 2 and 1 here."""
    recipe = {**RECIPE, "epochs": epochs}
    choice = choose_method(kind="listed", original=recipe, **ROWS, prepared=True, budget=budget)
    assert choice.settings["epochs"] == expected


@pytest.mark.parametrize(
    ("epochs", "name", "says"),
    [(5, "out_of_fold", False), (4, "neggrad_plus", True)],  # 1.25 / 4 is more than 0.3
)
def test_a_method_that_the_budget_does_not_pay_for_is_named(epochs, name, says):
    """Whoever has prepared a model asks why the preparation is not used."""
    recipe = {**RECIPE, "epochs": epochs}
    choice = choose_method(kind="listed", original=recipe, **ROWS, prepared=True, budget=0.3)
    assert choice.name == name
    said = "one epoch of out_of_fold costs 0.312 of a Retrain, above 0.3"
    assert choice.reason.endswith(said) == says
    values = {"kind": "listed", **ROWS, "prepared": True}
    nothing = choose_method(original={**RECIPE, "epochs": 2}, **values)
    assert nothing.name == "retrain"
    assert nothing.reason.startswith("one epoch of out_of_fold costs 0.625 of a Retrain, above 0.3")


@pytest.mark.parametrize("kind", ["listed", "random"])
def test_held_out_rows_calibrate_where_nothing_is_prepared(kind):
    values = {"kind": kind, "test_rows": 40}
    assert names(**values) == ["held_out", "neggrad_plus", "coun", "retrain"]
    assert names(**values, prepared=True)[:2] == ["out_of_fold", "held_out"]
    assert names(**{**values, "test_rows": 39})[0] == "neggrad_plus"
    assert names(**values, forget_rows_present=False) == ["coun", "retrain"]
    assert names(kind="class", test_rows=40)[0] == "class_matching"


@pytest.mark.parametrize(
    ("ratio", "expected"), [(1.5, "out_of_fold"), (1.6, "calibrated_out_of_fold")]
)
def test_ignorant_models_of_folds_say_only_which_rows_are_hard(ratio, expected):
    values = {"kind": "listed", "prepared": True, "error_ratio": ratio}
    tried = names(**values, test_rows=40)
    assert (tried[0], tried[tried.index(expected) + 1]) == (expected, "held_out")
    assert ("out_of_fold" in tried) == (expected == "out_of_fold")
    assert names(**values)[0] == "out_of_fold"  # without held-out rows there is nothing better


def test_errors_of_folds_are_counted_beside_those_of_the_model(original, small, split):
    """Of three retained rows in ten the models of folds are wrong; of held-out rows, the model."""
    labels = small.train.labels
    guesses = labels.clone()
    retain = split.rows(small, "retain")
    guesses[retain[: len(retain) * 3 // 10]] += 1
    table = torch.nn.functional.one_hot(guesses % 10, 10).double().add(0.01).log()
    table = table.log_softmax(1).float()[None].expand(2, -1, -1)
    prepared = replace(
        original, out_of_fold=OutOfFold(tuple(small.train.ids), table, small.classes)
    )
    held_out = split.calibration_rows(small)
    with torch.no_grad():
        images = small.views.evaluate(small.test.fetch(held_out))
        answers = original.model.eval()(images).argmax(1)
    wrong = int((answers != small.test.labels[held_out]).sum())
    expected = 0.3 / (max(wrong, 1) / len(held_out))
    assert error_ratio(prepared, split) == pytest.approx(expected, rel=1e-3)
    assert error_ratio(replace(original, out_of_fold=None), split) == 1.0


@pytest.mark.parametrize("kind", ["class", "mixed"])
def test_whole_classes_have_no_targets(kind):
    tried = names(kind=kind, **ROWS, prepared=True, test_rows=100)
    assert not {"out_of_fold", "held_out"} & set(tried)


def test_a_finer_class_is_a_class_because_the_rest_of_it_is_known(split, small):
    finer = replace(split, request=(Subclass(name="3"),))
    kinds = [kind_of(each, small) for each in (split, finer)]
    assert (split.content_kind, *kinds) == ("listed", "listed", "class")


@pytest.mark.parametrize(("others", "expected"), [(5, "class"), (40, "mixed")])
def test_a_class_with_some_other_rows_is_a_class(small, others, expected):
    of_class = (small.train.labels == 3).nonzero()[:, 0].tolist()
    rest = (small.train.labels == 4).nonzero()[:, 0].tolist()[:-1]
    rest += (small.train.labels == 5).nonzero()[:, 0].tolist()[:-1]
    split = coun.Split.by_index(small, [*of_class, *rest[:others]])
    assert len(rest) > len(of_class)
    assert (split.content_kind, kind_of(split, small)) == ("mixed", expected)


def test_a_request_after_others_is_what_its_own_rows_are(small):
    """The model to start from has forgotten the other rows, of whatever kind they were."""
    labels = small.train.labels
    rows = [small.train.numbers[labels == label].tolist() for label in (3, 4, 5)]
    listed = [*rows[1][:-1], *rows[2][:-1]]  # more rows than the class has
    after_rows = coun.Split.by_class(small, "3", earlier=listed)
    after_class = coun.Split.by_index(small, listed[:3], earlier=rows[0])
    assert {s.content_kind for s in (after_rows, after_class)} == {"mixed"}
    assert (kind_of(after_rows, small), kind_of(after_class, small)) == ("class", "listed")


@pytest.mark.parametrize(
    ("fit", "prepared", "expected"),
    [
        ("unusual", False, ["neggrad_plus", "coun", "retrain"]),
        ("unusual", True, ["out_of_fold", "neggrad_plus", "coun", "retrain"]),
        ("wrong", False, ["class_matching", "neggrad_plus", "coun", "retrain"]),
        ("wrong", True, ["class_matching", "out_of_fold", "neggrad_plus", "coun", "retrain"]),
    ],
)
def test_labels_that_do_not_fit_are_not_matched_to_those_of_held_out_rows(fit, prepared, expected):
    values = {"kind": "listed", "test_rows": 100, "label_fit": fit, "prepared": prepared}
    assert names(**values) == expected
    assert names(**values, error_ratio=2.0)[0] == next(n for n in expected if n != "out_of_fold")
    assert names(**{**values, "kind": "class"})[0] == "class_matching"


@pytest.mark.parametrize(
    ("prepared", "ratio", "expected"),
    [
        (True, 1.0, ["out_of_fold", "class_matching", "neggrad_plus", "coun", "retrain"]),
        (True, 2.0, ["class_matching", "neggrad_plus", "coun", "retrain"]),
        (False, 1.0, ["class_matching", "neggrad_plus", "coun", "retrain"]),
    ],
)
def test_models_of_folds_that_doubt_the_labels_come_first(prepared, ratio, expected):
    values = {"kind": "listed", "test_rows": 100, "label_fit": "wrong", "folds_doubt": True}
    assert names(**values, prepared=prepared, error_ratio=ratio) == expected


@pytest.mark.parametrize("prepared", [False, True])
def test_where_most_of_a_class_goes_nothing_is_matched(prepared):
    values = {"kind": "random", "test_rows": 100, "prepared": prepared}
    assert names(**values, share_of_classes=0.76) == ["coun", "retrain"]
    assert names(**values, share_of_classes=0.75)[0] in ("out_of_fold", "held_out")
    assert names(**values, share_of_classes=0.9, label_fit="wrong")[0] == "class_matching"


def test_the_share_of_a_class_is_weighed_by_its_forgotten_rows():
    x, y = torch.arange(8.0)[:, None], [0, 0, 0, 0, 1, 1, 2, 2]
    data = coun.from_arrays(x, y, x, y)
    split = coun.Split.by_index(data, [0, 1, 2, 4])
    assert share_of_classes(split, data) == pytest.approx((3 * 3 / 4 + 1 / 2) / 4)


@pytest.mark.parametrize("budget", [0.8, 1.0, 5.0])
def test_a_budget_that_pays_for_a_retrain_buys_one(budget):
    choice = choose_method(
        kind="class",
        forget_rows=30,
        retain_rows=270,
        forget_rows_present=True,
        original=RECIPE,
        budget=budget,
    )
    assert choice.name == "retrain"


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_must_be_above_zero(budget):
    with pytest.raises(coun.CounError, match="budget"):
        choose_method(
            kind="class",
            forget_rows=30,
            retain_rows=270,
            forget_rows_present=True,
            original={},
            budget=budget,
        )


@pytest.mark.parametrize("budget", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("kind", ["class", "listed"])
@pytest.mark.parametrize("original", [RECIPE, {}, {"epochs": 5, "batch_size": 4}])
def test_settings_are_valid_and_within_the_budget(budget, kind, original):
    choice = choose_method(
        kind=kind,
        forget_rows=30,
        retain_rows=270,
        forget_rows_present=True,
        original=original,
        budget=budget,
    )
    method = make(choice.name, choice.settings)
    if choice.name != "retrain":
        assert method.epochs <= budget * original.get("epochs", 182)


@pytest.mark.parametrize(
    ("prepared", "expected"), [(False, [8, 4, 2, 2, 1]), (True, [4, 2, 2, 2, 2])]
)
def test_an_unlearned_model_is_trained_in_proportion_to_what_is_new(prepared, expected):
    """Targets are moved between epochs, so that a method which matches them has two at least."""

    def epochs(earlier_rows):
        known = {"prepared": prepared, "earlier_rows": earlier_rows}
        choice = choose_method(kind="listed", **ROWS, original=RECIPE, **known)
        return choice.settings["epochs"]

    assert [epochs(rows) for rows in (0, 30, 60, 90, 3000)] == expected


@pytest.mark.parametrize(("rows", "expected"), [(768, 0.05), (769, 0.03)])
@pytest.mark.parametrize("prepared", [True, False])
def test_many_steps_have_a_learning_rate_that_shows_what_is_missed(rows, expected, prepared):
    values = {"kind": "listed", "prepared": prepared, "test_rows": 40, "error_ratio": 2.0}
    recipe = {**RECIPE, "batch_size": 64}  # 4 epochs, of 12 steps or of 13
    choice = choose_method(**{**ROWS, "retain_rows": rows}, original=recipe, **values)
    assert choice.name == ("calibrated_out_of_fold" if prepared else "held_out")
    assert (choice.settings["epochs"], choice.settings["lr"]) == (4, expected)


def test_a_model_that_a_low_rate_has_trained_is_matched_at_a_lower_one():
    recipe = {**RECIPE, "lr": 0.01}
    choice = choose_method(kind="listed", **ROWS, original=recipe, test_rows=40)
    usual = choose_method(kind="listed", **ROWS, original=RECIPE, test_rows=40)
    assert choice.name == usual.name == "held_out"
    assert choice.settings["lr"] == pytest.approx(usual.settings["lr"] / 10)


def test_without_sgd_the_learning_rate_is_left_open():
    recipe = {**RECIPE, "optimizer": "adamw"}
    choice = choose_method(kind="class", **ROWS, original=recipe)
    assert "lr" not in choice.settings


@pytest.mark.parametrize(
    ("count", "expected", "words"), [(40, "held_out", "held-out"), (39, "neggrad_plus", "NegGrad+")]
)
def test_unlearn_takes_auto_and_records_why(small, split, tmp_path, caplog, count, expected, words):
    """Four test rows of each class are enough, as half of them together say how sure one may be."""
    data = replace(small, source="", test=small.test.take(torch.arange(count)))
    original = coun.train(data, "mlp", epochs=8)
    run = coun.unlearn(original, split, "auto", out=tmp_path / "run", epochs=1)
    assert run.record.method.name == expected
    assert run.record.method.settings["epochs"] == 1
    assert words in run.record.chosen_because
    assert "too few" not in caplog.text  # what auto chooses has the rows that it needs


@pytest.mark.parametrize("deleted", [True, False])
def test_auto_warns_where_earlier_requests_may_come_back(small, split, caplog, deleted):
    """Rows that are deleted before they are named leave CoUn, which reads retained rows only."""
    original = coun.train(replace(small, source=""), "mlp", epochs=8)
    first = coun.unlearn(original, split, "finetune", epochs=1)
    second = coun.Split.by_index(small, range(60, 70), earlier=first.split)
    kept = torch.tensor([i for i in range(len(small.train)) if not (deleted and 60 <= i < 65)])
    now = replace(first, data=replace(first.data, train=first.data.train.take(kept)))
    caplog.clear()
    run = coun.unlearn(now, second, "auto", epochs=1)
    assert run.record.method.name == ("coun" if deleted else "held_out")
    assert ("may know again what earlier requests forgot" in caplog.text) == deleted


def test_a_retrain_that_auto_chooses_has_the_recipe_of_the_original(small, split):
    original = coun.train(small, "mlp", epochs=1)  # an epoch of unlearning costs more than 0.3
    with pytest.raises(coun.CounError, match="auto chooses a Retrain .* leave out epochs, lr"):
        coun.unlearn(original, split, "auto", epochs=3, lr=0.01)
    run = coun.unlearn(original, split, "auto")
    assert run.record.method.settings["epochs"] == 1


def test_few_rows_are_pushed_less():
    """The push on one row in an epoch is the same for few rows and for many."""

    def push(count):
        settings = choose_method(
            kind="listed",
            forget_rows=count,
            retain_rows=3000 - count,
            forget_rows_present=True,
            original=RECIPE,
        ).settings
        steps = (3000 - count) / RECIPE["batch_size"]
        return (1 - settings["alpha"]) * steps * settings["forget_batch_size"] / count

    assert push(3) == pytest.approx(push(30), rel=1e-3)
    assert push(30) == pytest.approx(push(300), rel=1e-3)


def test_coun_gets_a_second_view_where_the_views_change_nothing():
    values = {**ROWS, "kind": "listed", "forget_rows_present": False, "original": RECIPE}
    assert "second_view_letters" not in choose_method(**values).settings
    choice = choose_method(**values, second_view="CHN")
    assert make(choice.name, choice.settings).second_view_letters == "CHN"
