"""One small setting per method, which every shared test uses.

Without a line here for every method, `test_every_method_has_a_canonical_setting` fails.
"""

from __future__ import annotations

from typing import Any

FAST: dict[str, Any] = {"epochs": 2, "batch_size": 32, "lr": 0.02}

CANONICAL: dict[str, dict[str, Any]] = {
    "coun": FAST,
    "finetune": FAST,
    "not": FAST,
    "retrain": {"epochs": 2, "batch_size": 32},
    "amnesiac": FAST,
    "l1_sparse": FAST,
    "neggrad": {**FAST, "lr": 0.005},
    "neggrad_plus": FAST,
    "amun": {**FAST, "steps": 2},
    "calibrated_out_of_fold": FAST,
    "class_matching": FAST,
    "delete": FAST,
    "held_out": FAST,
    "oracle": FAST,
    "out_of_fold": FAST,
    "projection": FAST,
    "random_label": FAST,
    "salun": FAST,
    "unrolling": {},
    "cf_k": {**FAST, "k": 1},
    "eu_k": {**FAST, "k": 1},
    "fisher": {"draws": 1},
    "influence": {"samples": 2},
    "prune": FAST,
    "rum": {**FAST, "methods": "neggrad_plus,ssd,salun"},
    "ssd": {"selection": 1.0},
    "bad_teacher": {**FAST, "lr": 0.001},
    "boundary_expand": FAST,
    "boundary_shrink": FAST,
    "contrastive_unlearning": {**FAST, "omega": 2},
    "laf": {**FAST, "lr": 0.001, "vae_epochs": 2},
    "scrub": {**FAST, "lr": 0.005},
    "arcane": {**FAST, "keep": 0.8},
    "sisa": {**FAST, "shards": 2, "slices": 2},
    "ct": FAST,
    "lotus": {**FAST, "lr": 0.001, "stop": -100},
    "msg": FAST,
    "mu_mis": {**FAST, "lr": 1e-4},
    "munba": FAST,
    "negmerge": {**FAST, "copies": 2},
    "regun": FAST,
    "rewind": {"epochs": 1},
    "rl_proximal": FAST,
    "sfron": {**FAST, "strength": 1.0},
    "trw": FAST,
    "unsir": {**FAST, "lr": 0.001, "noise_images": 4, "noise_steps": 5},
}

# Methods that transpose kernels refuse networks without any.
NEEDS_KERNELS = {"ct"}
