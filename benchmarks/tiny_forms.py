"""Run the tiny form of every shipped config end to end, with its report, and write what it took.

docs/results/tiny.md has the table. Run it with `nice`; it takes about a minute for each config.

    python benchmarks/tiny_forms.py                 # all that have no result yet
    python benchmarks/tiny_forms.py paper/table1    # single ones
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from coun.bench import bench, report, shipped
from coun.files import write_text

PAGE = Path(__file__).parents[1] / "docs" / "results" / "tiny.md"
COLUMNS = ("models", "failures", "printed", "seconds")
HEAD = """# The tiny form of every bench

Does every config that comes with `coun` run from its plan to its report? Each one in the table
did, in its tiny form: the same rows, scenarios and outputs on a few random images with a small
network.

The commands were `coun bench CONFIG --tiny` and `coun report DIR --paper`. The numbers of such a
run have no meaning and are not shown. CPU seconds are those of one thread; a run that was
interrupted and continued has none. A config that is not in the table was not run in this form;
`python benchmarks/tiny_forms.py` runs those and makes this page.

| config | models measured | experiments that failed | printed values beside ours | CPU seconds |
|---|---:|---:|---:|---:|
"""


def run(name: str, folder: Path) -> dict[str, object]:
    """Run one config and count what it gave."""
    start = time.process_time()
    results = bench(name, folder, tiny=True, quiet=True)
    text = report(folder, paper=True)[0].read_text(encoding="utf-8")
    _, _, compared = text.partition("## Comparison with the paper")
    rows = compared.partition("\n## ")[0].count("\n| ") - 2
    return {
        "models": f"{len(results['rows'])} of {results['planned']}",
        "failures": len(results["failures"]),
        "printed": max(rows, 0),
        "seconds": round(time.process_time() - start),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="configs; by default all without a result")
    parser.add_argument("--out", type=Path, default=Path("runs/tiny"))
    arguments = parser.parse_args()
    done = read_page()
    configs = [name.removesuffix(".toml") for name in shipped()]
    for name in arguments.names or [name for name in configs if name not in done]:
        done[name] = run(name, arguments.out / name)
        write_page(done)
        print(name, done[name], flush=True)


def read_page() -> dict[str, dict[str, object]]:
    """What docs/results/tiny.md says of each config that was run."""
    rows = PAGE.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows if row.startswith("| ")]
    return {name: dict(zip(COLUMNS, values, strict=True)) for name, *values in cells}


def write_page(done: dict[str, dict[str, object]]) -> None:
    """Write docs/results/tiny.md from what is done."""
    lines = [
        f"| {name} | {' | '.join(str(result[column]) for column in COLUMNS)} |\n"
        for name, result in sorted(done.items())
    ]
    write_text(PAGE, HEAD + "".join(lines))


if __name__ == "__main__":
    main()
