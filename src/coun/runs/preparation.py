"""Prepare a model for requests: out-of-fold predictions, by cross-validation or from a file."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from coun.data import Data, OutOfFold, Split
from coun.data.content import row_hashes
from coun.engine import predict
from coun.engine.cost import Cost
from coun.errors import CounError, require_type
from coun.federated.federation import federation_of
from coun.files import locked
from coun.runs.folder import (
    FOLDS,
    OUT_OF_FOLD,
    expanded,
    read_record,
    refuse_version,
    write_record,
)
from coun.runs.options import Options
from coun.runs.record import OutOfFoldRecord
from coun.runs.run import Run
from coun.runs.scoring import training_of
from coun.runs.training import train
from coun.seeds import Seeds
from coun.trust import Trust

FOLD_EPOCHS = 1 / 2  # of the Original's: its models tell more than more models of fewer epochs


def prepare(
    run: Run | str | Path,
    *,
    folds: int = 4,
    repeats: int = 2,
    epochs: int | None = None,
    groups: Mapping[str, str] | None = None,
    predictions: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    options: Options | None = None,
    trust: Trust = False,
) -> Run:
    """Prepare *run* for requests to forget rows: make or read its out-of-fold predictions.

    The rows are divided into *folds* parts. For each part a model is trained without it, and what
    this model predicts for the rows of the part is kept. This is repeated with other divisions. All
    of it is done once, before any request, and costs R (K - 1) epochs / E trainings of the
    Original, where E are the Original's epochs: 2 * 3 / 2 = 3 by default. In a run folder the
    preparation continues where it was interrupted, and a finished one is returned.

    Args:
        run: an Original, or the result of earlier requests, whose retained rows are then used.
        folds: number of parts, K; a model of a fold sees (K - 1)/K of the rows.
        repeats: number of divisions, R, whose predictions are averaged later.
        epochs: of the models of folds; by default half of the Original's.
        groups: by id the group (a customer) that a row belongs to; a group is in one fold. Rows
            of equal content always are.
        predictions: an npz file with predictions of your own, in place of all training
            (`OutOfFold.load`).
        seed: of the divisions and of the training.
        overwrite: replace other predictions, or damaged ones, that the folder of *run* holds.
        options, trust: as for `coun.train` and `Run.open`.

    Returns: *run*, which carries the predictions.

    Raises: CounError if the training of *run* is not on record, the file does not fit, or the
        folder of *run* is a version of a registry, or holds predictions that were made in another
        way.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> prepare(run, folds=2, repeats=1).out_of_fold.repeats
    1
    """
    if isinstance(run, str | Path):
        run = Run.open(run, predictions=not overwrite, trust=trust)
    require_type(run, Run, "run", "a run, or its folder")
    require_type(folds, Integral, "folds", "an integer")
    require_type(repeats, Integral, "repeats", "an integer")
    require_type(epochs, (Integral, type(None)), "epochs", "an integer")
    if federation_of(run.record.original):
        raise CounError(
            "the run was trained in a federation, whose clients cannot carry out out_of_fold; "
            "prepare a run that was trained without clients"
        )
    work: _FromFile | _CrossValidation
    if predictions is not None:
        work = _FromFile(run, expanded(predictions))
    else:
        work = _CrossValidation(run, folds, repeats, epochs, groups, seed, options)
    if _is_prepared(run, work.record, overwrite=overwrite):
        if options and options.progress:
            print(f"{run.where} is prepared so already; nothing is computed again", file=sys.stderr)
        return run
    if run.folder is None:
        return _with_predictions(run, *work.carry_out())
    refuse_version(run.folder)
    with locked(run.folder):
        if read_record(run.folder).out_of_fold != run.record.out_of_fold:
            raise CounError(
                f"another process prepared {run.folder} meanwhile; repeat the command to see how"
            )
        prepared = _with_predictions(run, *work.carry_out())
        shutil.rmtree(run.folder / FOLDS, ignore_errors=True)
    return prepared


def _is_prepared(run: Run, new_record: OutOfFoldRecord, *, overwrite: bool) -> bool:
    """Return whether *run* carries the predictions that *new_record* describes.

    Raises: CounError if its folder holds others, and they must not be overwritten.
    """
    present = run.record.out_of_fold
    if present is None or (overwrite and run.out_of_fold is None):
        return False  # it has none, or may have damaged ones, which were not read
    differences = present.differences(new_record)
    if differences and run.folder is not None and not overwrite:
        raise CounError(
            f"{run.folder} is prepared in another way (it differs in {', '.join(differences)}); "
            "leave it as it is, or replace it with coun prepare --overwrite"
        )
    return not differences


def _retained(run: Run) -> Tensor:
    """Positions of the training rows that *run* may still learn from."""
    if run.split is None:
        return torch.arange(len(run.data.train))
    return run.split.rows(run.data, "retain")


class _FromFile:
    """Reads predictions of the user's own, and refuses those that do not fit.

    Attributes: record: what will be on record of them.
    """

    def __init__(self, run: Run, path: Path) -> None:
        self.predictions = OutOfFold.load(path, run.data)
        self.predictions.check(run.data, _retained(run))
        self.record = OutOfFoldRecord(
            sha256=self.predictions.digest, repeats=self.predictions.repeats
        )

    def carry_out(self) -> tuple[OutOfFold, OutOfFoldRecord]:
        """Return the predictions and their record."""
        return self.predictions, self.record


class _CrossValidation:
    """Makes predictions by cross-validation; arguments as for `prepare`.

    Attributes: record: what will be on record of them, as far as it is known before.
    """

    def __init__(
        self,
        run: Run,
        folds: int,
        repeats: int,
        epochs: int | None,
        groups: Mapping[str, str] | None,
        seed: int,
        options: Options | None,
    ) -> None:
        self.run, self.rows, self.folds = run, _retained(run), folds
        self.units = units_to_divide(run.data, self.rows, folds, groups)
        if repeats < 1:
            raise CounError(f"{repeats} repeats; expected at least 1")
        model, settings = training_of(run)
        short = epochs or max(1, round(FOLD_EPOCHS * settings["epochs"]))
        self.record = OutOfFoldRecord(
            sha256="",
            repeats=repeats,
            folds=folds,
            epochs=short,
            seed=seed,
            groups_sha256=hashlib.sha256(self.units.astype("<i8").tobytes()).hexdigest(),
        )
        settings = {
            **settings,
            "epochs": short,
            "unaugmented_epochs": min(short, settings.get("unaugmented_epochs", 0)),
        }
        self.trainer = _Trainer(run, self.rows, model, settings, seed, options)

    def carry_out(self) -> tuple[OutOfFold, OutOfFoldRecord]:
        """Train the models of all folds; return what they predict, and the record of it."""
        run, record = self.run, self.record
        # Folds of another division, which an interrupted preparation left, are not continued.
        division = f"seed-{record.seed}-groups-{str(record.groups_sha256)[:8]}"
        folder = None if run.folder is None else run.folder / FOLDS / division
        tables = []
        for repeat in range(record.repeats):
            generator = Seeds(self.trainer.seed).numpy("folds", repeat)
            fold_of = divide(self.units, self.folds, generator)
            table = torch.empty(len(self.rows), len(run.data.classes))
            for fold in range(self.folds):
                part = torch.from_numpy(np.flatnonzero(fold_of == fold))
                name = f"repeat-{repeat}-fold-{fold}-of-{self.folds}"
                table[part] = self.trainer.unseen(part, name, folder)
            tables.append(table)
        ids = tuple(run.data.train.take(self.rows).ids)
        made = OutOfFold(ids, torch.stack(tables), run.data.classes)
        update = {"sha256": made.digest, "cost": self.trainer.cost}
        return made, record.model_copy(update=update)


class _Trainer:
    """Trains models of one recipe without a part of the rows, and adds up what this costs."""

    def __init__(
        self,
        run: Run,
        rows: Tensor,
        model: Any,
        settings: Mapping[str, Any],
        seed: int,
        options: Options | None,
    ) -> None:
        self.run, self.rows, self.model, self.settings = run, rows, model, settings
        self.seed, self.options, self.cost = seed, options, Cost()

    def unseen(self, part: Tensor, name: str, folder: Path | None) -> Tensor:
        """Return the log-probabilities of the rows *part*, by a model that never saw them.

        The model is kept in *folder*, if that is given.
        """
        data, epochs = self.run.data, self.settings["epochs"]
        places = self.rows[part]
        trained = train(
            data,
            self.model,
            split=Split.by_index(data, data.train.numbers[places], earlier=self.run.split),
            seed=Seeds(self.seed).number(name) % 2**31,
            out=None if folder is None else folder / f"{name}-of-{epochs}-epochs",
            options=self.options,
            **self.settings,
        )
        self.cost = self.cost + trained.record.cost
        left_out = data.train.take(places)
        anywhere = self.options is None or self.options.device != "cpu"
        logits = predict(trained.classifier, data, left_out, anywhere=anywhere).logits
        return F.log_softmax(logits, 1)


def divide(units: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """Give each row (n,) a fold, 0..*folds* - 1, at random; rows of one unit share theirs.

    >>> divide(np.array([0, 0, 1, 1]), 2, np.random.default_rng(0)).tolist() in (
    ...     [0, 0, 1, 1], [1, 1, 0, 0])
    True
    """
    count = int(units.max()) + 1
    fold_of_unit = np.empty(count, np.int64)
    fold_of_unit[generator.permutation(count)] = np.arange(count) % folds
    folds_of_rows: np.ndarray = fold_of_unit[units]
    return folds_of_rows


def _with_predictions(run: Run, predictions: OutOfFold, record: OutOfFoldRecord) -> Run:
    """Return *run* with these predictions, which are written to its folder if it has one."""
    changed = run.record.model_copy(update={"out_of_fold": record})
    if run.folder is not None:
        if run.record.out_of_fold is not None:  # after a kill between the two, none is on record
            write_record(run.folder, run.record.model_copy(update={"out_of_fold": None}))
        predictions.save(run.folder / OUT_OF_FOLD)
        write_record(run.folder, changed)
    return replace(run, record=changed, out_of_fold=predictions)


def units_to_divide(
    data: Data, rows: Tensor, folds: int, groups: Mapping[str, str] | None
) -> np.ndarray:
    """Return `units_of`, and refuse *folds* that they cannot fill. Raises: CounError."""
    units = units_of(data, rows, groups)
    if not 2 <= folds <= int(units.max()) + 1:
        raise CounError(
            f"{folds} folds of {int(units.max()) + 1:,} groups of rows; expected between 2 and "
            "the number of groups"
        )
    return units


def units_of(data: Data, rows: Tensor, groups: Mapping[str, str] | None) -> np.ndarray:
    """Number the sets of rows that must share a fold: those of one group, or of equal content.

    Args:
        rows: positions in `data.train`, (n,).
        groups: by id the group of a row; rows without one stand alone.

    Returns: (n,) int, numbers from 0 on.
    """
    part = data.train.take(rows)
    contents = np.unique(row_hashes(part), axis=0, return_inverse=True)[1].reshape(-1)
    names = [
        ("group", groups[name]) if groups and name in groups else ("row", name) for name in part.ids
    ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    # A graph of contents and groups: each row joins its content with its group.
    owners = np.array([numbers[name] for name in names]) + contents.max() + 1
    size = int(owners.max()) + 1
    graph = coo_array((np.ones(len(rows)), (contents, owners)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    units: np.ndarray = np.unique(component[contents], return_inverse=True)[1]
    return units
