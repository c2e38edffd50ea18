"""The audit's validation on convolutional networks: `resnet8` on small CIFAR-10 pictures.

A world is 300 training and 300 test pictures of 16 x 16 pixels, an Original, four Retrains and
models that forgot badly, all made and audited by the library's own functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import coun
from coun.audit import audit
from coun.data import Data, Split
from coun.files import read_json, write_json
from coun.runs import Run

ROWS, SIDE, EPOCHS = 300, 16, 15


def pictures(source: str, seed: int, *, rows: int = ROWS) -> Data:
    """Training and test rows by lot, scaled down."""
    whole = coun.load(source, limit=4 * rows, test_limit=2 * rows)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part in (whole.train, whole.test):
        chosen = torch.randperm(len(part), generator=generator)[:rows]
        images = part.fetch(chosen).float()
        small = torch.nn.functional.adaptive_avg_pool2d(images, SIDE).to(torch.uint8)
        parts += [small, part.labels[chosen]]
    data = coun.from_arrays(*parts, classes=whole.classes)
    return replace(data, views=replace(data.views, letters="N"))


def _mislabelled(data: Data, seed: int) -> tuple[Data, Split]:
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    rows = rows[: len(rows) // 10]
    labels = data.train.labels.clone()
    labels[rows] = (labels[rows] + 1) % len(data.classes)
    images = data.train.fetch(torch.arange(len(labels)))
    test = data.test
    changed = coun.from_arrays(
        images,
        labels,
        test.fetch(torch.arange(len(test))),
        test.labels,
        classes=data.classes,
    )
    changed = replace(changed, views=data.views)
    return changed, Split.by_index(changed, changed.train.numbers[rows])


NETWORK_REQUESTS: dict[str, Callable[[Data, int], tuple[Data, Split]]] = {
    "resnet8: random, 100 rows": lambda data, seed: (
        data,
        Split.random(data, 100 / len(data.train), seed=seed),
    ),
    "resnet8: a class": lambda data, seed: (data, Split.by_class(data, seed % 10)),
    "resnet8: mislabelled rows": _mislabelled,
}


def network_audits(source: str, request: str, seed: int, cache: Path) -> list[dict[str, Any]]:
    """The words of all audits of one world; those of an earlier call are read."""
    path = cache / "audits" / f"{request} {seed}.json".replace(":", "")
    if not path.exists():
        data, split = NETWORK_REQUESTS[request](pictures(source, seed), seed)
        write_json(path, audits_of(data, split, seed, model="resnet8", epochs=EPOCHS))
    rows: list[dict[str, Any]] = read_json(path)
    return rows


def audits_of(
    data: Data,
    split: Split,
    seed: int,
    *,
    model: str,
    epochs: int,
    counts: tuple[int, ...] = (1, 3),
) -> list[dict[str, Any]]:
    """Train every model of a world, and audit it against so many Retrains."""
    start = 100 * seed
    original = coun.train(data, model, seed=start, epochs=epochs)
    retrains = [
        coun.train(data, model, split=split, seed=start + k, epochs=epochs)
        for k in range(1, counts[-1] + 2)
    ]
    few = split.forget[5:] if len(split.forget) > 10 else None
    models = {
        "Retrain": retrains[-1],
        "Original": original,
        "fine-tuned, lr 1e-6": coun.unlearn(original, split, "finetune", epochs=1, lr=1e-6),
        "fine-tuned": coun.unlearn(original, split, "finetune", epochs=max(1, epochs // 5)),
    }
    if few is not None:
        kept = coun.train(
            data, model, split=Split.by_index(data, few), seed=start + 6, epochs=epochs
        )
        models["keeps 5"] = replace(kept, split=split)
    rows = []
    for name, run in models.items():
        for count in counts:
            rows.append(_row(name, run, retrains[:count], split))
    return rows


def _row(name: str, run: Run, exact: list[Run], split: Split) -> dict[str, Any]:
    verdict = audit(run, exact, split=split, rest=False).verdict
    return {"model": name, "retrains": len(exact), "word": verdict.label}
