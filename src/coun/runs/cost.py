"""What an unlearning will cost beside a Retrain, before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from coun.data import Split
from coun.engine import Cost
from coun.methods import Method
from coun.runs.choice import NEARLY_RETRAIN

UNITS = (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6))


def retrain_share(method: Method, split: Split, original: Mapping[str, Any]) -> float | None:
    """Estimate the cost of *method* as a share of a Retrain, from planned epochs and rows.

    Epochs count as `rows_per_epoch`, and Retrains that the method trains on the way in full.
    Anything else that a method computes is counted as one epoch.

    Args:
        method: with all settings filled in.
        original: the settings of the Original's training.

    Returns: the share; None where the Original's training is unknown, and for an ensemble,
        whose cost depends on which networks learned from the rows.
    """
    if not original.get("epochs") or method.exact:
        return None
    settings = method.settings()
    module = method.contrast_of is not None or settings.get("contrast") is not None
    rows = rows_per_epoch(
        method.reads,
        settings,
        len(split.retain),
        len(split.new),
        has_module=module,
        all_forget_rows=method.all_forget_rows,
    )
    epochs = settings.get("epochs") or 1
    share = rows * epochs / (len(split.retain) * original["epochs"])
    return float(share + method.further_retrains())


def trials_share(cost: Cost, split: Split, original: Mapping[str, Any]) -> float:
    """Tell what share of a Retrain the trials of a learning rate have cost, by their rows.

    A backward pass counts as two forward passes. 0 where the Original's training is unknown.

    >>> import coun
    >>> split = coun.Split.random(coun.load("digits", limit=100), 0.1)
    >>> cost = Cost(forward_images=120, trained_images=75)
    >>> trials_share(cost, split, {"epochs": 1})
    1.0
    """
    if not original.get("epochs"):
        return 0.0
    passes = cost.forward_images + 2 * cost.trained_images
    return float(passes / (3 * len(split.retain) * original["epochs"]))


def rows_per_epoch(
    reads: Collection[str],
    settings: Mapping[str, Any],
    retain: float,
    forget: float,
    *,
    has_module: bool,
    all_forget_rows: bool = False,
) -> float:
    """Count the rows that an epoch of a method passes forwards and backwards.

    These are the *retain* rows, their second view where the contrastive module is on, and a forget
    batch per retain batch, as large or as small as *settings* say, where the method reads forget
    rows. Where *all_forget_rows* come up in each epoch, these batches are large enough for that. A
    method that reads no retain rows passes the *forget* rows.

    >>> rows_per_epoch({"retain", "forget"}, {}, 900, 100, has_module=False)
    1800.0
    """
    if "retain" not in reads:
        return forget
    batch, small = settings.get("batch_size"), settings.get("forget_batch_size")
    forget_share = small / batch if small and batch else 1.0
    if all_forget_rows and retain:
        forget_share = max(forget_share, forget / retain)
    return retain * (1 + has_module + forget_share * ("forget" in reads))


def in_words(share: float) -> str:
    """Say what *share* of a Retrain means.

    >>> in_words(0.3)
    'this will cost about 0.30 of a Retrain'
    """
    text = f"this will cost about {share:.2f} of a Retrain"
    if share < NEARLY_RETRAIN:
        return text
    return f"{text}: consider Retrain (--method retrain), which is exact"


def operations(flops: float) -> str:
    """Return a number of floating-point operations with a unit that suits it.

    >>> operations(2.34e9), operations(1.5e15)
    ('2.3 GFLOP', '1,500.0 TFLOP')
    """
    unit, size = next((pair for pair in UNITS if flops >= pair[1]), UNITS[-1])
    return f"{flops / size:,.1f} {unit}"
