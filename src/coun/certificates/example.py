"""A small statement that the examples in the docstrings of this package sign."""

from __future__ import annotations

import datetime

from coun.certificates.statement import Statement


def example_statement() -> Statement:
    """Make a short statement: one request, one model and one test.

    >>> example_statement().predicate.result
    'FULFILLED'
    """
    now = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
    predicate = {
        "request": {"id": "1", "received": now.date(), "kind": "listed", "rows": 3},
        "method": {"name": "coun", "reads_forget_data": False},
        "cost": {"flops": 1e12},
        "checks": [{"name": "test accuracy", "value": 90, "result": "PASSED"}],
        "result": "FULFILLED",
        "time_created": now,
    }
    model = {"name": "model.safetensors", "digest": {"sha256": "0" * 64}}
    return Statement.model_validate({"subject": [model], "predicate": predicate})
