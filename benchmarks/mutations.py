"""Damaged and hostile input: every refusal must be one line, whatever the file or option holds.

    python benchmarks/mutations.py 10000                  # writes docs/results/mutations.md
    python benchmarks/mutations.py 200 --kind run.json    # one kind; writes nothing

Inputs that are valid are mutated, by bytes or by values, and read by the library in one process.
An input is accepted or refused by CounError or click.UsageError. Anything else that is raised is a
traceback and is counted, printed and written; the aim is none.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from mutation_inputs import Inputs
from wrapped import wrapped

from coun.errors import CounError
from coun.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "results" / "mutations.md"
SECONDS = 120  # after which an input counts as endless


def too_slow(*args: object) -> None:
    raise TimeoutError(f"not finished after {SECONDS} s")


def count(total: int, kind: str | None, seed: int) -> dict[str, Counter[str]]:
    """Read *total* mutated inputs, in turn of every kind; count what became of them."""
    counts: dict[str, Counter[str]] = {}
    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        inputs = Inputs(Path(folder))
        kinds = {name: read for name, read in inputs.kinds.items() if kind in (None, name)}
        for number in range(total):
            name = list(kinds)[number % len(kinds)]
            rng = random.Random(f"{seed} {number}")
            counter = counts.setdefault(name, Counter())
            signal.alarm(SECONDS)
            try:
                kinds[name](rng)
                counter["accepted"] += 1
            except CounError as error:
                counter["refused" if "\n" not in str(error) else "more than one line"] += 1
                if "\n" in str(error):
                    print(f"{name}, input {number}: {error!r}"[:500], flush=True)
            except Exception:
                counter["traceback"] += 1
                lines = traceback.format_exc().splitlines()
                print(f"{name}, input {number}:", *lines[-7:], sep="\n  ", flush=True)
            signal.alarm(0)
            inputs.restore()
            if (number + 1) % 1000 == 0:
                print(page(counts, seed), flush=True)
        os.chdir("/")
    return counts


def page(counts: dict[str, Counter[str]], seed: int) -> str:
    """The table of docs/results/mutations.md."""
    columns = ("accepted", "refused", "more than one line", "traceback")
    rows = [[name, *(counter[column] for column in columns)] for name, counter in counts.items()]
    totals = ["all", *(sum(counter[column] for counter in counts.values()) for column in columns)]
    total = sum(totals[1:])
    lines = [
        "# Mutated inputs",
        "",
        "This page shows whether damaged or hostile files can make `coun` fail with a traceback. "
        f"{totals[-1] or 'None'} of {total:,} did.",
        "",
        f"`python benchmarks/mutations.py {total} --seed {seed}` changes valid inputs at random, "
        "by bytes or by values, and reads them. Half of the records carry the checksum of their "
        "changed content, as an attacker would write them, so that the checks behind the checksum "
        "are reached. An input must be accepted, or refused in one line; anything else counts as "
        "a traceback.",
        "",
        f"| input | {' | '.join(columns)} |",
        "|---|" + "---:|" * len(columns),
        *(f"| {' | '.join(f'{x:,}' if isinstance(x, int) else x for x in row)} |" for row in rows),
        f"| {' | '.join(f'{x:,}' if isinstance(x, int) else x for x in totals)} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("total", type=int)
    parser.add_argument("--kind", help="one kind only; then nothing is written")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    counts = count(given.total, given.kind, given.seed)
    text = page(counts, given.seed)
    print(text)
    if given.kind is None:
        write_text(PAGE, wrapped(text))
    sys.exit(any(counter["traceback"] for counter in counts.values()))


if __name__ == "__main__":
    main()
