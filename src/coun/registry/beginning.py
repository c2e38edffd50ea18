"""Make the folder of a new registry."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from coun import __version__
from coun.certificates import create_key, load_key, new_key
from coun.data.content import listing
from coun.data.keyed_rows import KEYS
from coun.data.row_table import RowTable
from coun.engine import predict
from coun.errors import CounError, counted
from coun.files import cannot_write, read_json
from coun.ledger import Ledger
from coun.metrics import accuracy
from coun.models import save_weights
from coun.registry import rows as request_rows
from coun.registry.layout import CERTIFICATES, DATABASE, SIGNING_KEY, VERSIONS, WORK, version_folder
from coun.registry.versions import (
    copy_version,
    digests,
    left_out_test_rows,
    nameless_table,
    sync,
    write_table,
)
from coun.runs import Run
from coun.runs.answers import with_answers
from coun.runs.folder import (
    METRICS,
    OUT_OF_FOLD,
    ROWS,
    WEIGHTS,
    expanded,
    read_record,
    refuse_inside_run,
    write_record,
)
from coun.runs.recipes import recipe


def begin(
    folder: str | Path, start: Run | str | Path, key: str | Path | None, settings: dict[str, Any]
) -> Path:
    """Make a registry, or nothing at all; see `Registry.init`. Returns: its folder."""
    folder = expanded(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CounError(f"{folder} exists and is not empty; choose another folder")
    refuse_inside_run(folder)
    run = start if isinstance(start, Run) else Run.open(start)
    if not run.data.source:
        raise CounError(
            "the data was passed in Python, and the registry must load it again; load it from "
            "a source with coun.load"
        )
    _refuse_forgotten_rows_in_data(run)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        _fill_folder(temporary, run, key, settings)
        with contextlib.suppress(OSError):
            folder.rmdir()
        os.chmod(temporary, 0o755)
        os.rename(temporary, folder)
        sync(folder.parent)
    except OSError as error:
        raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _refuse_forgotten_rows_in_data(run: Run) -> None:
    """Refuse a run whose forgotten rows are still in its data.

    The registry keeps no name of rows that were forgotten before, so that it would take them for
    new ones. Where a limit leaves rows out, it leaves these out as well.
    """
    if run.split is None:
        return
    parts = (
        (run.data.train, run.split.forget, run.data.limit),
        (run.data.test, run.split.held_out, run.data.origin.get("test_limit")),
    )
    for examples, forgotten, limit in parts:
        still_there = torch.isin(examples.numbers, forgotten).nonzero().flatten().tolist()
        if still_there and limit is None:
            raise CounError(
                f"the run has forgotten {counted(len(still_there), 'row')} that the data still "
                f"has: {listing([examples.ids[row] for row in still_there])}; delete them from "
                f"{run.data.source} first, or begin with the run before and name them in a request"
            )


def _fill_folder(folder: Path, run: Run, key: str | Path | None, settings: dict[str, Any]) -> None:
    """Write the files of a new registry to the empty *folder*."""
    for name in (VERSIONS, CERTIFICATES, KEYS, WORK):
        (folder / name).mkdir()
    os.chmod(folder / KEYS, 0o700)
    public = f"{folder / KEYS / SIGNING_KEY}.pub"
    if key is None:
        signing = create_key(folder / KEYS / SIGNING_KEY).public_key
    else:
        signing = load_key(expanded(key)).public_key
        shutil.copyfile(f"{expanded(key)}.pub", public)
    first = version_folder(folder, 1)
    if run.folder is not None and (run.folder / ROWS).is_file() and not settings:
        copy_version(run.folder, first)
    else:
        first.mkdir()
        save_weights(run.model, first / WEIGHTS)
        record = run.record
        if record.kind == "given":
            training = recipe(record.model.name, settings, network=run.model).settings()
            if not settings:  # unknown, so that unlearning finds its learning rate by trials
                del training["optimizer"]
            record = record.model_copy(update={"original": training})
        elif settings:
            raise CounError("the run's record says how it was trained; leave out the recipe")
        write_record(first, with_answers(record, run.model, run.data.input_shape))
        write_table(first, first, RowTable.of(run.data, run.split))
        if run.out_of_fold is not None:
            run.out_of_fold.save(first / OUT_OF_FOLD)
    split = run.split
    if split is not None:  # it has forgotten rows before; nobody needs the key of their names
        numbers = {"train": split.forget.tolist(), "test": split.held_out.tolist()}
        table = nameless_table(RowTable.load(first / ROWS), {new_key(): numbers})
        write_table(first, first, table)
    ledger = Ledger.create(folder / DATABASE, request_rows.SCHEMA)
    record = read_record(first)
    with ledger.transaction():
        ledger.append(
            "created",
            {
                "registry": secrets.token_hex(16),
                "coun": __version__,
                "source": run.data.source,
                "key": None if key is None else str(expanded(key).absolute()),
                "public_key": signing.keyid,
            },
        )
        ledger.append("version", _first_version(record, run, digests(first)))
        ledger.append("served", {"version": 1, "because": "init"})
    ledger.close()


def _first_version(record: Any, run: Run, files: dict[str, str]) -> dict[str, Any]:
    """The ledger's entry of version 1."""
    measured = {}
    if run.folder is not None and (run.folder / METRICS).is_file():
        content = read_json(run.folder / METRICS)
        names = ("retain_accuracy", "unlearn_accuracy", "test_accuracy")
        measured = {n: content[n] for n in names if isinstance(content.get(n), float)}
    elif run.split is None:
        test = run.data.test
        outputs = predict(run.classifier, run.data, test, with_features=False, anywhere=True)
        measured = {"test_accuracy": accuracy(outputs.logits, test.labels.cpu())}
    return {
        "version": 1,
        "parent": None,
        "kind": record.kind,
        "method": record.method.name,
        "settings": record.method.settings,
        "seed": record.seed,
        "reason": "the model that the registry began with",
        "files": files,
        "requests": [],
        "nameless": [],
        "forgotten_rows": 0 if run.split is None else len(run.split.forget),
        "flops": record.cost.flops or None,
        "retrain_flops": None,
        "seconds": record.cost.seconds or None,
        "metrics": measured,
        "test_rows_left_out": left_out_test_rows(run),
        "drift": 0.0,
        "exact": record.kind != "unlearned",
        "split": None if run.split is None else run.split.digest,
    }
