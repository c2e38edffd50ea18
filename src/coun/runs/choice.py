"""Which method serves a request, by a rule that uses only what a practitioner has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import ceil
from typing import Any, Literal, NamedTuple

import torch

from coun.data import Data, Split
from coun.errors import CounError
from coun.methods import find
from coun.plans.matching import MATCHING_EPOCHS, Matching

AUTO = "auto"  # in place of the name of a method
BUDGET = 0.3  # of a Retrain's cost
NEARLY_RETRAIN = 0.8  # from this share on, the exact answer is hardly dearer
MOST_ERRORS = 1.5  # of models of folds for each error of the model, for targets as they are
MOST_OF_CLASS = 0.75  # of a class: models that saw so much more of it know too much
FEW_HELD_OUT = 20  # below it, a quantile of 5% is the smallest value, and rests on one row
SINGLE_ROWS = ("random", "listed")  # kinds of requests
# Methods with targets that the default epochs reach.
MET_SOON = ("out_of_fold", "calibrated_out_of_fold", "held_out")
# Epochs of such a method at least, because targets are moved between them, where the budget pays
# for so many: of a model that has forgotten nothing yet, and of one that has.
LEAST_MATCHED, LEAST_MATCHED_AGAIN = 3, 2
FORGET_WEIGHT = 0.1  # of the forget loss in NegGrad+, where each row comes up once an epoch

LabelFit = Literal["usual", "unusual", "wrong"]  # of the forget rows, beside held-out rows


class Choice(NamedTuple):
    """A method by name, with settings, and one sentence that says why it was chosen."""

    name: str
    settings: dict[str, Any]
    reason: str


def kind_of(split: Split, data: Data) -> str:
    """Tell what the rule takes a request for, by the rows that are new in it.

    Rows of earlier requests do not count, because the model to start from has forgotten them.

    - A finer class is a class. Its rows resemble each other. Models that saw a part of them, such
      as those of folds, know the others, and their predictions do not serve as targets.
    - A class with some rows of others is a class if it has half of the rows or more.
    """
    if any(request.kind == "subclass" for request in split.request):
        return "class"
    parts = ((kind, torch.isin(rows, split.new)) for kind, rows in split.parts(data))
    counts = {kind: int(new.sum()) for kind, new in parts if bool(new.any())}
    if not counts:  # canaries only
        return split.content_kind
    if 2 * counts.get("class", 0) >= sum(counts.values()):
        return "class"
    return next(iter(counts)) if len(counts) == 1 else "mixed"


def share_of_classes(split: Split, data: Data) -> float:
    """Compute which share of the class of a forget row is forgotten, in the mean over these rows.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> share_of_classes(coun.Split.by_class(data, "3"), data)
    1.0
    """
    labels = data.train.labels.cpu()
    forgotten, retain = (labels[split.rows(data, role)] for role in ("forgotten", "retain"))
    counts = [torch.bincount(rows, minlength=len(data.classes)) for rows in (forgotten, retain)]
    shares = (counts[0] / (counts[0] + counts[1]))[labels[split.rows(data, "forget")]]
    return float(shares.double().mean()) if len(shares) else 0.0


def choose_method(
    *,
    kind: str,
    forget_rows: int,
    retain_rows: int,
    forget_rows_present: bool,
    original: Mapping[str, Any],
    budget: float = BUDGET,
    exclude: Collection[str] = (),
    prepared: bool = False,
    test_rows: int = 0,
    earlier_rows: int = 0,
    error_ratio: float = 1.0,
    second_view: str | None = None,
    label_fit: LabelFit = "usual",
    folds_doubt: bool = False,
    share_of_classes: float = 0.0,
) -> Choice:
    """Choose the method for a request, without a Retrain of the request and without a timing.

    The choice is the first method of this list that the budget pays for, that can read the rows it
    needs, and that is not excluded:

    1. If the budget pays for a Retrain, or nearly: Retrain, which is exact.
    2. For whole classes, or finer classes: class matching, because it is known what a Retrain
       predicts for them; then NoT and CoUn, which do not read forget rows.
    3. For other rows: out-of-fold matching if the model was prepared, then held-out matching if
       half of the test rows may be used for it. Neither needs a Retrain that says when to stop.
       Then NegGrad+ with small forget batches, whose right strength only a Retrain shows; then
       CoUn, which does not read forget rows. There are five exceptions:

       - If the models of folds err much more often than the model does, their predictions are not
         good enough as targets as they are. Calibrated out-of-fold matching takes the place of
         out-of-fold matching.
       - If the labels of the forget rows fit worse than those of held-out rows do, held-out
         matching is left out, because it may leave these labels as the model's answers.
       - If these labels are mostly wrong, class matching comes first. It takes each row to the
         class that the model finds likeliest beside its label. But if the models of folds mostly
         give other labels, too, out-of-fold matching comes first, because the rows may also be
         hard rows, which a Retrain has right in part.
       - Otherwise, if most rows of the classes of the forget rows are forgotten, only CoUn is
         taken. Models that saw these rows know too much of the others to give targets.
       - A class beside more rows of other classes is not matched either.
    4. If nothing else is left, or one epoch costs more than the budget: Retrain.

    Each earlier unlearning has trained the model further. The training of many requests would add
    up to more than a Retrain has, so it is in proportion to the rows that are new. Methods that
    match targets of single rows have two epochs at least: with one, a series of requests moved the
    model away from Retrain, row by row.

    Args:
        kind: what the request consists of (`kind_of`): "class", "random", "listed" or "mixed".
        forget_rows, retain_rows: how many rows the request adds, and how many are retained.
        forget_rows_present: whether all rows to forget can still be read, as they cannot where
            they are deleted, and in a federation.
        original: settings of the Original's training; may be empty. Learning rates are those
            for SGD; where it was not used, or is not known, they are left to `coun.unlearn`.
        budget: what unlearning may cost, as a share of a Retrain.
        exclude: names of methods that failed a gate.
        prepared: whether the model carries out-of-fold predictions (`coun prepare`).
        test_rows: how many there are, if half of them may be used to calibrate a method, so that
            measurements have the other half only; else 0.
        earlier_rows: rows that the model to start from was made to forget since it was trained.
        error_ratio: the error rate of the models of folds on rows that they have not seen, divided
            by that of the model on held-out rows.
        second_view: letters of CoUn's second view, where the views of the data change nothing
            (`coun.plans.contrastive_module.second_view_letters`).
        label_fit: whether the labels of the forget rows fit their inputs as those of held-out
            rows do, less often, or mostly not.
        folds_doubt: whether the models of folds, too, mostly give the forget rows another label.
        share_of_classes: which share of the class of a forget row is forgotten, in the mean.

    Returns: the choice; `settings` fill the budget, or the part of it that is in proportion. A
        method that matches targets of single rows has no more epochs than by default, after which
        it has met them, or three where the default is less.

    Raises: CounError for a budget that is not above 0.

    Source: methods and settings that came nearest to Retrain in docs/results/bench.md and
        docs/results/nearest.md; what adds up, in docs/results/registry.md.

    >>> recipe = {"epochs": 30, "batch_size": 64, "optimizer": "sgd"}
    >>> choice = choose_method(
    ...     kind="listed", forget_rows=3, retain_rows=297, forget_rows_present=True, original=recipe
    ... )
    >>> choice.name, choice.settings["epochs"], choice.settings["forget_batch_size"]
    ('neggrad_plus', 8, 8)
    """
    if not budget > 0:
        raise CounError(f"budget is {budget:g}; expected a share of a Retrain's cost above 0")
    if budget >= NEARLY_RETRAIN:
        return Choice(
            "retrain", {}, f"the budget of {budget:g} of a Retrain pays for the exact answer"
        )
    settings, passes = _settings(forget_rows, retain_rows, original)
    if second_view:
        settings["coun"]["second_view_letters"] = second_view
    order = _order(
        kind,
        forget_rows_present,
        prepared,
        test_rows // 2 >= FEW_HELD_OUT,
        error_ratio,
        label_fit,
        folds_doubt,
        share_of_classes,
    )
    epochs_of_original = original.get("epochs") or 182
    too_costly = ""
    for name, reason in order.items():
        most = int(budget * epochs_of_original / passes[name])
        if name in MET_SOON:
            most = min(most, max(LEAST_MATCHED, round(MATCHING_EPOCHS * epochs_of_original)))
        if name not in exclude and most:
            fewest = LEAST_MATCHED_AGAIN if name in MET_SOON else 1
            epochs = most * forget_rows // (forget_rows + earlier_rows)
            epochs = max(min(fewest, most), epochs)
            chosen = {"epochs": epochs, **settings[name]}
            method = find(name, trust=False)
            if issubclass(method, Matching):
                chosen["lr"] = method.rate_for(
                    epochs * ceil(retain_rows / _batch_size(original)), original
                )
            if original.get("optimizer") != "sgd":
                chosen.pop("lr", None)
            return Choice(name, chosen, reason + too_costly)
        if name not in exclude and not too_costly:
            share = passes[name] / epochs_of_original
            too_costly = f"; one epoch of {name} costs {share:.3g} of a Retrain, above {budget:g}"
    tried = ", ".join(sorted(exclude))
    why = f"{tried} did not pass the gates{too_costly}" if tried else too_costly.removeprefix("; ")
    return Choice("retrain", {}, f"{why}; a Retrain is exact")


def _settings(
    forget_rows: int, retain_rows: int, original: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Settings of each method of the rule, and how many passes of the retain rows an epoch costs.

    Returns: both by the name of the method; the settings without those that follow from the number
        of steps.
    """
    batch = _batch_size(original)
    small = max(1, batch // 8)
    # Few forget rows come up again and again in one epoch, each time with the full push away from
    # their labels, which ruins the model. The weight is for rows that come up once an epoch.
    visits = retain_rows / batch * small / max(1, forget_rows)
    push = FORGET_WEIGHT / max(1.0, visits)
    settings: dict[str, dict[str, Any]] = {
        "coun": {"lr": 0.1, "temperature": 0.25},
        "not": {"lr": 0.05},
        "neggrad_plus": {"lr": 0.03, "alpha": round(1 - push, 6), "forget_batch_size": small},
        **{name: {} for name in ("class_matching", *MET_SOON)},
    }
    passes = {
        "coun": 2.0,
        "not": 1.0,
        "neggrad_plus": 1 + small / batch,
        # Forget batches of a quarter, or as large as an epoch needs to have each forget row.
        **dict.fromkeys(
            ("class_matching", *MET_SOON), 1 + max(0.25, forget_rows / max(1, retain_rows))
        ),
    }
    return settings, passes


def _batch_size(original: Mapping[str, Any]) -> int:
    return int(original.get("batch_size") or 256)


def _order(
    kind: str,
    forget_rows_present: bool,
    prepared: bool,
    can_calibrate: bool,
    error_ratio: float,
    label_fit: LabelFit,
    folds_doubt: bool,
    share_of_classes: float,
) -> dict[str, str]:
    """The methods for a request, the first choice first, each with the reason for it."""
    if kind == "class":
        without_rows = {
            "not": "NoT sends the rows of whole classes or finer ones to their neighbours",
            "coun": "CoUn is the next best for whole classes or finer ones",
        }
        if not forget_rows_present:
            return without_rows
        return {
            "class_matching": "a Retrain sends whole classes or finer ones where the Original's "
            "second thoughts are",
            **without_rows,
        }
    if not forget_rows_present:
        return {
            "coun": "some of the rows to forget are deleted or stay with clients, where a method "
            "that reads them would leave them as they are; CoUn reads retained rows only, for the "
            "whole request"
        }
    untargeted = {
        "neggrad_plus": "NegGrad+ with small forget batches came nearest for single rows at this "
        "cost",
        "coun": "CoUn reads retained rows only and came nearest of such methods",
    }
    if kind not in SINGLE_ROWS:
        return untargeted
    if label_fit != "wrong" and share_of_classes > MOST_OF_CLASS:
        return {
            "coun": "most rows of the classes of the forget rows are forgotten, and CoUn needs no "
            "targets"
        }
    # How often the model errs on unseen rows is known only where there are enough held-out rows.
    folds_err = can_calibrate and error_ratio > MOST_ERRORS
    relabelled, of_folds = {}, {}
    if label_fit == "wrong":
        relabelled["class_matching"] = (
            "the labels of the forget rows look wrong, and it takes them to the next likely class"
        )
    if prepared and not folds_err:
        of_folds["out_of_fold"] = (
            "the model was prepared, so that each forget row has a target of its own"
        )
    # Models of folds that learned the wrong labels from similar rows give no targets for them.
    order = of_folds | relabelled if folds_doubt else relabelled | of_folds
    if can_calibrate and label_fit == "usual":
        if prepared and folds_err:
            order["calibrated_out_of_fold"] = (
                "models of folds say which rows are hard, but they err more often than the model, "
                "so held-out rows say how sure a model may be"
            )
        order["held_out"] = (
            "held-out rows show how sure a model may be of rows that it has not seen"
        )
    return order | untargeted
