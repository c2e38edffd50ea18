"""Kill `fulfil` at random moments, and check after each kill that nothing was lost.

    python benchmarks/registry_kills.py 60 --out docs/results/registry-kills.json

Each trial begins with a copy of one registry that has two open requests. A child process fulfils
them and gets SIGKILL after a random time, up to three times in a row. After each kill the registry
must open, `check` must name nothing, and the served version must load. Then the work is repeated
without a kill, and every request must have been fulfilled exactly once, with one genuine
certificate. At the end of half of the trials two processes fulfil at the same time.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import torch
from kills import Trials, child, exit_code, options, report, seconds_of

import coun
from coun.certificates import verify
from coun.registry import Registry


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


def repeat(folder: Path, number: int) -> list[str]:
    """Fulfil without a kill, in two processes at once in each second trial; what is wrong then."""
    processes = [child(fulfil, folder) for _ in range(1 + number % 2)]
    codes = [exit_code(process) for process in processes]
    unexpected = [f"repeated with exit codes {codes}"] * (not set(codes) <= {0, 2})
    return unexpected + faults_at_the_end(folder)


def fulfilled(folder: Path) -> bool:
    """Whether no request is open."""
    return not Registry.open(folder).summary(check=False).open


def main() -> None:
    arguments = options(__doc__)
    base = Path(tempfile.mkdtemp()) / "base"
    make_registry(base)
    quiet = base.with_name("quiet")
    shutil.copytree(base, quiet)
    seconds = seconds_of(fulfil, quiet)
    problems = faults_at_the_end(quiet)
    trials = Trials(fulfil, faults, repeat, fulfilled)
    result = trials.run(base, arguments.kills, seconds, random.Random(arguments.seed))
    shutil.rmtree(base.parent)
    result["faults"] = problems + result["faults"]
    result["two at once"] = (result["trials"] + 1) // 2
    report(result, arguments.out)


if __name__ == "__main__":
    main()
