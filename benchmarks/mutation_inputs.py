"""What `mutations.py` changes: one valid input of each kind, and the function that reads it."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from random_changes import VALUES, changed_bytes, changed_values

import coun
from coun.bench.output import published, results
from coun.bench.spec.reading import parse, read_text
from coun.cli import group
from coun.data.request_files import read_ids, read_index
from coun.data.row_table import RowTable
from coun.engine import Checkpoint
from coun.errors import CounError
from coun.files import file_digest, read_json, write_json, write_sealed
from coun.models import build, load_weights
from coun.runs.folder import RECORD, ROWS, WEIGHTS
from coun.runs.metrics_record import read_metrics

Read = Callable[[random.Random], object]


class Inputs:
    """One small valid input of each kind, in *folder*, and what reads a mutation of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        torch.set_num_threads(1)
        self.data = coun.load("digits", limit=50)
        self.split = coun.Split.by_class(self.data, "3")
        self.original, self.run = folder / "original", folder / "run"
        coun.train(self.data, "mlp", epochs=1, out=self.original)
        coun.unlearn(self.original, self.split, "finetune", epochs=1, out=self.run)
        coun.evaluate(self.run)
        self.record = read_json(self.run / RECORD)
        self.rows = (self.run / ROWS).read_bytes()
        self.weights = (self.run / WEIGHTS).read_bytes()
        self.metrics = read_json(self.run / "metrics.json")
        self.checkpoint = Checkpoint(folder / "checkpoint", "id")
        self.checkpoint.save("step", {"a.b": torch.ones(9)}, {"epoch": 1})
        self.configs = [read_text(name) for name in ("demo", "paper/table2")]
        self.kinds: dict[str, Read] = {
            "run.json, by values": self.record_by_values,
            "run.json, by bytes": self.record_by_bytes,
            "metrics.json": self.metrics_file,
            "rows.parquet": self.rows_file,
            "weights, safetensors": self.weights_file,
            "weights, torch.save": self.pickled_weights,
            "checkpoint": self.checkpoint_file,
            "request file": self.request_file,
            "bench config": self.config,
            "bench results": self.results_file,
            "printed values": self.printed,
            "folder of images": self.images,
            "npz": self.npz,
            "csv or parquet table": self.table,
            "options": self.options,
        }

    def record_by_values(self, rng: random.Random) -> object:
        content = {key: value for key, value in self.record.items() if key != "sha256"}
        changed = changed_values(content, rng)
        (write_sealed if isinstance(changed, dict) else write_json)(self.run / RECORD, changed)
        return self.read_record(rng)

    def record_by_bytes(self, rng: random.Random) -> object:
        text = json.dumps({k: v for k, v in self.record.items() if k != "sha256"})
        (self.run / RECORD).write_bytes(changed_bytes(text.encode(), rng))
        return self.read_record(rng)

    def read_record(self, rng: random.Random) -> object:
        match rng.randrange(6):
            case 0:
                return coun.runs.history(self.run)
            case 1:
                return coun.unlearn(
                    coun.Run.open(self.original),
                    self.split,
                    "finetune",
                    epochs=1,
                    out=self.run,
                )
            case 2:
                return coun.evaluate(self.run)
            case 3:
                return command("history", str(self.run))
            case _:
                return coun.Run.open(self.run)

    def metrics_file(self, rng: random.Random) -> object:
        (self.run / RECORD).write_text(json.dumps(self.record))
        path = self.run / "metrics.json"
        if rng.random() < 0.5:
            path.write_bytes(changed_bytes(json.dumps(self.metrics).encode(), rng))
        else:
            content = {key: value for key, value in self.metrics.items() if key != "sha256"}
            changed = changed_values(content, rng)
            (write_sealed if isinstance(changed, dict) else write_json)(path, changed)
        if rng.random() < 0.1:
            coun.evaluate(self.run)
            for extra in self.run.glob("metrics-*.json"):
                extra.unlink()
        return read_metrics(path)

    def rows_file(self, rng: random.Random) -> object:
        path = self.run / ROWS
        path.write_bytes(changed_bytes(self.rows, rng))
        try:
            content = copy.deepcopy(self.record)
            del content["sha256"]
            content["data"]["rows_sha256"] = file_digest(path)
            write_sealed(self.run / RECORD, content)
            RowTable.load(path)
            return coun.Run.open(self.run)
        finally:
            path.write_bytes(self.rows)
            (self.run / RECORD).write_text(json.dumps(self.record))

    def weights_file(self, rng: random.Random) -> object:
        path = self.folder / "w.safetensors"
        path.write_bytes(changed_bytes(self.weights, rng))
        return load_weights(build("mlp", classes=10, shape=(1, 8, 8)), path)

    def pickled_weights(self, rng: random.Random) -> object:
        path, model = self.folder / "w.pt", build("mlp", classes=10, shape=(1, 8, 8))
        content: Any = rng.choice((model.state_dict(), {"state_dict": model.state_dict()}))
        if rng.random() < 0.3:
            content = rng.choice(([1], {"a": 1}, {1: torch.ones(2)}, torch.ones(3), None, "x"))
        torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.5)
        path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return load_weights(model, path)

    def checkpoint_file(self, rng: random.Random) -> object:
        path = self.folder / "checkpoint" / "step.safetensors"
        content = path.read_bytes()
        try:
            path.write_bytes(changed_bytes(content, rng))
            return self.checkpoint.load("step")
        finally:
            path.write_bytes(content)

    def request_file(self, rng: random.Random) -> object:
        name, content = rng.choice(
            (
                ("r.txt", b"%d\n%d\n%d\n"),
                ("r.csv", b"name,row\nann,%d\nben,%d\nc,%d\n"),
                ("r.json", b'{"rows": [%d, %d, %d]}'),
                ("r.json", b'[{"id": "%d"}, {"id": "%d"}, {"id": "%d"}]'),
                ("r.tsv", b"id\tx\n%d\t1\n%d\t1\n%d\t2\n"),
            )
        )
        path = self.folder / name
        content %= tuple(self.data.train.numbers[:3].tolist())
        path.write_bytes(changed_bytes(content, rng))
        column = rng.choice((None, None, "row", "id", "nothing"))
        if rng.random() < 0.5:
            return coun.Split.by_index(self.data, read_index(path, column))
        return read_ids(path, column)

    def config(self, rng: random.Random) -> object:
        text = rng.choice(self.configs)
        if rng.random() < 0.5:
            lines = text.splitlines()
            at = rng.choice([n for n, line in enumerate(lines) if "=" in line])
            key = lines[at].partition("=")[0]
            value = json.dumps(rng.choice(VALUES), default=str)
            lines[at] = f"{key} = {value}"
            text = "\n".join(lines)
        path = self.folder / "c.toml"
        path.write_bytes(changed_bytes(text.encode(), rng) if rng.random() < 0.5 else text.encode())
        return parse(read_text(path), str(path))

    def results_file(self, rng: random.Random) -> object:
        body = {"format": 3, "rows": [{"bed": "x", "gap": 1.0}], "config": {"title": "t"}}
        path = self.folder / "results.json"
        if rng.random() < 0.5:
            write_json(path, changed_values(body, rng))
        else:
            write_sealed(path, body)
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return results.read(self.folder)

    def printed(self, rng: random.Random) -> object:
        path = self.folder / "printed.csv"
        source = Path(published.__file__).parents[1] / "paper_values"
        files = sorted(source.glob("*.csv")) or [self.folder / "r.csv"]
        content = files[0].read_bytes()[:2000] if files[0].exists() else b"a,b\n1,2\n"
        path.write_bytes(changed_bytes(content, rng))
        return published.read(path)

    def images(self, rng: random.Random) -> object:
        root = self.folder / "images"
        for part, label in itertools.product(("train", "test"), ("a", "b")):
            (root / part / label).mkdir(parents=True, exist_ok=True)
            for number in range(2):
                suffix = ("png", "jpg")[number]
                Image.new("RGB", (4, 4), (number * 99, 3, 4)).save(
                    root / part / label / f"{number}.{suffix}"
                )
        path = rng.choice(sorted(root.rglob("*.*")))
        path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return coun.load(f"folder:{root}").train.fetch(torch.arange(2))

    def npz(self, rng: random.Random) -> object:
        path = self.folder / "d.npz"
        arrays: dict[str, Any] = {
            "x_train": np.zeros((6, 4, 4), np.uint8),
            "y_train": np.arange(6) % 2,
            "x_test": np.zeros((4, 4, 4), np.uint8),
            "y_test": np.arange(4) % 2,
        }
        if rng.random() < 0.5:
            name = rng.choice(sorted(arrays))
            arrays[name] = rng.choice(
                (
                    np.array([]),
                    np.array("x"),
                    np.array([[None]]),
                    np.full(6, np.nan),
                    np.zeros((0, 4, 4)),
                    np.arange(6) - 2,
                    np.arange(6, dtype=np.complex64),
                    np.array(["é", "[b]", "", "x", "y", "z"]),
                    np.zeros((6, 4, 4, 2)),
                    np.full((6, 4, 4), np.inf),
                    np.array([2**63 - 1] * 6),
                )
            )
            np.savez(path, **arrays)
        else:
            np.savez(path, **arrays)
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return coun.load(f"npz:{path}")

    def table(self, rng: random.Random) -> object:
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.folder / "table"
        folder.mkdir(exist_ok=True)
        buffer = io.BytesIO()
        Image.new("L", (4, 4)).save(buffer, "png")
        picture = {"bytes": buffer.getvalue(), "path": "x.png"}
        for part in ("train", "test"):
            columns: dict[str, Any] = {"image": [picture] * 4, "label": [0, 1, 0, 1]}
            if part == "train" and rng.random() < 0.5:
                values = [rng.choice(VALUES[:26]) for _ in range(4)]
                with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                    name = rng.choice(("image", "label", "id"))
                    columns[name] = pa.array([None if v is None else str(v) for v in values])
            path = folder / f"{part}.parquet"
            pq.write_table(pa.table(columns), path)
        if rng.random() < 0.6:
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        return coun.load(f"hf:{folder}").train.fetch(torch.arange(2))

    def options(self, rng: random.Random) -> object:
        run, out = str(self.run), str(self.folder / "out")
        bases = (
            ["train", "--data", "digits", "--model", "mlp", "--limit", "50", "--epochs", "1"],
            ["unlearn", str(self.original), "--method", "finetune", "--forget-class", "3"],
            ["evaluate", run],
            ["rows", "digits", "--limit", "50", "--find", "1"],
            ["history", run],
            ["methods", "coun"],
            ["bench", "plan", "demo"],
            ["report", run],
            ["audit", run],
        )
        words = list(rng.choice(bases))
        names = (
            *("--device", "--precision", "--head", "--workers", "--seed", "--set", "--limit"),
            *(
                "--forget-seed",
                "--forget-class",
                "--forget-index",
                "--forget-ids",
                "--forget-match",
            ),
            *("--forget-fraction", "--data", "--model", "--test-share", "--size", "--contrast"),
            *("--contrast-set", "--method", "--against", "--checkpoint-every"),
            *("--test-seed", "--id-column", "--alpha", "--margin", "--minutes", "--only", "--like"),
        )
        for _ in range(rng.choice((1, 1, 2, 3))):
            value = str(rng.choice(VALUES)) if rng.random() < 0.8 else f"lr={rng.choice(VALUES)}"
            words.insert(rng.randrange(1, len(words) + 1), value)
            if rng.random() < 0.8:
                words.insert(words.index(value), rng.choice(names))
        if words[0] in ("train", "unlearn"):
            words += ["--out", out]
        return command(*words)

    def restore(self) -> None:
        """Undo what the last input left behind."""
        (self.run / RECORD).write_text(json.dumps(self.record))
        (self.run / "metrics.json").write_text(json.dumps(self.metrics))
        for path in self.run.glob("metrics-*.json"):
            path.unlink()
        shutil.rmtree(self.folder / "out", ignore_errors=True)


def command(*words: str) -> object:
    """Run the command line in this process, as `coun` does, but let errors through."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return group.main(list(words), standalone_mode=False)
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except click.ClickException as error:
            raise CounError(" ".join(error.format_message().split())) from error
