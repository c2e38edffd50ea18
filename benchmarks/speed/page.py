"""Put speed.json's numbers into the marked places of docs/results/speed.md.

python benchmarks/speed/page.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measure import RESULTS

from coun.files import read_json, write_text


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, rule, *rows))


def spread(ratio: dict[str, Any]) -> str:
    return f"{ratio['ratio']:.2f} ({ratio['lowest']:.2f}-{ratio['highest']:.2f})"


def step(results: dict[str, Any]) -> str:
    rows = []
    for model, batches in results.items():
        for batch, ratios in batches.items():
            eager, compiled = ratios["eager"], ratios["compiled"]
            start, pays = compiled["startup_seconds"], compiled["pays_after_images"]
            rows.append(
                [
                    f"{model}, batch {batch}",
                    f"{eager['images_per_second']['bare']:,.0f}",
                    spread(eager),
                    spread(compiled),
                    f"{start['cold']:.0f} / {start['warm']:.0f} s",
                    f"{pays:,}" if pays else "never",
                ]
            )
    head = ["", "bare, img/s", "eager / bare", "compiled / bare", "start-up", "pays after images"]
    return table(head, rows)


def usual(results: dict[str, Any]) -> str:
    rows = [
        [
            f"{model}, batch {measured['batch']}, {measured['precision']}",
            f"{measured['eager']['images_per_second']['usual']:,.0f}",
            f"{measured['eager']['images_per_second']['eager']:,.0f}",
            spread(measured["eager"]),
            spread(measured["compiled"]),
        ]
        for model, measured in results.items()
    ]
    return table(["", "usual, img/s", "ours, img/s", "eager / usual", "compiled / usual"], rows)


def methods(results: dict[str, Any]) -> str:
    rows = []
    for model, measured in results.items():
        cells = [
            f"{form['over_ft']:.2f} ({form['lowest']:.2f}-{form['highest']:.2f})"
            for form in (measured["coun"], measured["coun fast"])
        ]
        rows.append([f"{model}, batch {measured['batch']}", *cells])
    return table(["seconds an epoch over FT's", "CoUn", "CoUn, fast mode"], rows)


def memory(results: dict[str, Any]) -> str:
    streamed = results["streamed_mib"]
    rows = [
        ["InfoNCE forward and backward, 1,024 x 512", results["info_nce_1024x512_mib"]],
        ["InfoNCE forward and backward, 4,096 x 512", results["info_nce_4096x512_mib"]],
        *[[f"an epoch over {int(n):,} streamed images", v] for n, v in streamed.items()],
    ]
    return table(["peak above what the process held before", "MiB"], rows)


def audit(results: dict[str, Any]) -> str:
    rows = [
        ["the audit, s of one core", results["audit_seconds"]],
        [
            "of which forwards of one of the three models, s",
            results["of_which_one_models_forwards"],
        ],
        ["its page, s of one core", results["page_seconds"]],
        ["peak memory of the process, GiB", results["peak_gib"]],
    ]
    return table(["50,000 images", ""], rows)


def scaling(results: dict[str, Any]) -> str:
    sizes = results["sizes"]
    images = list(next(iter(sizes.values()))["seconds"])
    rows = [
        [
            f"batch {batch}",
            *[f"{measured['seconds'][n]:.2f} ({measured['linear'][n]:.2f})" for n in images],
        ]
        for batch, measured in sizes.items()
    ]
    first = table([f"`{results['model']}`, FT", *[f"{int(n):,} images" for n in images]], rows)
    ranks, workers = results["ranks_5000_images"], results["workers_5000_jpegs"]
    second = table(
        ["seconds an epoch of 5,000 images", "s"],
        [
            ["one process, all cores", f"{ranks['1']:.2f}"],
            ["two data-parallel ranks, half the cores each", f"{ranks['2']:.2f}"],
            *[
                [f"JPEGs decoded as they are read, {k} workers", f"{v:.2f}"]
                for k, v in workers.items()
            ],
        ],
    )
    return first + "\n\n" + second


def main() -> None:
    sections = {
        "step_over_bare": step,
        "over_usual": usual,
        "coun_over_ft": methods,
        "memory": memory,
        "audit": audit,
        "scaling": scaling,
    }
    computed, path = read_json(RESULTS), RESULTS.with_suffix(".md")
    page = path.read_text(encoding="utf-8")
    for name, make in sections.items():
        before, rest = page.split(f"<!-- {name} -->\n")
        after = rest.split(f"<!-- /{name} -->")[1]
        body = make(computed[name]["results"])
        page = f"{before}<!-- {name} -->\n{body}\n<!-- /{name} -->{after}"
    write_text(path, page)


if __name__ == "__main__":
    main()
