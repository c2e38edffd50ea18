"""Change every file of a registry, many times, and count how the registry answers.

    python benchmarks/registry_mutations.py 10000 --out docs/results/registry-mutations.json

The registry has fulfilled requests, an open one and certificates. Each time one of its files is
changed as in `certificate_mutations.py`. Then it is opened, summed up and checked, and at times
it is asked to verify, to add a request, to roll back and to fulfil. Every answer must be a problem
that `check` names, or an error in one line (exit code 2 or 4). "Same content" means that the
changed bytes say nothing: free space of the database, or bytes after the end of a key. A change of
the content that `check` accepts is listed, as is every traceback and every slow answer.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from pathlib import Path

from certificate_mutations import mutated
from registry_kills import make_registry

from coun.certificates import load_key, load_public_key
from coun.errors import CounError
from coun.registry import Registry
from coun.registry.fulfilment import METRICS

THOROUGH = 50  # every so often all operations are tried
NOT_RECORDED = ("certificate.html", "fulfil.lock")  # a copy for people, and an empty file
SLOW = 20.0  # seconds
EXPECTED = ("named by check", "exit code 2", "exit code 4", "same content")


def content_of(path: Path) -> object:
    """What a file says, whatever its spelling; None where it cannot be read."""
    with contextlib.suppress(Exception):
        if path.suffix == ".sqlite":
            with contextlib.closing(sqlite3.connect(path)) as connection:
                return list(connection.iterdump())
        if path.suffix == ".pub":
            return load_public_key(path).keyid
        if path.suffix == ".pem":
            return load_key(path).public_key.keyid
        if path.name == "metrics.json":  # `coun evaluate` may write the rest again
            content = json.loads(path.read_bytes())
            return [content[name] for name in METRICS if name in content]
        if path.suffix == ".json":
            return json.loads(path.read_bytes())
        if path.suffix == ".key":
            return bytes.fromhex(path.read_text().strip())
        return path.read_bytes()
    return None


def answer(folder: Path, thorough: bool) -> str:
    """How the registry in *folder* answers."""
    registry = None
    try:
        registry = Registry.open(folder)
        problems = registry.check()
        registry.summary()
        if any("\n" in problem for problem in problems):
            return "SEVERAL LINES"
        if thorough:
            for work in (
                lambda: registry.verify(1),
                lambda: registry.add(ids=["30"]),
                lambda: registry.fulfil(method="no such method"),
                lambda: registry.rollback(1),
            ):
                with contextlib.suppress(CounError):
                    work()
        return "named by check" if problems else "accepted"
    except CounError as error:
        return f"exit code {error.exit_code}" if "\n" not in str(error) else "SEVERAL LINES"
    except Exception as error:
        traceback.print_exc()
        return f"TRACEBACK {type(error).__name__}"
    finally:
        if registry is not None:
            registry.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    strange = []
    folder = Path(tempfile.mkdtemp()) / "registry"
    make_registry(folder)
    registry = Registry.open(folder)
    registry.fulfil(1, method="finetune", settings={"epochs": 1})
    registry.close()
    base = folder.with_name("base")
    shutil.copytree(folder, base)
    files = sorted(
        path.relative_to(base)
        for path in base.rglob("*")
        if path.is_file() and path.stat().st_size and path.name not in NOT_RECORDED
    )
    for number in range(arguments.number):
        name = draw.choice(files)
        path, content = folder / name, (base / name).read_bytes()
        changed = mutated(content, draw)
        if changed == content:
            continue
        path.write_bytes(changed)
        start = time.perf_counter()
        thorough = number % THOROUGH == 0
        result = answer(folder, thorough)
        if time.perf_counter() - start > SLOW:
            result = "SLOW"
        if result == "accepted":
            path.write_bytes(changed)
            same = content_of(path) is not None and content_of(path) == content_of(base / name)
            result = "same content" if same else "ACCEPTED"
        counts[str(name)][result] += 1
        if result not in EXPECTED:
            strange.append([str(name), result, number])
            print(strange[-1], file=sys.stderr)
        path.write_bytes(content)
        if thorough or name.suffix == ".sqlite":
            shutil.rmtree(folder)
            shutil.copytree(base, folder)
    shutil.rmtree(folder.parent)
    text = json.dumps({"counts": counts, "otherwise": strange}, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
