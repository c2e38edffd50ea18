"""Find what was changed in a registry since it was written: entries, files, keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coun.certificates import commit, key_id, load_key, load_public_key, statement_digest, verify
from coun.data.keyed_rows import KEYS, id_leaf
from coun.errors import CounError, TamperingFound
from coun.files import file_digest
from coun.registry import rows as request_rows
from coun.registry.layout import SIGNING_KEY, VERSIONS, version_folder
from coun.registry.state import State, Version
from coun.runs.folder import METRICS
from coun.runs.metrics_record import read_metrics

if TYPE_CHECKING:
    from coun.registry.registry import Registry


def find_problems(registry: Registry, *, versions: Collection[int] | None = None) -> list[str]:
    """Name everything that differs from what the ledger says, and every fault of the ledger.

    Args: versions: the versions to look at; by default all versions, certificates and requests
        are looked at.
    """
    problems = registry.ledger.problems()
    try:
        state = registry.state()
    except CounError as error:
        return problems or [str(error)]
    if problems:
        return problems  # what a changed ledger says of other files means nothing
    problems += _key(registry, state)
    for version in state.versions if versions is None else versions:
        problems += _version(registry, state, version)
    if versions is None:
        problems += _strangers(registry, state)
        for number in state.requests:
            problems += _request(registry, state, number)
    return problems


def _key(registry: Registry, state: State) -> list[str]:
    """Whether the signing key is the one that the registry began with."""
    path = Path(f"{registry.folder / KEYS / SIGNING_KEY}.pub")
    try:
        key = load_public_key(path)
    except CounError as error:
        return [f"the public key is missing or damaged: {error}"]
    if key.keyid != state.created["public_key"]:
        return [
            f"the key {path} was swapped: it is {key.keyid[:12]}, and the registry began with "
            f"{state.created['public_key'][:12]}"
        ]
    if state.created["key"] is None:
        try:
            signer = load_key(registry.signing_key)
        except CounError as error:
            return [f"the signing key is missing or damaged: {error}"]
        if signer.public_key.keyid != key.keyid:
            return [f"the key {registry.signing_key} was swapped; it does not fit {path.name}"]
    return []


def _version(registry: Registry, state: State, number: int) -> list[str]:
    """Whether the files of a version are those that were entered."""
    folder, version = version_folder(registry.folder, number), state.versions[number]
    problems: list[str] = []
    if version.discarded:
        return problems
    for name, digest in version.files.items():
        accepted = {digest, state.pending_files.get(number, {}).get(name)}
        if not (folder / name).is_file():
            problems.append(f"version {number}: {name} is missing")
        elif (present := file_digest(folder / name)) not in accepted:
            problems.append(
                f"version {number}: {name} was swapped or edited; its SHA-256 is {present[:12]}, "
                f"expected {digest[:12]}"
            )
    return problems + _metrics(folder / METRICS, version)


def _metrics(path: Path, version: Version) -> list[str]:
    """Whether a file of metrics agrees with the ledger; `coun evaluate` may add others to it."""
    try:
        stored = read_metrics(path)
    except CounError as error:
        return [f"version {version.number}: {error}"]
    if stored is None:
        return []
    return [
        f"version {version.number}: {path.name} says {name} {getattr(stored, name)}, and the "
        f"ledger says {value}"
        for name, value in version.body["metrics"].items()
        if getattr(stored, name, None) != value
    ]


def _strangers(registry: Registry, state: State) -> list[str]:
    """Folders of versions that the ledger does not know; those of unfinished work are expected."""
    following = max(state.versions) + 1 if state.running is not None else 0
    expected = {str(number) for number in (*state.versions, following)}
    folders = [path.name for path in (registry.folder / VERSIONS).iterdir()]
    return [
        f"versions/{name} is not in the ledger"
        for name in sorted(folders)
        if name not in expected and not name.startswith(".")
    ]


def _request(registry: Registry, state: State, number: int) -> list[str]:
    """Whether the rows, the key and the certificates of a request are as entered."""
    request, problems = state.requests[number], []
    for version, body in request.versions.items():
        path = registry.folder / body["path"]
        try:
            if statement_digest(path) != body["statement"]:
                problems.append(f"request {number}: {body['path']} is another certificate")
            elif wrong := _invalid(registry, path, state.versions[version]):
                problems.append(f"request {number}: {body['path']}: {wrong}")
        except CounError as error:
            problems.append(f"request {number}: certificate: {error}")
    if request.withdrawn or request.shredded:
        return problems
    try:
        key = request_rows.read_key(registry.folder, number)
    except TamperingFound as error:
        return [*problems, str(error)]
    if key_id(key) != request.body["key_id"]:
        return [*problems, f"request {number}: its key was swapped"]
    return problems + _rows(registry, number, key, request.body)


def _invalid(registry: Registry, path: Path, version: Version) -> str:
    """The first check that a certificate fails; empty if it passes all.

    Whether the registry issued it is known by its digest in the ledger, so that the other
    certificates are not read for each.
    """
    verification = verify(
        path,
        model=None if version.discarded else version_folder(registry.folder, version.number),
        keys=[Path(f"{registry.folder / KEYS / SIGNING_KEY}.pub")],
    )
    return verification.failures[0].message if verification.failures else ""


def _rows(registry: Registry, number: int, key: bytes, body: Mapping[str, Any]) -> list[str]:
    """Compare the rows of a request with what the ledger says of them."""
    root = body["root"]
    with registry.ledger.readable_errors():
        digest = request_rows.rows_digest(registry.ledger.connection, number)
        rows = registry.ledger.connection.execute(
            "SELECT part, id, id_leaf FROM request_rows WHERE request = ?", (number,)
        ).fetchall()
    if digest != body["rows_sha256"]:
        return [f"request {number}: its rows were changed; they are not those in the ledger"]
    names = [request_rows.label(part, name) for part, name, _ in rows if name is not None]
    wrong_key = any(
        id_leaf(request_rows.label(part, name), key) != leaf
        for part, name, leaf in rows
        if name is not None
    )
    if wrong_key:
        return [f"request {number}: its key or its rows were changed"]
    if names and len(names) == len(rows) and commit(names, key).root != root:
        return [f"request {number}: its rows were changed; they are not those in the ledger"]
    if not names and request_rows.root_of(leaf for _, _, leaf in rows) != root:
        return [f"request {number}: its rows were changed; they are not those in the ledger"]
    return []
