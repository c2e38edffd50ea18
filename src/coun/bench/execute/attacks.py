"""The membership attacks that protocols put into the column MIA."""

from __future__ import annotations

import torch

from coun.attacks import (
    confidence,
    entropy,
    entropy_attack_members,
    loss,
    loss_attack_accuracy,
    svc_efficacy,
)
from coun.bench.spec.protocols import Attack
from coun.data import Split
from coun.runs import Predictions


def attack(kind: Attack, predictions: Predictions, split: Split) -> float:
    """Compute the column MIA of a protocol, in percent, for every attack but "svc".

    `measure` computes "svc". As there, the test rows of a forgotten class are left out.

    Source: the code bases named in `PROTOCOLS`. SSD's members are all retain rows;
        DeepUnlearn's test rows are a seeded subset, as many as the forget rows.
    """
    feature = {"svc-first": confidence, "entropy": lambda x, _: entropy(x), "loss": loss}[kind]
    features = {
        part: feature(outputs.logits, predictions.labels[part])
        for part, outputs in predictions.outputs.items()
    }
    retain, forget, test = (features[part] for part in ("retain", "forget", "test"))
    if split.forgotten_classes:
        forgotten = torch.tensor(split.forgotten_classes)
        test = test[~torch.isin(predictions.labels["test"], forgotten)]
    if kind == "entropy":
        return entropy_attack_members(retain, test, forget)
    if kind == "loss":
        return loss_attack_accuracy(forget, test)
    size = min(len(retain), len(test))
    return svc_efficacy(retain[:size], test[:size], forget)
