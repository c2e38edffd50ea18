"""Kill `fulfil` at random moments, and check after each kill that nothing was lost.

    python benchmarks/registry_kills.py 60 --out docs/results/registry-kills.json

Each trial begins with a copy of one registry that has two open requests. A child process fulfils
them and gets SIGKILL after a random time, up to three times in a row. After each kill the registry
must open, `check` must name nothing, and the served version must load. Then the work is repeated
without a kill, and every request must have been fulfilled exactly once, with one genuine
certificate. At the end of half of the trials two processes fulfil at the same time.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

import coun
from coun.certificates import verify
from coun.registry import Registry

MOST_KILLS = 3  # in one trial


def child(work: Callable[[], object]) -> int:
    """Start *work* in a process of its own; returns its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    except coun.CounError as error:
        print(f"  {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 99
    os._exit(code)


def fulfil(folder: Path) -> object:
    """Fulfil all open requests by a cheap method, with a gate that it passes."""
    return Registry.open(folder).fulfil(method="finetune", settings={"epochs": 1}, page=False)


def make_registry(folder: Path) -> None:
    """A registry of digits with two open requests."""
    data = coun.load("digits", limit=120)
    run = coun.train(data, "mlp", epochs=1)
    registry = Registry.init(folder, run)
    registry.add(ids=data.ids[:2], reason="first")
    registry.add(ids=data.ids[5:8], reason="second")
    registry.close()


def faults(folder: Path) -> list[str]:
    """What is wrong with a registry after a kill."""
    registry = Registry.open(folder)
    problems = [f"check: {problem}" for problem in registry.check()]
    summary = registry.summary()
    run = coun.Run.open(registry.served, data=registry.source, allow_missing=True)
    if not bool(torch.isfinite(next(run.model.parameters())).all()):
        problems.append("the served model is damaged")
    served = [version.version for version in summary.versions if version.served]
    if served != [summary.served]:
        problems.append(f"served versions: {served}")
    for request in summary.requests:
        if (request.state == "fulfilled") != (request.certificate is not None):
            problems.append(f"request {request.request}: {request.state}, {request.certificate}")
    registry.close()
    return problems


def faults_at_the_end(folder: Path) -> list[str]:
    """What is wrong after the work was repeated without a kill."""
    problems = faults(folder)
    registry = Registry.open(folder)
    summary = registry.summary()
    for request in summary.requests:
        times = [c for c in summary.certificates if c.request == request.request]
        if request.state != "fulfilled" or len(times) != 1:
            problems.append(f"request {request.request}: {request.state}, {len(times)} times")
            continue
        path = folder / times[0].path
        verification = verify(path, model=registry.served, registry=folder)
        problems += [check.message for check in verification.failures]
    if len(summary.versions) != 2:
        problems.append(f"{len(summary.versions)} versions")
    left = [path.name for path in (folder / "work").glob("*")] if (folder / "work").exists() else []
    problems += [f"left in work: {name}" for name in left]
    registry.close()
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(arguments.seed)
    base = Path(tempfile.mkdtemp()) / "base"
    make_registry(base)
    trial = base.with_name("timed")
    shutil.copytree(base, trial)
    start = time.perf_counter()
    os.waitpid(child(lambda: fulfil(trial)), 0)
    seconds = time.perf_counter() - start
    counts: collections.Counter[str] = collections.Counter()
    problems: list[str] = faults_at_the_end(trial)
    number = 0
    while counts["kills"] < arguments.kills:
        number += 1
        folder = base.with_name(f"trial-{number}")
        shutil.copytree(base, folder)
        for _ in range(draw.randint(1, MOST_KILLS)):
            process = child(lambda folder=folder: fulfil(folder))  # type: ignore[misc]
            time.sleep(draw.uniform(0, 1.1 * seconds))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            killed = os.WIFSIGNALED(status)
            counts["kills" if killed else "finished before the kill"] += 1
            if not killed and os.WEXITSTATUS(status) not in (0, 2):
                problems.append(f"trial {number}: exit code {os.WEXITSTATUS(status)}")
            problems += [f"trial {number}: {fault}" for fault in faults(folder)]
            if not Registry.open(folder).summary(check=False).open:
                counts["switched before the last kill"] += 1
                break
        at_once = 1 + number % 2
        codes = []
        for process in [child(lambda folder=folder: fulfil(folder)) for _ in range(at_once)]:  # type: ignore[misc]
            codes.append(os.WEXITSTATUS(os.waitpid(process, 0)[1]))
        counts["two at once"] += at_once == 2
        if not set(codes) <= {0, 2}:
            problems.append(f"trial {number}: repeated with exit codes {codes}")
        problems += [f"trial {number}, at the end: {f}" for f in faults_at_the_end(folder)]
        shutil.rmtree(folder)
        print(f"trial {number}: {dict(counts)}, {len(problems)} faults", file=sys.stderr)
    shutil.rmtree(base.parent)
    result = {
        "seconds of one fulfilment": round(seconds, 2),
        "trials": number,
        **counts,
        "faults": problems,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
