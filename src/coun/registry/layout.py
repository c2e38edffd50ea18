"""Where things are in the folder of a registry."""

from __future__ import annotations

from pathlib import Path

from coun.files import REGISTRY_DATABASE, REGISTRY_WORK

DATABASE, WORK = REGISTRY_DATABASE, REGISTRY_WORK
LOCK, SIGNING_KEY = "fulfil.lock", "signing.pem"
VERSIONS, CERTIFICATES, REVIEW = "versions", "certificates", "review"


def version_folder(folder: Path, version: int) -> Path:
    """The run folder of a version."""
    return folder / VERSIONS / str(version)
