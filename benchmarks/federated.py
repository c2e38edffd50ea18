"""NoT against FT and Retrain in a federation: run the bench, and write its page.

A bench that was interrupted continues. With --minutes 0 only the page is written, from what is
finished. docs/results/federated.md has the result.

    python benchmarks/federated.py --out runs/federated
"""

from __future__ import annotations

import argparse
import datetime
import math
import statistics
from pathlib import Path
from typing import Any

from coun.bench import bench, report
from coun.bench.output.results import read
from coun.files import write_text
from coun.metrics.statistics import paired

PAGE = Path(__file__).parents[1] / "docs" / "results" / "federated.md"
ROWS = ("Original", "Retrain", "Retrain again", "FT", "NoT")
COLUMNS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy", "gap")
HEAD = """# NoT in a federation

NoT was published for federated learning (Khalil et al., CVPR 2025): when a client leaves, the
server negates the first layer, and ordinary rounds follow without that client. The paper reports
gaps to Retrain of 0.29 points against 1.01 for fine-tuning (FT) with IID clients, and 0.86
against 13.87 with Dirichlet 0.1 (CIFAR-10, a CNN, 10 clients, one of which leaves). **Its claim:
NoT is nearer to Retrain than FT, and by far where clients differ.**

This page asks the same question on a bed that two cores can compute, which is much smaller than
the paper's.

## How it was measured

    python benchmarks/federated.py --out runs/federated

runs `coun bench {config}`: {bed}. Ten clients hold the training rows, IID or by Dirichlet 0.1;
client 0 leaves. The Original and both Retrains train for {epochs} epochs in rounds of {local}
local epochs, and FT and NoT for {short}, at the same learning rate. Nothing was tuned, for
either method. One row is one model; RA, UA, TA and MIA are in percent and gaps in points, each
as the mean ± the standard deviation over seeds. UA is 100 minus the accuracy on the rows of the
client that left; the published pages report the accuracy itself. Retrain is trained twice with
different seeds, and the gap between the two is the floor.

## Results
"""

TAIL = """
## What to make of it

- With IID clients both methods stay a few points from Retrain, and neither comes to the floor.
- With Dirichlet 0.1 they fail on opposite sides. FT keeps the accuracy and still knows the client
  that left: its UA stays far below Retrain's. NoT forgets that client as Retrain does, but ten
  epochs do not repair what the negation broke, and retain and test accuracy stay far below.
- So the paper's large difference with Dirichlet 0.1 is not repeated on this bed. Its models are
  trained for far longer on far more rows, which gives NoT the rounds for its repair, while the
  Original here has only 72% on its own training rows. A bed of CIFAR-10 is `coun bench
  federated/not`; it has not been run to the end yet.
"""


def page(results: dict[str, Any], config: str) -> str:
    """The page, with the tables and what they say of the claim."""
    workloads = results["config"]["workload"]
    first, methods = workloads[0], results["config"]["method"]
    data = first["data"]
    bed = (
        f"{data['limit']:,} images of {data['source'].rpartition('/')[2]}, model `{first['model']}`"
    )
    text = HEAD.format(
        config=config.removesuffix(".toml"),
        bed=bed,
        epochs=first["train"]["epochs"],
        local=first["federation"]["local_epochs"],
        short=methods[0]["settings"]["epochs"],
    )
    for workload in workloads:
        records = [r for r in results["rows"] if r["workload"] == workload["name"]]
        text += _table(workload["name"], records) + _verdict(records)
    machine = results["environment"]["machine"]
    today = datetime.date.today().isoformat()
    torch = results["environment"]["torch"]
    if config.startswith("federated/digits"):
        text += TAIL
    return text + (
        f"\nMeasured with coun {results['coun']}, torch {torch}, on one core ({machine}), {today}. "
        f"{len(results['rows'])} of {results['planned']} planned models are finished.\n"
    )


def _values(records: list[dict[str, Any]], row: str, column: str) -> dict[int, float]:
    return {r["seed"]: r[column] for r in records if r["row"] == row}


def _table(title: str, records: list[dict[str, Any]]) -> str:
    lines = [f"\n### {title}\n", "| | RA | UA | TA | MIA | gap | seeds | operations | MiB sent |"]
    lines.append("|---|" + "---:|" * 8)
    for row in ROWS:
        values = [list(_values(records, row, column).values()) for column in COLUMNS]
        if not values[0]:
            continue
        cells = [_cell(numbers, 1 if k < 4 else 2) for k, numbers in enumerate(values)]
        if row == "Retrain":
            cells[-1] = "0"
        ratio = statistics.fmean(_values(records, row, "flops_ratio").values())
        sent = statistics.fmean(_values(records, row, "bytes_sent").values()) / 2**20
        cells += [str(len(values[0])), f"{ratio:.2f}", f"{sent:.0f}"]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def _verdict(records: list[dict[str, Any]]) -> str:
    """What the gaps say of the claim, in words."""
    gaps = {row: _values(records, row, "gap") for row in ("FT", "NoT", "Retrain again")}
    seeds = sorted(set(gaps["FT"]) & set(gaps["NoT"]))
    if len(seeds) < 2:
        return "Too few seeds are finished to say anything.\n"
    ft, no_t = ([gaps[row][seed] for seed in seeds] for row in ("FT", "NoT"))
    means = statistics.fmean(ft), statistics.fmean(no_t)
    p = paired(no_t, ft).p
    winner = "NoT" if means[1] < means[0] else "FT"
    floor = statistics.fmean(gaps["Retrain again"].values()) if gaps["Retrain again"] else math.nan
    if p >= 0.05 or math.isnan(p):
        word = "**The claim is neither confirmed nor refuted here**: the difference may be chance"
    elif winner == "NoT":
        word = "**The claim is confirmed here**: NoT is nearer to Retrain than FT"
    else:
        word = "**The claim is refuted here**: FT is nearer to Retrain than NoT"
    return (
        f"{word} (mean gap {means[1]:.2f} for NoT and {means[0]:.2f} for FT over {len(seeds)} "
        f"seeds, paired test p = {p:.3f}; the floor is {floor:.2f}).\n"
    )


def _cell(values: list[float], digits: int) -> str:
    spread = f"±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="federated/digits")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    bench(given.config, given.out, minutes=given.minutes)
    report(given.out)
    write_text(given.page, page(read(given.out), given.config))


if __name__ == "__main__":
    main()
