"""The registry: deletion requests, the versions of a model, and the ledger of what was done.

`Registry` is imported when it is first used, so that a registry can be listed without loading
torch.
"""

from typing import TYPE_CHECKING, Any

from coun.registry.reading import RegistryReader
from coun.registry.summary import (
    CertificateSummary,
    LedgerState,
    RegistrySummary,
    RequestSummary,
    VersionSummary,
)

if TYPE_CHECKING:
    from coun.registry.registry import Registry

__all__ = [
    "CertificateSummary",
    "LedgerState",
    "Registry",
    "RegistryReader",
    "RegistrySummary",
    "RequestSummary",
    "VersionSummary",
]


def __getattr__(name: str) -> Any:
    if name == "Registry":
        from coun.registry.registry import Registry

        return Registry
    raise AttributeError(f"module 'coun.registry' has no attribute '{name}'")
