"""What `run.json` says of a run: enough to make it again, and to tell it from any other.

The record of a finished run of version 0.1 is read, and its keys are renamed on reading. A
checkpoint of version 0.1 is refused, because its keys are those of an older training loop. A
record of any other version is refused with one line that says what to do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from coun.engine import Cost
from coun.errors import CounError
from coun.files import unsealed

VERSION: Literal[2] = 2
Kind = Literal["original", "retrain", "unlearned", "given"]


class Record(BaseModel):
    """A part of a record: typed and frozen; unknown keys are refused.

    Attributes are the way to read it. `record["key"]` gives the same as plain JSON values, as
    scripts of version 0.1 expect.

    >>> MethodRecord(name="coun", settings={"epochs": 3})["settings"]
    {'epochs': 3}
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def to_json(self) -> dict[str, Any]:
        """Return the content as plain JSON values."""
        return self.model_dump(mode="json")

    def __getitem__(self, key: str) -> Any:
        return self.to_json()[key]

    def __contains__(self, key: str) -> bool:
        return bool(getattr(self, key, None))

    def get(self, key: str, default: Any = None) -> Any:
        return self.to_json().get(key, default)


class ViewsRecord(Record):
    """What was done with images before the model saw them.

    Attributes:
        letters, padding, mean, std, per_batch, size, channels: of `coun.Views`.
        origin: where mean and deviation are from, in words; empty where the user gave them.
        code: the `package.module:factory` that made the views, in place of all these.
    """

    letters: str = ""
    padding: int = 0
    mean: list[float] = Field(default_factory=list)
    std: list[float] = Field(default_factory=list)
    per_batch: bool = False
    size: list[int] | None = None
    channels: int | None = None
    origin: str = ""
    code: str = ""


class DataRecord(Record):
    """The data of a run, so that it can be loaded and checked again.

    Attributes:
        source, limit, origin: the arguments of `coun.load`; source is None for Python data.
        fingerprint: the SHA-256 of all rows.
        train, test: numbers of rows.
        vocabulary: for texts, the number of token ids.
        views: the transform, as it prints.
        preprocessing: the same as numbers; None for a transform made in Python, and in records
            of earlier versions.
        rows_sha256: the SHA-256 of `rows.parquet` in the run folder; empty without a folder.
    """

    source: str | None
    limit: int | None
    origin: dict[str, Any]
    fingerprint: str
    classes: list[str]
    shape: list[int]
    train: int
    test: int
    views: str
    preprocessing: ViewsRecord | None = None
    vocabulary: int | None = None
    rows_sha256: str = ""


class ModelRecord(Record):
    """The network.

    Attributes:
        name: None for a module passed in Python.
        head: the name of the last linear layer.
        parameters: their number.
        config: of a model of Hugging Face, so that it is built without the folder it is from.
    """

    name: str | None
    head: str | None
    parameters: int
    config: dict[str, Any] | None = None


class MethodRecord(Record):
    """The method by name, with every setting."""

    name: str
    settings: dict[str, Any]


class ComputeRecord(Record):
    """The device, the precision, whether the step was compiled, how many processes ran, and how
    images lay in memory."""

    device: str
    precision: str
    compile: bool = False
    ranks: int = 1
    memory_format: str = "channels_last"


class ParentRecord(Record):
    """The model that a run started from; folder and method are None for bare weights.

    *out_of_fold_sha256* is the digest of its out-of-fold predictions, and *kept_epochs_sha256* of
    the weights of its earlier epochs, if the method used them.
    """

    folder: str | None
    method: str | None
    weights_sha256: str
    out_of_fold_sha256: str | None = None
    kept_epochs_sha256: str | None = None


class StepRecord(Record):
    """One step in the history of a model: training, or a request that was fulfilled.

    Attributes:
        kind, method: of the run that made the step.
        weights_sha256: the digest of the model that the step gave.
        request: the forget request in words; None where nothing was forgotten.
        new_rows, forgotten_rows: rows that this request names first, and all rows that must be
            forgotten by then.
        split_sha256: the digest of all these rows; None where nothing was forgotten.
        seconds, flops: the cost of the step.
        finished: when, ISO 8601 in UTC.
        folder: of the run; None for a model in memory.
    """

    kind: Kind
    method: str
    weights_sha256: str
    request: str | None
    new_rows: int
    forgotten_rows: int
    split_sha256: str | None
    seconds: float
    flops: float
    finished: str
    folder: str | None


class TrialRecord(Record):
    """One trial: optimizer, learning rate, and the loss after it; None if it diverged."""

    optimizer: str
    lr: float
    loss: float | None


class ProbeRecord(Record):
    """How learning rate and optimizer were chosen where the start's own training is unknown.

    Attributes:
        family: of the network, which proposes the optimizer.
        role: of the rows that the trials used, and *rows* their number.
        steps: optimizer steps of each trial.
        loss: of the start on held-back rows, in nats.
        trials: in their order; the last one was chosen.
        accepted: whether its loss is within bounds; if not, no smaller rate was tried.
    """

    family: str
    role: str
    rows: int
    steps: int
    loss: float
    trials: list[TrialRecord]
    accepted: bool


class OutOfFoldRecord(Record):
    """The out-of-fold predictions that a run carries.

    Attributes:
        sha256: the digest of the predictions (`OutOfFold.digest`).
        repeats: how many predictions there are for each row.
        folds, epochs, seed: how they were made; None where the user gave them.
        groups_sha256: the digest of which rows, for their group or their content, were always in
            the same fold; None where the user gave the predictions.
        cost: what they cost, before any request; 0 where the user gave them.
    """

    sha256: str
    repeats: int
    folds: int | None = None
    epochs: int | None = None
    seed: int | None = None
    groups_sha256: str | None = None
    cost: Cost = Field(default_factory=Cost)

    def differences(self, other: OutOfFoldRecord) -> list[str]:
        """Name the parts in which *other*, a preparation not yet made, is another one."""
        names = {field: field for field in ("folds", "repeats", "epochs", "seed")}
        names["groups_sha256"] = "rows or groups"
        if other.folds is None:  # the user's own predictions, which are known before
            names["sha256"] = "predictions"
        return [n for field, n in names.items() if getattr(self, field) != getattr(other, field)]


class AnswersRecord(Record):
    """What the model answered to fixed inputs (`coun.runs.answers`) when the run was written.

    Attributes:
        shape: of one input.
        vocabulary: for texts, the number of token ids.
        scales: the factor of each input.
        logits: for each input, one number per class.
    """

    shape: list[int]
    vocabulary: int | None
    scales: list[float]
    logits: list[list[float]]


class SplitFields(BaseModel):
    """The fields of a recorded forget request that are read without its data."""

    request: list[dict[str, Any]] = Field(default_factory=list)
    scenario: dict[str, Any] = Field(default_factory=dict)
    forget_count: int = 0
    new_count: int = 0
    sha256: str | None = None
    forget: list[int] = Field(default_factory=list)
    earlier: list[int] = Field(default_factory=list)
    held_out: list[int] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: dict[str, Any]) -> dict[str, Any]:
        for key in ("forget", "earlier", "sha256") if "request" in values else ():  # not in 0.1
            if key not in values:
                raise ValueError(f"'{key}' is missing")
        return values


class RunRecord(Record):
    """The content of `run.json`.

    Attributes:
        kind: "original" (trained on all rows), "retrain" (on the retained rows from scratch),
            "unlearned", or "given" (weights that coun did not train; never written).
        status: "running" until the run is complete.
        split: the forget request as `Split.to_json` gives it; None for an Original.
        original, original_seed: settings and seed of the Original's training, for methods
            that follow it; the seed is None for bare weights.
        parent: the model that the run started from; None where it started afresh.
        ancestors: the steps before this run, oldest first. They are kept here so that the
            history survives when the folders of earlier runs are deleted.
        identity: a hash of all that the result depends on.
        compute, environment: where it ran, and the versions of what it ran with; results are
            equal bit by bit only where these are.
        stages, history: the names of the stages, and one row per epoch with its mean loss.
        cost: what the run cost; for an unlearned run without *preparation_cost*, which was
            spent before the request was known.
        retrain_share: the cost that was expected before the run, as a share of a Retrain;
            None where it is unknown.
        retain_access: the share of the retain rows that the method could read; None for all.
        probe: the trials that chose the learning rate, where there were any.
        chosen_because: why the method was chosen, where the user left the choice to "auto".
        out_of_fold: the predictions in the run's folder by models that had not seen the rows.
        kept_epochs: digests of the weights that were kept of earlier epochs, by epoch.
        profile: seconds by part of the training loop, where they were measured.
        weights_sha256: the digest of the weights; empty while the run is not complete.
        answers: of a network whose code is not coun's, to notice when that code is changed.

    >>> import coun
    >>> record = coun.train(coun.load("digits", limit=50), "mlp", epochs=1, seed=3).record
    >>> record.kind, record.model.name, record.seed, record.method.settings["epochs"]
    ('original', 'mlp', 3, 1)
    """

    version: Literal[2] = VERSION
    kind: Kind
    status: Literal["running", "complete"] = "running"
    data: DataRecord
    model: ModelRecord
    split: dict[str, Any] | None
    method: MethodRecord
    original: dict[str, Any]
    original_seed: int | None
    seed: int
    compute: ComputeRecord
    parent: ParentRecord | None
    ancestors: list[StepRecord] = Field(default_factory=list)
    identity: str = ""
    environment: dict[str, str | int] = Field(default_factory=dict)
    stages: list[str] = Field(default_factory=list)
    history: list[dict[str, Any]] = Field(default_factory=list)
    cost: Cost = Field(default_factory=Cost)
    preparation_cost: Cost | None = None
    retrain_share: float | None = None
    retain_access: float | None = None
    chosen_because: str = ""
    probe: ProbeRecord | None = None
    out_of_fold: OutOfFoldRecord | None = None
    kept_epochs: dict[int, str] = Field(default_factory=dict)
    profile: dict[str, float] = Field(default_factory=dict)
    weights_sha256: str = ""
    answers: AnswersRecord | None = None
    finished: str = ""

    _verified: bool = PrivateAttr(default=True)

    @field_validator("split")
    @classmethod
    def _check_split(cls, split: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            SplitFields.model_validate(split or {})
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return split

    @property
    def verified(self) -> bool:
        """Whether the file that this was read from has a checksum, and agrees with it."""
        return self._verified

    def identified(self) -> Self:
        """Return the same record with its identity filled in."""
        parts: dict[str, Any] = {
            "model": self.model.model_dump(mode="json", exclude_defaults=True),
            "method": self.method.to_json(),
            "seed": self.seed,
            "compute": self.compute.model_dump(exclude_defaults=True),
            "original": self.original,
            "data": {"fingerprint": self.data.fingerprint, "views": self.data.views},
            "split": self.split and self.split["sha256"],
            "parent": self.parent and self.parent.weights_sha256,
        }
        if self.data.preprocessing and self.data.preprocessing.code:
            parts["views_code"] = self.data.preprocessing.code
        if self.split and self.split.get("earlier"):  # decides which rows are new to the method
            parts["earlier"] = self.split["earlier"]
        if self.split and self.split.get("held_out"):  # measurements leave these rows out
            parts["held_out"] = self.split["held_out"]
        if self.retain_access is not None:
            parts["retain_access"] = self.retain_access
        if self.parent and self.parent.out_of_fold_sha256:
            parts["out_of_fold"] = self.parent.out_of_fold_sha256
        if self.parent and self.parent.kept_epochs_sha256:
            parts["kept_epochs"] = self.parent.kept_epochs_sha256
        text = json.dumps(parts, sort_keys=True)
        return self.model_copy(update={"identity": hashlib.sha256(text.encode()).hexdigest()})

    def differences(self, other: RunRecord) -> list[str]:
        """Name the parts in which *other* is another run."""
        names = ("data", "model", "split", "method", "seed", "compute", "parent", "retain_access")
        here, there = (json.loads(json.dumps(r.to_json())) for r in (self, other))
        for content in (here, there):
            del content["data"]["rows_sha256"]  # known only when the run is complete
        return [name for name in names if here[name] != there[name]]


def parse_record(content: Any, path: Path) -> RunRecord:
    """Check the *content* of the run record at *path*, of this version or of version 0.1.

    Raises: CounError if it is not such a record, was changed after it was written, or is the
        checkpoint of version 0.1.
    """
    content, verified = unsealed(content, path, "restore the file from a copy, or run again")
    if isinstance(content, dict) and content.get("format") == 1:
        if content.get("status") != "complete":
            raise CounError(
                f"{path.parent} holds a run that coun 0.1 did not finish; its checkpoint cannot "
                "be continued, delete the folder and repeat the command"
            )
        content = _from_version_0_1(content)
    version = content.get("version") if isinstance(content, dict) else None
    if version != VERSION:
        newer = f" but of version {version}; use the coun that wrote it" * (version is not None)
        raise CounError(f"{path} is not a run record of version {VERSION}{newer}")
    try:
        record = RunRecord.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        fault = " ".join(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".split())
        raise CounError(
            f"{path} is damaged: {fault[:300]}; restore the file, or run again"
        ) from error
    record._verified = verified
    return record


def _from_version_0_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the keys of a record that version 0.1 wrote."""
    record = {key: value for key, value in content.items() if key != "format"}
    costs = {"cost": "cost", "preparation_cost": "prior_cost"}
    for name, old_name in costs.items():
        if old_name in record:
            cost = dict(record.pop(old_name))
            cost["steps"] = cost.pop("updates")
            record[name] = cost
    return {**record, "version": VERSION}
