"""Change every file that `coun verify` reads, many times, and count how it answers.

    python benchmarks/certificate_mutations.py 20000 --seed 0

Each time one file is changed: a flipped bit, a replaced, inserted, removed or repeated stretch of
bytes, a cut end. The answer must be "tampering found" (exit code 4) or "not a certificate, not a
key" (exit code 2), in one line and within seconds. A change that leaves the content as it was, such
as a blank between two keys of JSON or bytes after the end of a key, may be accepted, and a changed
private key may be another key. Every single flipped bit of the certificate is tried first. Prints
the counts as JSON, and the mutations that were answered otherwise.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import json
import random
import tempfile
import time
from pathlib import Path

from coun.certificates import (
    Check,
    Cost,
    MethodUsed,
    Predicate,
    RequestServed,
    Statement,
    Subject,
    create_key,
    issue,
    load_key,
    load_public_key,
    verify,
)
from coun.errors import CounError

SLOW = 5.0  # seconds
EXPECTED = ("exit code 2", "exit code 4", "same content", "another private key")


def mutated(content: bytes, draw: random.Random) -> bytes:
    """*content* with one random change."""
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice((1, 1, 2, 8, 64, 512)))
    kind = draw.randrange(6)
    if kind == 0:
        flipped = content[start] ^ 1 << draw.randrange(8)
        return content[:start] + bytes([flipped]) + content[start + 1 :]
    if kind == 1:
        return content[:start] + draw.randbytes(end - start) + content[end:]
    if kind == 2:
        return content[:start] + draw.randbytes(end - start) + content[start:]
    if kind == 3:
        return content[:start] + content[end:]
    if kind == 4:
        return content[:end] + content[start:]
    return content[:start]


def make_files(folder: Path) -> dict[str, Path]:
    """A certificate with its keys and its model."""
    model = folder / "model.safetensors"
    model.write_bytes(random.Random(0).randbytes(4000))
    now = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
    digest = {"sha256": hashlib.sha256(model.read_bytes()).hexdigest()}
    statement = Statement(
        subject=(Subject(name=model.name, digest=digest),),
        predicate=Predicate(
            request=RequestServed(id="1", received=now.date(), kind="listed", rows=3),
            method=MethodUsed(name="coun", reads_forget_data=False),
            cost=Cost(flops=1e12),
            checks=(Check(name="test accuracy", value=90, result="PASSED"),),
            result="FULFILLED",
            time_created=now,
        ),
    )
    create_key(folder / "signing.pem")
    certificate = issue(statement, folder / "signing.pem", folder / "certificate")
    return {
        "certificate": certificate,
        "public key": folder / "signing.pem.pub",
        "private key": folder / "signing.pem",
        "model": model,
    }


def answer(name: str, files: dict[str, Path], before: str) -> str:
    """How the verifier, or the reader of private keys, answers.

    Args: before: what `content_of` gave for the unchanged file.
    """
    try:
        if name == "private key":
            load_key(files[name])
            return "another private key" if content_of(name, files) != before else "same content"
        verification = verify(files["certificate"], model=files["model"], keys=files["public key"])
    except CounError as error:
        return f"exit code {error.exit_code}" if "\n" not in str(error) else "several lines"
    except Exception as error:
        return f"TRACEBACK {type(error).__name__}"
    if verification.tampered:
        return "exit code 4"
    return "same content" if content_of(name, files) == before else "ACCEPTED"


def content_of(name: str, files: dict[str, Path]) -> str:
    """What a file says, whatever its spelling."""
    if name == "certificate":
        return json.dumps(json.loads(files[name].read_bytes()), sort_keys=True)
    if name == "private key":
        return str(load_key(files[name]).public_key.keyid)
    if name == "public key":
        return str(load_public_key(files[name]).keyid)
    return files[name].read_bytes().hex()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    strange = []
    with tempfile.TemporaryDirectory() as name:
        files = make_files(Path(name))
        before = {key: content_of(key, files) for key in files}
        originals = {key: path.read_bytes() for key, path in files.items()}

        def trial(key: str, kind: str, content: bytes) -> None:
            if content == originals[key]:
                return
            files[key].write_bytes(content)
            start = time.perf_counter()
            result = answer(key, files, before[key])
            if time.perf_counter() - start > SLOW:
                result = "SLOW"
            counts[f"{key}, {kind}", result] += 1
            if result not in EXPECTED:
                strange.append([key, kind, result, repr(content[:80])])
            files[key].write_bytes(originals[key])

        certificate = originals["certificate"]
        for position in range(len(certificate)):
            for bit in range(8):
                changed = bytearray(certificate)
                changed[position] ^= 1 << bit
                trial("certificate", "one bit", bytes(changed))
        for _ in range(arguments.number):
            key = draw.choice(("certificate", "certificate", "public key", "private key", "model"))
            trial(key, "any change", mutated(originals[key], draw))
    table: dict[str, dict[str, int]] = {}
    for (key, result), count in sorted(counts.items()):
        table.setdefault(key, {})[result] = count
    print(json.dumps({"counts": table, "otherwise": strange[:20]}, indent=2))


if __name__ == "__main__":
    main()
