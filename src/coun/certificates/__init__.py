"""Certificates: signed statements of what a deletion request asked for, what was done and what
was shown.

A certificate is an in-toto Statement in a DSSE envelope, signed with Ed25519. `issue` writes one,
`countersign` adds a signature, `verify` checks one. `commit` binds a certificate to the ids of the
rows without naming them.
"""

from coun.certificates.commitment import Commitment, Proof, commit, key_id, new_key, verify_proof
from coun.certificates.issuing import CERTIFICATE, PAGE, countersign, issue, statement_digest
from coun.certificates.keys import create_key, load_key, load_public_key
from coun.certificates.page import model_card
from coun.certificates.statement import (
    DISCLAIMER,
    Check,
    Cost,
    Coverage,
    Material,
    MethodUsed,
    Predicate,
    Previous,
    RequestServed,
    RowsCommitment,
    Statement,
    Subject,
)
from coun.certificates.verification import Verification, VerificationCheck, verify

__all__ = [
    "CERTIFICATE",
    "DISCLAIMER",
    "PAGE",
    "Check",
    "Commitment",
    "Cost",
    "Coverage",
    "Material",
    "MethodUsed",
    "Predicate",
    "Previous",
    "Proof",
    "RequestServed",
    "RowsCommitment",
    "Statement",
    "Subject",
    "Verification",
    "VerificationCheck",
    "commit",
    "countersign",
    "create_key",
    "issue",
    "key_id",
    "load_key",
    "load_public_key",
    "model_card",
    "new_key",
    "statement_digest",
    "verify",
    "verify_proof",
]
