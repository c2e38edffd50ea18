"""Kill a child process at random moments: what the benchmarks of interruptions share."""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import coun

MOST_KILLS = 3  # in one trial
LATEST = 1.1  # the last moment of a kill, as a share of an undisturbed call

Work = Callable[[Path], object]


def child(work: Work, folder: Path) -> int:
    """Start *work* on *folder* in a process of its own; returns its id."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work(folder)
        code = 0
    except coun.CounError as error:
        print(f"  {error}", file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 99
    os._exit(code)


def exit_code(process: int) -> int | None:
    """Wait for *process*; returns its exit code, or None if a signal ended it."""
    _, status = os.waitpid(process, 0)
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def seconds_of(work: Work, folder: Path) -> float:
    """Do *work* on *folder* undisturbed; returns how long it takes."""
    start = time.perf_counter()
    code = exit_code(child(work, folder))
    if code:
        raise SystemExit(f"the undisturbed call ended with exit code {code}")
    return time.perf_counter() - start


@dataclass(frozen=True)
class Trials:
    """Trials of one kind of work, each on a copy of one folder.

    Args:
        work: what a child process does with a folder, and is killed in.
        faults: what is wrong with a folder after a kill.
        repeat: does the work again without a kill, in a folder and a trial of a number; returns
            what is wrong then.
        done: whether a folder has nothing left for *work* to do.
    """

    work: Work
    faults: Callable[[Path], list[str]]
    repeat: Callable[[Path, int], list[str]]
    done: Callable[[Path], bool] = lambda folder: False

    def run(self, base: Path, kills: int, seconds: float, draw: random.Random) -> dict[str, Any]:
        """Go on until *kills* processes were killed; a call takes so many *seconds*.

        Returns: counts of trials and kills, and the list of faults.
        """
        counts: collections.Counter[str] = collections.Counter()
        problems: list[str] = []
        while counts["kills"] < kills:
            counts["trials"] += 1
            trial = f"trial {counts['trials']}"
            folder = base.with_name("trial")
            shutil.copytree(base, folder)
            for _ in range(draw.randint(1, MOST_KILLS)):
                process = child(self.work, folder)
                time.sleep(draw.uniform(0, LATEST * seconds))
                os.kill(process, signal.SIGKILL)
                code = exit_code(process)
                counts["kills" if code is None else "ended before the kill"] += 1
                if code not in (None, 0, 2):
                    problems.append(f"{trial}: exit code {code}")
                problems += [f"{trial}: {fault}" for fault in self.faults(folder)]
                if self.done(folder):
                    counts["done before the last kill"] += 1
                    break
            end = self.repeat(folder, counts["trials"])
            problems += [f"{trial}, at the end: {fault}" for fault in end]
            shutil.rmtree(folder)
            name = self.work.__name__
            print(f"{name}, {trial}: {dict(counts)}, {len(problems)} faults", file=sys.stderr)
        return {"seconds of a quiet call": round(seconds, 2), **counts, "faults": problems}


def options(description: str | None) -> argparse.Namespace:
    """The options of both benchmarks; everything then runs in one thread."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    torch.set_num_threads(1)
    return parser.parse_args()


def report(result: dict[str, Any], out: Path | None) -> None:
    """Print *result*, and write it to *out* as well."""
    text = json.dumps(result, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n")
