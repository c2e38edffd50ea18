"""What is known of a request, for the rule of `auto`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coun.data import Split
from coun.engine import predict
from coun.federated import federation_of
from coun.plans.contrastive_module import second_view_letters
from coun.runs.choice import SINGLE_ROWS, kind_of, share_of_classes
from coun.runs.label_fit import label_fit
from coun.runs.run import Run


def request_facts(start: Run, split: Split, original: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the arguments of `choose_method` that do not depend on who asks.

    Args: original: settings of the Original's training; may be empty.
    """
    kind = kind_of(split, start.data)
    # In a federation the clients train on their retained rows only.
    present = federation_of(original) is None and len(split.rows(start.data, "forget")) == len(
        split.new
    )
    fit = label_fit(start, split) if present and kind in SINGLE_ROWS else "usual"
    return {
        "kind": kind,
        "forget_rows": len(split.new),
        "retain_rows": len(split.retain),
        "forget_rows_present": present,
        "original": original,
        "prepared": start.out_of_fold is not None,
        "test_rows": split.rows_to_calibrate(start.data),
        "earlier_rows": len(split.earlier) if start.record.kind == "unlearned" else 0,
        "error_ratio": error_ratio(start, split),
        "label_fit": fit,
        "folds_doubt": fit == "wrong" and folds_doubt(start, split),
        "share_of_classes": share_of_classes(split, start.data),
        "second_view": second_view_letters(start.data),
    }


def error_ratio(start: Run, split: Split) -> float:
    """Tell how many errors models of folds make on unseen rows for each error of *start* on such.

    The held-out rows are those that held-out matching would use; one error is counted at least.
    """
    if start.out_of_fold is None or len(split.test_rows(start.data)) < 2:
        return 1.0
    retained = start.data.train.take(split.rows(start.data, "retain"))
    held_out = start.data.test.take(split.calibration_rows(start.data))
    logits = predict(start.classifier, start.data, held_out, with_features=False).logits
    wrong = (logits.argmax(1) != held_out.labels.cpu()).double()
    unseen = start.out_of_fold.of(retained).argmax(2) != retained.labels.cpu()
    return float(unseen.double().mean() / wrong.mean().clamp(min=1 / len(wrong)))


def folds_doubt(start: Run, split: Split) -> bool:
    """Tell whether most predictions of models of folds for the forget rows differ from the labels.

    Rows whose labels look wrong may be hard rows with right labels, which a Retrain still has right
    in part. What it says of each, the models of folds know, unless they learned the labels from
    similar rows, such as rows with the same mark.
    """
    rows = start.data.train.take(split.rows(start.data, "forget"))
    if start.out_of_fold is None or not len(rows):
        return False
    other = start.out_of_fold.of(rows).argmax(2) != rows.labels.cpu()
    return bool(other.double().mean() > 0.5)
