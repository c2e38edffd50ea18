"""The registry: deletion requests, the versions of a model, and the ledger of what was done."""

from coun.registry.registry import Registry
from coun.registry.summary import (
    CertificateSummary,
    LedgerState,
    RegistrySummary,
    RequestSummary,
    VersionSummary,
)

__all__ = [
    "CertificateSummary",
    "LedgerState",
    "Registry",
    "RegistrySummary",
    "RequestSummary",
    "VersionSummary",
]
