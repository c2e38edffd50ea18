"""The rows of a run as it recorded them, and which request forgot each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from coun.data import RowTable
from coun.errors import CounError
from coun.runs.chain import history, possible_folders
from coun.runs.folder import ROWS, expanded, read_record


@dataclass(frozen=True)
class RunRow:
    """One row of a run.

    Attributes:
        number, id, label: as the run recorded them; *label* is the name of the class.
        part: "train" or "test".
        forgotten_by: the request that names the row, in words; empty for a retained row and
            for a test row that no request names.
        nameable: whether a request can name the row by its id, as of `coun.data.lookup.Row`.

    >>> RunRow(number=22, id="22", label="9", part="train").forgotten_by
    ''
    """

    number: int
    id: str
    label: str
    part: str
    forgotten_by: str = ""
    nameable: bool = True


def rows_of_run(folder: str | Path) -> list[RunRow]:
    """List the rows of the run in *folder*, also those that are deleted by now.

    Only the folders of the run and of the runs before it are read, not the data. A row whose
    request is recorded in a folder that no longer exists is named as of "an earlier request".

    Raises: CounError if the folder holds no finished run, or a run of version 0.1.

    >>> import tempfile
    >>> import coun
    >>> data, folder = coun.load("digits", limit=50), Path(tempfile.mkdtemp())
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.by_index(data, [22])
    >>> _ = coun.unlearn(run, split, "finetune", epochs=1, out=folder / "run")
    >>> [(row.id, row.label) for row in rows_of_run(folder / "run") if row.forgotten_by]
    [('22', '9')]
    """
    path = expanded(folder)
    record = read_record(path)
    if not (path / ROWS).exists():
        raise CounError(f"{path} has no {ROWS}; runs of version 0.1 did not record their rows")
    table = RowTable.load(path / ROWS)
    requests = _requests_by_row(path)
    held_out = set((record.split or {}).get("held_out", []))
    rows = []
    for number, name, label, part, role in zip(
        table.numbers.tolist(), table.ids, table.labels.tolist(), table.parts, table.roles,
        strict=True,
    ):  # fmt: skip
        words = ""
        if part == "train" and role in ("forget", "earlier"):
            words = requests.get(number, "an earlier request")
        elif part == "test" and number in held_out:
            words = "left out of measurements"
        nameable = part == "train" or table.one_numbering or "test" in table.named
        rows.append(RunRow(number, name, table.classes[label], str(part), words, nameable))
    return rows


def _requests_by_row(folder: Path) -> dict[int, str]:
    """For each forgotten row the first request of the chain that names it, in words."""
    words: dict[int, str] = {}
    for number, step in enumerate(history(folder), 1):
        if step.request is None or step.folder is None:
            continue
        for candidate in possible_folders(step.folder, folder):
            with contextlib.suppress(CounError):
                record = read_record(candidate)
                if record.weights_sha256 == step.weights_sha256 and record.split is not None:
                    new = set(record.split["forget"]) - set(record.split.get("earlier", []))
                    for row in new:
                        words.setdefault(row, f"step {number}, {step.request}")
    return words
