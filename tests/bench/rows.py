"""Invented records of a bench, whose tables are known."""

from __future__ import annotations

from typing import Any

from coun.metrics import GAP_METRICS

GAPS = {
    "FT": [4.0, 5.0, 6.0, 5.5],
    "NoT": [3.0, 3.5, 3.1, 3.3],
    "NoT + CL": [1.0, 1.4, 1.1, 1.3],
    "CoUn": [1.2, 1.3, 1.2, 1.2],
    "NegGrad": [9.0, 9.9, 9.5, 9.1],
}
METHOD = {
    "FT": ("finetune", False, False),
    "NoT": ("not", False, False),
    "NoT + CL": ("not", True, False),
    "CoUn": ("coun", True, False),
    "NegGrad": ("neggrad", False, True),
}
COST = {"FT": 0.2, "NoT": 0.2, "NoT + CL": 0.4, "CoUn": 0.4, "NegGrad": 0.1}
FLOOR = [0.9, 1.1, 1.0, 1.0]


CLOCK_AND_MEMORY = ("seconds", "preparation_seconds", "peak_memory_mib", "seconds_ratio")


def reproducible(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a bench without what a clock or the memory gives."""
    return [
        {key: value for key, value in record.items() if key not in CLOCK_AND_MEMORY}
        for record in results["rows"]
    ]


def record(name: str, seed: int, gap: float, role: str = "method", **more: Any) -> dict[str, Any]:
    method, module, reads = METHOD.get(name, ("retrain", False, False))
    ratio = COST.get(name, 1.0)
    return {
        "workload": "digits net",
        "scenario": "random 10%",
        "stage": 1,
        "row": name,
        "base": name,
        "role": role,
        "method": method,
        "reads_forget": reads,
        "module": module,
        "varied": {},
        "seed": seed,
        "gap": gap,
        "flops": 1e12 * ratio,
        "flops_ratio": ratio,
        "paper_flops": 1e12,
        "paper_flops_ratio": ratio,
        "seconds": 10 * ratio,
        "seconds_ratio": ratio,
        "preparation_flops": 0.0,
        "preparation_flops_ratio": 0.0,
        "preparation_seconds": 0.0,
        "peak_memory_mib": 100,
        **dict.fromkeys(GAP_METRICS, 50.0 + seed),
        # Signs alternate, so that the gap of the means is smaller than the mean gap.
        **{f"gap_{metric}": gap * (-1) ** seed for metric in GAP_METRICS},
        **more,
    }
