"""Measurements beyond the verdict: of each model alone, and of each pair with a Retrain."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from coun.attacks import (
    class_thresholds,
    confidence,
    entropy,
    entropy_attack_members,
    loss,
    loss_attack_accuracy,
    modified_entropy,
    probabilities,
    roc,
    scaled_logit,
    svc_efficacy,
    ulira_accuracy,
    ulira_log_odds,
)
from coun.audit.scores import PROBED, Subject
from coun.data import Split
from coun.data.subsets import at_most
from coun.metrics import (
    activation_distance,
    agreement,
    average_gap,
    calibration_error,
    js_divergence,
    kl_divergence,
    klom,
    layer_distance,
    linear_cka,
    linear_probe,
    tow,
    tow_mia,
    zero_retrain_forgetting,
)
from coun.metrics import probabilities as shares
from coun.runs import SharedOutputs
from coun.seeds import Seeds

PARTS = ("forget", "test", "retain")
ATTACKED = 1_000  # members and non-members of the attack on all probabilities, each
FEWEST = 10  # rows in each group for a logistic regression
ENSEMBLE = 5  # models of each kind for KLOM and U-LiRA


def describe(subject: Subject, split: Split, untrained: SharedOutputs) -> dict[str, Any]:
    """Measure one model; percent unless the unit is given. JSON-able.

    Args: untrained: outputs of untrained networks, which the models of one audit share.

    Returns: everything of `coun.runs.measure`, and: `mia` with all five features;
        `logistic_loss_accuracy` (50 is ideal); `logistic_entropy_members` (percent of forget
        rows taken for members); `threshold_efficacy` (class-wise, modified entropy; percent
        taken for non-members); `roc` of forget against test rows of their classes;
        `calibration_error` by part (0..1); `zrf` by definition; `probe` accuracies.
    """
    result = copy.deepcopy(subject.measure(split))
    logits, labels = ({p: f(p) for p in PARTS} for f in (subject.logits, subject.labels))
    result["mia"]["probabilities"] = _probabilities_attack(subject, split)
    result |= {
        "logistic_entropy_members": entropy_attack_members(
            *(entropy(logits[p]) for p in ("retain", "test", "forget"))
        ),
        "threshold_efficacy": _thresholds(subject),
        "calibration_error": {p: calibration_error(logits[p], labels[p]) for p in PARTS},
        "zrf": _zrf(subject, split, untrained),
        "probe": _probe(subject),
        "roc": {},
    }
    alike = torch.isin(labels["test"], labels["forget"])
    answers = {"forget": (logits["forget"], labels["forget"])}
    answers["test"] = (logits["test"][alike], labels["test"][alike])
    if min(len(y) for _, y in answers.values()):
        result["roc"] = {
            name: roc(*(signal(*answers[p]) for p in ("forget", "test"))).to_json()
            for name, signal in (("confidence", confidence), ("log_odds", scaled_logit))
        }
    losses = [loss(*answers[p]) for p in ("forget", "test")]
    enough = min(map(len, losses)) >= FEWEST
    result["logistic_loss_accuracy"] = loss_attack_accuracy(*losses) if enough else None
    return result


def compare(
    subject: Subject, retrain: Subject, of_subject: dict[str, Any], of_retrain: dict[str, Any]
) -> dict[str, Any]:
    """Measure how far one model is from one Retrain.

    Args: of_subject, of_retrain: what `describe` gave.

    Returns: by part kl, js, activation, agreement and cka; average gap, ToW, ToW-MIA and probe
        excess (points); layer distance, None between different networks.
    """
    return {
        **{p: _distances(subject, retrain, p) for p in PARTS},
        "average_gap": average_gap(of_subject, of_retrain),
        "tow": tow(of_subject, of_retrain),
        "tow_mia": tow_mia(of_subject, of_retrain),
        "probe_excess": of_subject["probe"]["forget"] - of_retrain["probe"]["forget"],
        "layer_distance": _weights_apart(subject, retrain),
    }


def average(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average each number over equally shaped tables; None if one of them lacks it.

    >>> average([{"js": 1.0}, {"js": 3.0}])
    {'js': 2.0}
    """
    result: dict[str, Any] = {}
    for key, value in tables[0].items():
        values = [table[key] for table in tables]
        if isinstance(value, dict):
            result[key] = average(values)
        else:
            result[key] = None if None in values else float(np.mean(values))
    return result


def ensembles(unlearned: Sequence[Subject], retrains: Sequence[Subject]) -> dict[str, Any]:
    """KLOM and U-LiRA on the forgotten rows, where there are enough models of both kinds.

    Returns: empty with fewer than five of a kind; else `klom`, the mean divergence of the
        distributions of log-odds over models, nats, and `ulira_accuracy`, percent, 50 is ideal.
    """
    if min(len(unlearned), len(retrains)) < ENSEMBLE:
        return {}
    odds = [np.stack([s.log_odds("forget") for s in group]) for group in (unlearned, retrains)]
    saw = torch.zeros(len(unlearned) + len(retrains), odds[0].shape[1], dtype=torch.bool)
    saw[: len(unlearned)] = True
    scores = ulira_log_odds(torch.from_numpy(np.concatenate(odds)), saw)
    return {"klom": float(klom(*odds).mean()), "ulira_accuracy": ulira_accuracy(scores, saw)}


def _distances(subject: Subject, retrain: Subject, part: str) -> dict[str, float]:
    model, exact = subject.probabilities[part], retrain.probabilities[part]
    rows = at_most(PROBED, subject.labels(part))
    return {
        "kl": kl_divergence(exact, model),
        "js": js_divergence(exact, model),
        "activation": activation_distance(exact, model),
        "agreement": agreement(exact, model),
        "cka": linear_cka(subject.features(part)[rows], retrain.features(part)[rows]),
    }


def _weights_apart(subject: Subject, retrain: Subject) -> dict[str, float] | None:
    if subject.run is None or retrain.run is None:
        return None
    first, second = (run.model.state_dict() for run in (subject.run, retrain.run))
    if {k: v.shape for k, v in first.items()} != {k: v.shape for k, v in second.items()}:
        return None
    return {
        "total": layer_distance(first, second).total,
        "normalised": layer_distance(first, second, normalised=True).total,
    }


def _zrf(subject: Subject, split: Split, untrained: SharedOutputs) -> dict[str, float] | None:
    """Against a network with fresh weights from a fixed seed; None if it cannot be made."""
    run = subject.run
    if run is None or run.build is None:
        return None
    with Seeds(0).as_global("untrained"):
        network = run.build()
    network.eval()
    fresh = replace(run, model=network).classifier
    rows = split.rows(run.data, "forgotten")
    reference = shares(untrained.predict(fresh, run.data, "train", rows).logits)
    model = subject.probabilities["forget"]
    kinds: tuple[Literal["correct", "reference"], ...] = ("correct", "reference")
    return {kind: zero_retrain_forgetting(model, reference, kind) for kind in kinds}


def _probe(subject: Subject) -> dict[str, float]:
    """Accuracies of `linear_probe` on at most 3,000 training rows, forget rows among them."""
    features, labels = (
        torch.cat([get(p) for p in ("retain", "forget")])
        for get in (subject.features, subject.labels)
    )
    rows = at_most(PROBED, labels)
    sets = [(subject.features(p), subject.labels(p)) for p in ("forget", "test")]
    probe = linear_probe((features[rows], labels[rows]), *sets, iterations=50)
    return {"forget": probe.forget_accuracy, "test": probe.test_accuracy}


def _probabilities_attack(subject: Subject, split: Split) -> float:
    """The SVC on all probabilities, with 1,000 members at most, because its time is cubic."""
    labels = subject.labels("test")
    usual = ~torch.isin(labels, torch.tensor(split.forgotten_classes))
    size = min(len(subject.labels("retain")), int(usual.sum()), ATTACKED)
    members = at_most(size, subject.labels("retain"))
    others = usual.nonzero().flatten()[at_most(size, labels[usual])]
    groups = (("retain", members), ("test", others), ("forget", slice(None)))
    return svc_efficacy(*(probabilities(subject.logits(p))[rows] for p, rows in groups))


def _thresholds(subject: Subject) -> float:
    """Song and Mittal's attack: percent of forget rows taken for non-members."""
    score = {p: -modified_entropy(subject.logits(p), subject.labels(p)) for p in PARTS}
    labels = {p: subject.labels(p) for p in PARTS}
    classes = subject.logits("test").shape[1]
    limits = class_thresholds(
        score["retain"], labels["retain"], score["test"], labels["test"], classes
    )
    return 100.0 * float((score["forget"] < limits[labels["forget"]]).double().mean())
