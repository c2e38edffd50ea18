"""The paper's Table 2 on one GPU: CIFAR-10, ResNet-18, a random 10%, as many seeds as fit.

    python benchmarks/table2.py --out runs/table2 --minutes 30
    python benchmarks/table2.py --out runs/tiny --tiny              # a rehearsal on the CPU

Seed by seed, untuned, so that whatever time is left, whole seeds come first. Repeat the command
to go on; kill it when you like. Writes the report beside the paper's numbers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from coun.bench import bench, report
from coun.bench.reading import read_text

BED = "CIFAR-10 ResNet-18"
SOURCE = 'source = "hf:{root}/cifar10"\n'


def tiny(text: str) -> str:
    """The same bench on 200 images and for two epochs, one of unlearning."""
    text = text.replace('model = "resnet18"\n', 'model = "resnet18"\ntrain = { epochs = 2 }\n', 1)
    before, after = text.split(SOURCE, 1)
    _, rest = after.split("\n", 1)  # what the data must be
    return f"{before}{SOURCE}limit = 200\ntest_limit = 200\n{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    text = read_text("paper/table2")
    given.out.mkdir(parents=True, exist_ok=True)
    config = given.out / "asked.toml"
    config.write_text(tiny(text) if given.tiny else text, encoding="utf-8")
    found = bench(
        config,
        given.out,
        workers=given.workers,
        only=[f"bed={BED}", *(["seed=0,1"] if given.tiny else [])],
        tuning=False,
        minutes=given.minutes,
    )
    for path in report(given.out, paper=True):
        print(path)
    for why in found["failures"].values():
        print("failed:", why)


if __name__ == "__main__":
    main()
