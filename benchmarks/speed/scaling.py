"""Scaling: seconds an epoch by images and batch size, by data-parallel ranks, by workers.

    python benchmarks/speed/scaling.py [--model cnn] [--rounds 3]

Images and batches: fine-tuning in one process; `linear` is the time per image over that of
the largest set at the same batch size. ProcessGroup: the same epoch in one process with all cores,
and in two that torchrun starts with half of them each. Workers: images are JPEG-decoded as
they are read.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from functools import partial
from statistics import median
from typing import Any

import measure
import torch
from measure import Trainer
from PIL import Image

import coun
from coun.engine.process_group import ProcessGroup

IMAGES, BATCHES = (1000, 5000, 20000, 50000), (64, 256, 1024)
TURN = 20_000  # images in one turn at least, so that all turns meet the same machine


class Jpegs:
    """A map-style dataset that decodes at every access."""

    classes = tuple(str(i) for i in range(measure.CLASSES))

    def __init__(self, images: int) -> None:
        self.files = []
        for image in measure.synthetic(images).train.images.permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG")
            self.files.append(file.getvalue())
        self.targets = [i % measure.CLASSES for i in range(images)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.open(io.BytesIO(self.files[row])).convert("RGB"), self.targets[row]


def sizes(model: str, rounds: int) -> dict[str, Any]:
    """Seconds an epoch for every number of images and batch size."""
    trainers = {n: Trainer(measure.synthetic(n), model) for n in IMAGES}
    computed: dict[str, Any] = {}
    for batch in BATCHES:

        def turn(images: int, size: int = batch) -> int:
            times = max(1, TURN // images)
            return sum(trainers[images].phase("finetune", size) for _ in range(times))

        jobs = {str(n): partial(turn, n) for n in IMAGES}
        rates = measure.turns(jobs, rounds)
        seconds = {k: int(k) / median(v) for k, v in rates.items()}
        each = {k: v / int(k) for k, v in seconds.items()}
        computed[str(batch)] = {
            "seconds": {k: round(v, 3) for k, v in seconds.items()},
            "linear": {k: round(v / each[str(IMAGES[-1])], 3) for k, v in each.items()},
        }
        print(batch, computed[str(batch)], flush=True)
    return computed


def epoch_seconds(data: coun.Data, model: str, **options: Any) -> float:
    """Of the second epoch in `coun.train`, without start-up."""
    spent = []
    for epochs in (1, 3):
        run = coun.train(
            data, model, epochs=epochs, batch_size=256, options=coun.Options(**options)
        )
        spent.append(run.record["cost"]["seconds"])
    return (spent[1] - spent[0]) / 2


def ranks(model: str, rounds: int) -> dict[str, float]:
    """Seconds an epoch of 5,000 images in one process and in two."""
    computed: dict[str, list[float]] = {"1": [], "2": []}
    for _ in range(rounds):
        for count in ("1", "2"):
            command = [sys.executable, __file__, "--model", model, "--rank-job"]
            if count == "2":
                command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
            threads = str(max(1, (os.cpu_count() or 1) // int(count)))
            env = {**os.environ, "OMP_NUM_THREADS": threads}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
            computed[count].append(float(done.stdout.split()[-1]))
    return {k: round(median(v), 3) for k, v in computed.items()}


def workers(model: str, rounds: int) -> dict[str, float]:
    """Seconds an epoch of 5,000 images that are decoded as they are read."""
    files = Jpegs(5000)
    data = coun.from_dataset(files, files, stream=True)
    spent: dict[str, list[float]] = {"0": [], "1": [], "2": []}
    for _ in range(rounds):
        for count, each in spent.items():
            each.append(epoch_seconds(data, model, workers=int(count)))
    return {k: round(median(v), 3) for k, v in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rank-job", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank_job:
        seconds = epoch_seconds(measure.synthetic(5000), args.model)
        if ProcessGroup.current().is_main:
            print(seconds)
        return
    started = time.perf_counter()
    computed = {
        "model": args.model,
        "threads": torch.get_num_threads(),
        "sizes": sizes(args.model, args.rounds),
        "ranks_5000_images": ranks(args.model, args.rounds),
        "workers_5000_jpegs": workers(args.model, args.rounds),
    }
    print(computed, f"{time.perf_counter() - started:.0f} s")
    measure.record("scaling", computed)


if __name__ == "__main__":
    main()
