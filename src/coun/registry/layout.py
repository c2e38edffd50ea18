"""Where things are in the folder of a registry."""

from __future__ import annotations

from pathlib import Path

DATABASE, LOCK, SIGNING_KEY = "registry.sqlite", "fulfil.lock", "signing.pem"
VERSIONS, WORK, CERTIFICATES, REVIEW = "versions", "work", "certificates", "review"
MODEL = "model.safetensors"  # the weights of a version


def version_folder(folder: Path, version: int) -> Path:
    """The run folder of a version."""
    return folder / VERSIONS / str(version)
