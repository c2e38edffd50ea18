"""NoT against FT and Retrain in a federation: run two benches, and write their page.

A bench that was interrupted continues. With --minutes 0 only the page is written, from what is
finished; its section "What came out" is kept as it is. docs/results/federated.md has the result.

    python benchmarks/federated.py --out runs/federated
"""

from __future__ import annotations

import argparse
import datetime
import math
import statistics
from pathlib import Path
from typing import Any

from wrapped import wrapped

from coun.bench import bench, report
from coun.bench.output.results import read
from coun.errors import counted
from coun.files import write_text
from coun.metrics.statistics import paired
from coun.report import Cell

PAGE = Path(__file__).parents[1] / "docs" / "results" / "federated.md"
ROWS = ("Original", "Retrain", "Retrain again", "FT", "NoT", "CoUn", "PGD", "FedEraser")
CONCLUSION, MEASURED = "\n## What came out\n", "\n## How it was measured\n"
COLUMNS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy", "gap")
HEAD = """# NoT in a federation

NoT was published for federated learning (Khalil et al., CVPR 2025): when a client leaves, the
server negates the first layer, and ordinary rounds follow without that client. The paper reports
gaps to Retrain of 0.29 points against 1.01 for fine-tuning (FT) with IID clients, and 0.86
against 13.87 with Dirichlet 0.1 (CIFAR-10, a CNN, 10 clients, one of which leaves). **Its claim:
NoT is nearer to Retrain than FT, and by far where clients differ.**

This page asks the same question on workloads that two cores can compute, which are much smaller
than the paper's.
"""

MEASURE = (
    MEASURED
    + """
    python benchmarks/federated.py --out runs/federated

This command runs {benches}.
Ten clients hold the training rows, IID or by Dirichlet 0.1; client 0 leaves. The Original and both
Retrains are trained with the same recipe, and the methods for fewer epochs, at the same learning
rate. Nothing was tuned for any method; the recipe for CIFAR-10 was chosen by the accuracy of the
network on another seed. One row is one model; RA, UA, TA and MIA are in percent and gaps in
points, each as the mean ± the standard deviation over seeds. UA is 100 minus the accuracy on the
rows of the client that left; the published pages report the accuracy itself. Retrain is trained
twice with different seeds, and the gap between the two is the floor. Differences are tested by
paired t tests, seed by seed. Operations are divided by those of Retrain.
"""
)

WORKLOAD = """
## {title}

{data}, model `{model}`. The Original and Retrain are trained for {epochs} epochs
in rounds of {local}, and FT and NoT for {short} epochs. Seeds: {seeds}.
"""


def page(benches: dict[str, dict[str, Any]], conclusion: str) -> str:
    """The page, with the tables of every bench and what they say of the claim."""
    names = " and ".join(f"`coun bench {name}`" for name in benches)
    text = HEAD + conclusion + MEASURE.format(benches=names)
    for name, results in benches.items():
        first, methods = results["config"]["workload"][0], results["config"]["method"]
        data = first["data"]
        images = f"{data['limit']:,} images of {data['source'].rpartition('/')[2]}"
        text += WORKLOAD.format(
            title=f"`{name}`",
            data=images
            + (f", scaled to {data['size']}x{data['size']} pixels" * bool(data["size"])),
            model=first["model"],
            epochs=first["train"]["epochs"],
            local=counted(first["federation"]["local_epochs"], "local epoch"),
            short=methods[0]["settings"]["epochs"],
            seeds=f"{min(results['config']['seeds'])} to {max(results['config']['seeds'])}",
        )
        for workload in results["config"]["workload"]:
            records = [r for r in results["rows"] if r["workload"] == workload["name"]]
            text += _table(workload["name"], records) + _verdict(records)
        environment = results["environment"]
        text += (
            f"\n{len(results['rows'])} of {results['planned']} models; coun {results['coun']}, "
            f"torch {environment['torch']}, one core ({environment['machine']}), "
            f"{datetime.date.today().isoformat()}.\n"
        )
    return text


def kept_conclusion(path: Path) -> str:
    """The section of the page that people write."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _, head, rest = text.partition(CONCLUSION)
    return head + rest.partition(MEASURED)[0]


def _values(records: list[dict[str, Any]], row: str, column: str) -> dict[int, float]:
    return {r["seed"]: r[column] for r in records if r["row"] == row}


def _table(title: str, records: list[dict[str, Any]]) -> str:
    lines = [f"\n### {title}\n", "| | RA | UA | TA | MIA | gap | seeds | operations | MiB sent |"]
    lines.append("|---|" + "---:|" * 8)
    for row in ROWS:
        values = [list(_values(records, row, column).values()) for column in COLUMNS]
        if not values[0]:
            continue
        cells = [Cell.of(numbers).text(1 if k < 4 else 2) for k, numbers in enumerate(values)]
        if row == "Retrain":
            cells[-1] = "0"
        ratio = statistics.fmean(_values(records, row, "flops_ratio").values())
        sent = statistics.fmean(_values(records, row, "bytes_sent").values()) / 2**20
        cells += [str(len(values[0])), f"{ratio:.2f}", f"{sent:.0f}"]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def _verdict(records: list[dict[str, Any]]) -> str:
    """What the gaps say of the claim, in words, and where they come from."""
    gaps = {row: _values(records, row, "gap") for row in ("FT", "NoT", "Retrain again")}
    seeds = sorted(gaps["FT"].keys() & gaps["NoT"].keys())
    if len(seeds) < 2:
        few = "**Undecided here**: too few seeds are finished to test anything."
        return f"{few} {_parts(records, seeds)}\n" if seeds else f"{few}\n"
    ft, no_t = ([gaps[row][seed] for seed in seeds] for row in ("FT", "NoT"))
    means = statistics.fmean(ft), statistics.fmean(no_t)
    p = paired(no_t, ft).p
    if p >= 0.05 or math.isnan(p):
        word = "**The claim is neither confirmed nor refuted here**: the difference may be chance"
    elif means[1] < means[0]:
        word = "**The claim is confirmed here**: NoT is nearer to Retrain than FT"
    else:
        word = "**The claim is refuted here**: FT is nearer to Retrain than NoT"
    again = gaps["Retrain again"].values()
    floor = f"the floor is {statistics.fmean(again):.2f}" if again else "the floor is not known"
    return (
        f"{word} (mean gap {means[1]:.2f} for NoT and {means[0]:.2f} for FT over {len(seeds)} "
        f"seeds, paired test p = {p:.3f}; {floor}). {_parts(records, seeds)}\n"
    )


def _parts(records: list[dict[str, Any]], seeds: list[int]) -> str:
    """How FT and NoT differ from Retrain in each measure, on average."""
    sentences = []
    for row in ("FT", "NoT"):
        words = []
        for label, column in zip(("RA", "UA", "TA", "MIA"), COLUMNS, strict=False):
            values, of_retrain = (_values(records, r, column) for r in (row, "Retrain"))
            difference = statistics.fmean(values[s] - of_retrain[s] for s in seeds)
            words.append(f"{label} {difference:+.1f}")
        sentences.append(f"{row} differs from Retrain by {', '.join(words)}.")
    return " ".join(sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", nargs="+", default=["federated/digits", "federated/not"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    benches = {}
    for config in given.configs:
        folder = given.out / config.rpartition("/")[2]
        bench(config, folder, minutes=given.minutes, resume=True)
        report(folder)
        benches[config] = read(folder)
    write_text(given.page, wrapped(page(benches, kept_conclusion(given.page))))


if __name__ == "__main__":
    main()
