"""Ten deletion requests in a row through the registry: docs/results/registry.{json,md}.

An Original is trained, a registry is made from it, and ten requests (by default, of 1% of the rows
each) are fulfilled one after the other with `--method auto`. The final version is then compared
with two Retrains that never saw any of the rows; the distance between the two is the floor. Every
earlier request is audited again by itself. A killed run continues when it is repeated.

    python benchmarks/ten_requests.py --source hf:FOLDER --out runs/ten
    python benchmarks/ten_requests.py --source hf:FOLDER --out runs/gone --deleted --folds 4

With `--deleted`, the rows of a request leave the source as soon as it is served, so that no later
version can be made to forget them again.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

import coun
from coun.audit import RequestParts, Subject, judge
from coun.audit.wording import headline
from coun.metrics import average_gap
from coun.models import Outputs
from coun.registry.remembered import remembered_share
from coun.runs import Predictions, measure, predictions

METRICS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")


def for_rows(outputs: Predictions, slots: Tensor) -> Predictions:
    """Predictions whose forgotten rows are only those at *slots*."""
    forget = Outputs(*(values[slots] for values in outputs.outputs["forget"]))
    labels = {**outputs.labels, "forget": outputs.labels["forget"][slots]}
    return Predictions({**outputs.outputs, "forget": forget}, labels)


def agreement(first: Predictions, second: Predictions) -> float:
    """Percent of the forgotten rows to which two models give the same class."""
    answers = [p.outputs["forget"].logits.argmax(1) for p in (first, second)]
    return float(100 * (answers[0] == answers[1]).double().mean())


def drift(first: Predictions, second: Predictions) -> float:
    """Percent of the test rows to which two models give another class."""
    answers = [p.outputs["test"].logits.argmax(1) for p in (first, second)]
    return float(100 * (answers[0] != answers[1]).double().mean())


def load(arguments: argparse.Namespace) -> coun.Data:
    """Load the source from a copy, in which every row has an id and from which it can be deleted.

    The copy in the folder `source` loses rows; that in `archive` stays, for the comparison.
    """
    folders = [arguments.out / name for name in ("archive", "source")]
    if not folders[-1].exists():
        data = coun.load(arguments.source, limit=arguments.rows, test_limit=arguments.test_rows)
        for folder in folders:
            folder.mkdir(parents=True)
            for part, rows in (("train", data.train), ("test", data.test)):
                pq.write_table(table(rows, part), folder / f"{part}.parquet")
    return coun.load(f"hf:{folders[0]}", id_column="id")


def table(rows: coun.data.Examples, part: str) -> pa.Table:
    """Rows of 8-bit images as a table of ids, PNG files and labels."""
    columns: dict[str, list[Any]] = {"id": [], "image": [], "label": rows.labels.tolist()}
    for place, number in enumerate(rows.numbers.tolist()):
        pixels = rows.fetch(torch.tensor([place]))[0].permute(1, 2, 0).squeeze(2).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        columns["id"].append(f"{part} {number}")
        columns["image"].append(file.getvalue())
    return pa.table(columns)


def delete(ids: Sequence[str], folder: Path) -> None:
    """Delete rows from the source, as someone does who has fulfilled a request."""
    path = folder / "train.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.filter(pc.invert(pc.is_in(rows["id"], pa.array(ids)))), path)


def fulfil_all(arguments: argparse.Namespace, data: coun.Data) -> coun.Registry:
    """Make the registry and fulfil the requests, or go on where an earlier call stopped."""
    out: Path = arguments.out
    settings = {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
    run = coun.train(data, arguments.model, seed=arguments.seed, out=out / "original", **settings)
    folder, source = out / "registry", f"hf:{out / 'source'}"
    if folder.exists():
        registry = coun.Registry.open(folder, say=print)
    else:
        if arguments.folds:
            run = coun.prepare(run, folds=arguments.folds, repeats=1)
        registry = coun.Registry.init(folder, run, say=print)
    order = np.random.default_rng(arguments.seed).permutation(data.ids)
    size = round(arguments.share * len(order))
    for number in range(1, arguments.requests + 1):
        ids = order[size * (number - 1) : size * number].tolist()
        if number > len(registry.summary().requests):
            registry.add(ids=ids, reason=f"request {number}", data=source)
        if number in registry.summary().open:
            registry.fulfil(number, seed=arguments.seed, page=False, data=source)
        if arguments.deleted:
            delete(ids, out / "source")
    return registry


def compare(registry: coun.Registry, data: coun.Data, out: Path, first_seed: int) -> dict[str, Any]:
    """Compare the final version with two Retrains, over all rows and for each request."""
    final = coun.Run.open(registry.served, data=data)
    original = coun.Run.open(registry.folder / "versions" / "1", data=final.data)
    assert final.split is not None
    runs = {"final": final, "original": original}
    for number in (1, 2):
        path, seed = out / f"retrain-{number}", first_seed + number
        runs[f"retrain {number}"] = coun.unlearn(
            original, final.split, "retrain", seed=seed, out=path
        )
    outputs = {
        name: predictions(run.classifier, final.data, final.split) for name, run in runs.items()
    }
    measured = {name: measure(values, final.split) for name, values in outputs.items()}
    exact = [outputs["retrain 1"], outputs["retrain 2"]]
    result: dict[str, Any] = {
        "metrics": {n: {key: values[key] for key in METRICS} for n, values in measured.items()},
        "gap": {
            name: float(
                np.mean([average_gap(measured[name], measured[f"retrain {k}"]) for k in (1, 2)])
            )
            for name in ("final", "original")
        },
        "floor": average_gap(measured["retrain 1"], measured["retrain 2"]),
        "agreement": {
            name: float(np.mean([agreement(outputs[name], other) for other in exact]))
            for name in ("final", "original")
        },
        "agreement_floor": agreement(*exact),
        "drift": {name: float(np.mean([drift(outputs[name], e) for e in exact])) for name in runs},
        "drift_floor": drift(*exact),
    }
    rows = final.split.rows(final.data, "forgotten")
    numbers = final.data.train.numbers[rows]
    result["requests"] = []
    for request in registry.summary().requests:
        named = [
            n
            for (n,) in registry.ledger.connection.execute(
                "SELECT number FROM request_rows WHERE request = ?", (request.request,)
            )
        ]
        slots = torch.isin(numbers, torch.tensor(named)).nonzero().flatten()
        result["requests"].append(again(request.request, slots, outputs))
    everything = torch.arange(len(rows))
    result["all"] = again(0, everything, outputs)
    return result


def again(request: int, slots: Tensor, outputs: dict[str, Predictions]) -> dict[str, Any]:
    """Audit the final version on the rows of one request, beside both Retrains.

    The rows were drawn at random, so they are exchangeable with test rows of their class.
    """
    subjects = {n: Subject(n, for_rows(values, slots)) for n, values in outputs.items()}
    exact = [subjects["retrain 1"], subjects["retrain 2"]]
    parts = RequestParts(np.arange(len(slots)), np.arange(0), (), "random")
    verdict, family, _ = judge(
        [subjects["final"]], exact, parts, original=subjects["original"], margin=2.0, alpha=0.01
    )
    share = {n: remembered_share(s.predictions) for n, s in subjects.items()}
    wrong = {
        name: float(100 * (s.logits("forget").argmax(1) != s.labels("forget")).double().mean())
        for name, s in subjects.items()
    }
    return {
        "request": request,
        "rows": len(slots),
        "verdict": verdict.label,
        "headline": headline(verdict, family),
        "detectable": verdict.detectable,
        "unlearn_accuracy": wrong,
        "remembered": {
            n: None if r is None else [r.share, r.low, r.high] for n, r in share.items()
        },
        "agreement": {
            n: float(np.mean([agreement(subjects[n].predictions, e.predictions) for e in exact]))
            for n in ("final", "original")
        },
        "agreement_floor": agreement(exact[0].predictions, exact[1].predictions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--test-rows", type=int, default=2000)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.01, help="of the rows, in each request")
    parser.add_argument("--deleted", action="store_true", help="rows leave once they are forgotten")
    parser.add_argument("--folds", type=int, default=0, help="prepare the Original; 0: not")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--seed", type=int, default=0, help="of everything; use steps of 10")
    arguments = parser.parse_args()
    data = load(arguments)
    registry = fulfil_all(arguments, data)
    summary = registry.summary()
    fields = (
        "version", "start", "method", "settings", "forgotten_rows", "flops", "retrain_flops"
    )  # fmt: skip
    result = {
        "arguments": {k: str(v) for k, v in vars(arguments).items() if k not in ("source", "out")},
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread",
        "versions": [
            {
                **{f: getattr(v, f) for f in fields},
                "drift": v.drift,
                "metrics": v.metrics,
                "seconds": v.seconds,
            }
            for v in summary.versions
        ],
        **compare(registry, data, arguments.out, arguments.seed),
    }
    path = arguments.out / "registry.json"
    path.write_text(json.dumps(result, indent=1))
    print(f"{path} is written")


if __name__ == "__main__":
    main()
