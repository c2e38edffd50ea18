"""What else is worth knowing: of each model alone, and of each pair with a Retrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coun.attacks import (
    class_thresholds,
    entropy,
    entropy_attack_members,
    loss,
    loss_attack_accuracy,
    modified_entropy,
    probabilities,
    roc,
    scaled_logit,
    svc_efficacy,
)
from coun.attacks import confidence as sureness
from coun.audit.scores import PROBED, Subject
from coun.data import Split
from coun.data.examples import stratified
from coun.engine import predict
from coun.metrics import (
    activation_distance,
    agreement,
    average_gap,
    calibration_error,
    js_divergence,
    kl_divergence,
    layer_distance,
    linear_cka,
    linear_probe,
    tow,
    tow_mia,
    zero_retrain_forgetting,
)
from coun.metrics import probabilities as shares
from coun.runs import measure
from coun.seeds import Seeds

PARTS = ("forget", "test", "retain")
ATTACKED = 1_000  # members and non-members of the attack on all probabilities, each
FEWEST = 10  # rows a group for a logistic regression


def describe(subject: Subject, split: Split) -> dict[str, Any]:
    """Everything measured on one model, percent where not said otherwise. JSON-able.

    As `measure`, and: `mia` with all five features; `logistic_loss_accuracy` (50 is ideal);
    `logistic_entropy_members` (percent of forget rows taken for members);
    `threshold_efficacy` (class-wise, modified entropy; percent taken for non-members);
    `roc` of forget against test rows of their classes; `calibration_error` by part (0..1);
    `zrf` by definition; `probe` accuracies.
    """
    result = measure(subject.found, split)
    logits, labels = ({p: f(p) for p in PARTS} for f in (subject.logits, subject.labels))
    result["mia"]["probabilities"] = _probabilities_attack(subject, split)
    result |= {
        "logistic_entropy_members": entropy_attack_members(
            *(entropy(logits[p]) for p in ("retain", "test", "forget"))
        ),
        "threshold_efficacy": _thresholds(subject, split),
        "calibration_error": {p: calibration_error(logits[p], labels[p]) for p in PARTS},
        "zrf": _zrf(subject, split),
        "probe": _probe(subject),
        "roc": {},
    }
    held = torch.isin(labels["test"], labels["forget"])
    own = {"forget": (logits["forget"], labels["forget"])}
    own["test"] = (logits["test"][held], labels["test"][held])
    if min(len(y) for _, y in own.values()):
        result["roc"] = {
            name: roc(*(signal(*own[p]) for p in ("forget", "test"))).to_json()
            for name, signal in (("confidence", sureness), ("log_odds", scaled_logit))
        }
    losses = [loss(*own[p]) for p in ("forget", "test")]
    enough = min(map(len, losses)) >= FEWEST
    result["logistic_loss_accuracy"] = loss_attack_accuracy(*losses) if enough else None
    return result


def compare(
    subject: Subject, retrain: Subject, mine: dict[str, Any], theirs: dict[str, Any]
) -> dict[str, Any]:
    """Distances of one model to one Retrain: by part kl, js, activation, agreement, cka; and
    gap, ToW, ToW-MIA, probe excess (points), layer distance (None for other networks).

    Args: mine, theirs: what `describe` gave.
    """
    return {
        **{p: _distances(subject, retrain, p) for p in PARTS},
        "average_gap": average_gap(mine, theirs),
        "tow": tow(mine, theirs),
        "tow_mia": tow_mia(mine, theirs),
        "probe_excess": mine["probe"]["forget"] - theirs["probe"]["forget"],
        "layer_distance": _weights_apart(subject, retrain),
    }


def average(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each number over equally shaped tables; None if one lacks it."""
    result: dict[str, Any] = {}
    for key, value in found[0].items():
        values = [one[key] for one in found]
        if isinstance(value, dict):
            result[key] = average(values)
        else:
            result[key] = None if None in values else float(np.mean(values))
    return result


def _distances(subject: Subject, retrain: Subject, part: str) -> dict[str, float]:
    mine, theirs = subject.p[part], retrain.p[part]
    rows = _some(subject.labels(part), PROBED)
    return {
        "kl": kl_divergence(theirs, mine),
        "js": js_divergence(theirs, mine),
        "activation": activation_distance(theirs, mine),
        "agreement": agreement(theirs, mine),
        "cka": linear_cka(subject.features(part)[rows], retrain.features(part)[rows]),
    }


def _weights_apart(subject: Subject, retrain: Subject) -> dict[str, float] | None:
    first, second = (s.run.model.state_dict() for s in (subject, retrain))
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        return None
    return {
        "total": layer_distance(first, second).total,
        "normalised": layer_distance(first, second, normalised=True).total,
    }


def _zrf(subject: Subject, split: Split) -> dict[str, float] | None:
    """Against a net with fresh weights, drawn from a fixed seed; None if nobody can make one."""
    run = subject.run
    if run.build is None:
        return None
    with Seeds(0).as_global("untrained"):
        fresh = replace(run, model=run.build().eval()).classifier
    examples = run.data.train.take(split.rows(run.data, "forget"))
    theirs = shares(predict(fresh, run.data, examples).logits)
    mine = subject.p["forget"]
    kinds: tuple[Literal["correct", "reference"], ...] = ("correct", "reference")
    return {kind: zero_retrain_forgetting(mine, theirs, kind) for kind in kinds}


def _probe(subject: Subject) -> dict[str, float]:
    """Accuracies of `linear_probe` on at most 3,000 training rows, forget rows among them."""
    both = [torch.cat([get(p) for p in ("retain", "forget")]) for get in _getters(subject)]
    rows = _some(both[1], PROBED)
    sets = [tuple(get(p) for get in _getters(subject)) for p in ("forget", "test")]
    found = linear_probe((both[0][rows], both[1][rows]), *sets, iterations=50)
    return {"forget": found.forget_accuracy, "test": found.test_accuracy}


def _getters(subject: Subject) -> tuple[Any, Any]:
    return subject.features, subject.labels


def _probabilities_attack(subject: Subject, split: Split) -> float:
    """The SVC on all probabilities; on 1,000 members at most, for its time is cubic."""
    labels = subject.labels("test")
    kept = labels != (-1 if split.forget_class is None else split.forget_class)
    size = min(len(subject.labels("retain")), int(kept.sum()), ATTACKED)
    members = _some(subject.labels("retain"), size)
    others = kept.nonzero().flatten()[_some(labels[kept], size)]
    groups = (("retain", members), ("test", others), ("forget", slice(None)))
    return svc_efficacy(*(probabilities(subject.logits(p))[rows] for p, rows in groups))


def _thresholds(subject: Subject, split: Split) -> float:
    """Song and Mittal's attack: percent of forget rows taken for non-members."""
    sure = {p: -modified_entropy(subject.logits(p), subject.labels(p)) for p in PARTS}
    labels = {p: subject.labels(p) for p in PARTS}
    classes = subject.logits("test").shape[1]
    limits = class_thresholds(
        sure["retain"], labels["retain"], sure["test"], labels["test"], classes
    )
    return 100.0 * float((sure["forget"] < limits[labels["forget"]]).double().mean())


def _some(labels: Tensor, most: int) -> Tensor:
    return stratified(labels, min(most, len(labels)), 0)
