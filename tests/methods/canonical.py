"""One small setting per method: what every shared test runs. A method without a line here fails
`test_every_method_has_a_canonical_setting`."""

from __future__ import annotations

from typing import Any

FAST: dict[str, Any] = {"epochs": 2, "batch_size": 32, "lr": 0.02}

CANONICAL: dict[str, dict[str, Any]] = {
    "coun": FAST,
    "finetune": FAST,
    "not": FAST,
    "retrain": {"epochs": 2, "batch_size": 32},
}
