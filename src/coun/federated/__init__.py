"""Federated unlearning: clients with their own rows, and a server that averages their models.

A federation is a setting of a run. `coun.train(..., federation=Federation(clients=10))` trains an
Original by FedAvg, `coun.unlearn` continues in the federation of the run that it starts from, and
everything else (requests, metrics, records, audits) is as for other runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from coun.federated.federation import Federation, federation_of
from coun.federated.method import Federated, FederatedMethod
from coun.federated.rounds import in_rounds

__all__ = [
    "Federated",
    "FederatedMethod",
    "Federation",
    "catalogue",
    "federation_of",
    "in_rounds",
]


@cache
def catalogue() -> dict[str, type[FederatedMethod]]:
    """Return the methods that exist in a federation only, by name.

    Methods that read retain rows only, such as "not" and "coun", work in a federation as well.

    >>> sorted(catalogue())
    ['fed_eraser', 'pgd']
    """
    methods: dict[str, type[FederatedMethod]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if (
                isinstance(value, type)
                and issubclass(value, FederatedMethod)
                and "name" in vars(value)
            ):
                methods[value.name] = value
    return dict(sorted(methods.items()))
