"""Contrastive Unlearning: its steps, when it stops, and its effect on features."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.models import weights_digest

FAST = {"epochs": 2, "batch_size": 16, "lr": 0.01}


def run(original, split, **settings):
    return coun.unlearn(original, split, "contrastive_unlearning", **{**FAST, **settings})


@pytest.mark.parametrize("omega", [1, 3])
def test_each_forget_batch_is_paired_with_omega_retain_batches(original, split, omega):
    cost = run(original, split, omega=omega).record["cost"]
    assert cost["steps"] == 2 * omega * 2  # 30 rows make two batches of 15
    retained = 170 * 2 * omega // 11  # the first of eleven batches
    assert cost["samples_seen"] == 2 * (omega * 30 + retained)
    assert cost["trained_images"] == cost["forward_images"] == cost["samples_seen"]


@pytest.mark.parametrize(
    "settings", [{"weighting": "reference"}, {"temperature": 0.2}, {"retain_weight": 0.5}], ids=str
)
def test_every_setting_has_an_effect(original, split, settings):
    digests = {weights_digest(run(original, split, **more).model) for more in ({}, settings)}
    assert len(digests) == 2


def test_without_its_scale_the_weighting_does_not_matter(original, split):
    runs = [run(original, split, scale=0.0, weighting=w) for w in ("correct", "reference")]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)


def test_it_stops_when_forget_accuracy_is_low_enough(original, split):
    # No accuracy is above 100, so one epoch; none of this model is as low as 0, so all.
    assert len(run(original, split, stop_at=100).record["stages"]) == 1
    whole = run(original, split, stop_at=0, epochs=3)
    assert coun.evaluate(whole)["unlearn_accuracy"] < 100
    assert len(whole.record["stages"]) == 3


def test_forget_features_leave_their_class(original, split, small):
    def own_class(model):
        """Mean cosine of forget features to retain features of their class, minus others."""
        f, y = {}, {}
        for role in ("retain", "forget"):
            rows = split.rows(small, role)
            with torch.no_grad():
                out = model(small.views.evaluate(small.train.images[rows]))
            f[role] = torch.nn.functional.normalize(out.features, dim=1)
            y[role] = small.train.labels[rows]
        same, dots = y["forget"][:, None] == y["retain"], f["forget"] @ f["retain"].T
        return (dots[same].mean() - dots[~same].mean()).item()

    gone = run(original, split, epochs=5)
    still = run(original, split, epochs=5, scale=0.0)
    assert own_class(gone.classifier) < own_class(still.classifier) - 0.05


def test_a_batch_without_a_row_of_the_same_class_is_handled(original, small):
    whole = coun.Split.by_class(small, "3")
    result = run(original, whole)
    assert all(bool(torch.isfinite(p).all()) for p in result.model.parameters())
