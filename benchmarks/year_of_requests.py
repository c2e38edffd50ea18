"""Serve a year of monthly deletion requests as a user would: docs/results/requests.{json,md}.

A folder holds photographs with meaningful names. Each month some photographs must go: they are
named by their paths, a model is made to forget them, starting from the model of the month before,
and their files are then deleted from the folder. At the end the last model is compared with a
Retrain that never saw any of the forgotten photographs, next to the distance between two such
Retrains. Everything goes through the command line. A killed run continues when it is repeated.

    python benchmarks/year_of_requests.py --source FOLDER_WITH_PARQUET --out runs/year
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from PIL import Image

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def photographs(source: Path, folder: Path, train: int, test: int) -> None:
    """Write the first rows of CIFAR-10's parquet files as PNG files with meaningful names."""
    for part, count in (("train", train), ("test", test)):
        table = pyarrow.parquet.read_table(source / f"{part}.parquet").slice(0, count)
        for row, item in enumerate(table.to_pylist()):
            name = NAMES[item["label"]]
            path = folder / part / name / f"{name}_{row:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(io.BytesIO(item["img"]["bytes"])).save(path)


def coun(record: Path, *words: object) -> dict[str, Any]:
    """Run a command of coun, keep its JSON document in *record* and return it.

    A document that is there already is returned without running anything. Stops with the
    command's own message if it fails.
    """
    if not record.exists():
        command = [sys.executable, "-m", "coun", *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        record.write_text(done.stdout)
    return json.loads(record.read_text())


def rows(run: Path) -> dict[str, set[str]]:
    """The ids of the photographs in each role, as the run's own table of rows records them."""
    table = pyarrow.parquet.read_table(run / "rows.parquet").to_pylist()
    computed: dict[str, set[str]] = {}
    for row in table:
        if row["part"] == "train":
            computed.setdefault(row["role"], set()).add(row["id"])
    return computed


def serve(args: argparse.Namespace) -> dict[str, Any]:
    """Train, serve every month's request, retrain twice, and return what was measured."""
    out, photos = args.out, args.out / "photos"
    data = ["--data", f"folder:{photos}"]
    steps = out / "steps"
    steps.mkdir(parents=True, exist_ok=True)
    if not (steps / "original.json").exists():
        shutil.rmtree(photos, ignore_errors=True)
        photographs(args.source, photos, args.train, args.test)
        # Only the comparison at the end reads these copies: without the forgotten photographs
        # nobody can measure what a model makes of them.
        shutil.copytree(photos, out / "archive", dirs_exist_ok=True)
    train = ["train", *data, "--model", args.model, "--set", f"epochs={args.epochs}"]
    original = coun(steps / "original.json", *train, "--seed", args.seed, "--out", out / "original")
    listing = out / "names.json"
    if not listing.exists():
        listing.write_text(json.dumps(sorted(rows(out / "original")["retain"])))
    everybody = json.loads(listing.read_text())
    order = np.random.default_rng(args.seed).permutation(len(everybody))
    months, start = [], out / "original"
    for month in range(args.months):
        picked = order[month * args.monthly : (month + 1) * args.monthly]
        names = sorted(everybody[i] for i in picked)
        request = out / f"month-{month + 1:02d}.txt"
        request.write_text("".join(f"{name}\n" for name in names))
        here = out / f"model-{month + 1:02d}"
        settings = [word for pair in args.set for word in ("--set", pair)]
        made = coun(
            steps / f"{here.name}.json",
            *("unlearn", start, "--method", args.method, "--forget-ids", request, *settings),
            *("--seed", args.seed, "--out", here, *data),
        )
        for name in names:  # the request is fulfilled only when the files are gone as well
            (photos / name).unlink(missing_ok=True)
        months.append({"month": month + 1, "forgotten": len(names), "result": made})
        start = here
    gone = {name for month in range(args.months) for name in read(out, month)}
    retrains = []
    for number in (1, 2):
        here = out / f"retrain-{number}"
        again = ("--from-request", start, "--seed", args.seed + number, "--out", here)
        coun(steps / f"{here.name}.json", "train", *data, *again)
        retrains.append(here)

    def measured(run: Path, name: str) -> dict[str, Any]:
        everything = ("--data", f"folder:{out / 'archive'}")
        return coun(steps / f"{name}.json", "evaluate", run, "--against", retrains[0], *everything)

    return {
        "original": original,
        "months": months,
        "history": coun(steps / "history.json", "history", start),
        "relearned": {
            path.name: sorted(gone & rows(path).get("retain", set())) for path in (start, *retrains)
        },
        "last": measured(start, "last"),
        "floor": measured(retrains[1], "floor"),
        "machine": f"{platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}",
        "date": datetime.date.today().isoformat(),
        "command": " ".join(sys.argv),
    }


def read(out: Path, month: int) -> list[str]:
    """The names in the request of one month."""
    return (out / f"month-{month + 1:02d}.txt").read_text().split()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--source", type=Path, required=True, help="folder of train/test.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=5000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--method", default="coun")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--monthly", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    record = args.out / "year.json"
    args.out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(serve(args), indent=1))
    print(record)


if __name__ == "__main__":
    main()
