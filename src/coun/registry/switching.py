"""Serve a new version and close the requests that it fulfils, in one transaction."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coun.registry.intake import review_folder
from coun.registry.rows import forget_ids

if TYPE_CHECKING:
    from coun.registry.registry import Registry


def switch(
    registry: Registry,
    requests: Sequence[int],
    entry: Mapping[str, Any],
    certificates: Mapping[int, Mapping[str, Any]],
    fulfilment: int,
    result: str,
) -> None:
    """Enter and serve the version of *entry*, close *requests* and delete their ids.

    Args:
        entry: what the ledger says of the version, whose folder is in place.
        certificates: by request, what the ledger says of its certificate.
        fulfilment: its number.
        result: of the fulfilment.
    """
    version = entry["version"]
    with registry.ledger.transaction() as connection:
        registry.append("version", dict(entry))
        for number, certificate in certificates.items():
            about = {"request": number, "version": version, "result": result}
            registry.append("fulfilled", {**about, **certificate})
        registry.append("served", {"version": version, "because": "fulfilment"})
        ended = {"fulfilment": fulfilment, "result": result, "version": version}
        registry.append("ended", ended)
        forget_ids(connection, requests)
    for number in requests:
        shutil.rmtree(review_folder(registry, number), ignore_errors=True)
    registry.recover()
