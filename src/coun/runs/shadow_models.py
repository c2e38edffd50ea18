"""Shadow models: what other models, trained with and without a row, make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coun.attacks import (
    Roc,
    confidence,
    lira_offline,
    lira_online,
    rmia_ratio,
    rmia_score,
    roc,
    scaled_logit,
)
from coun.data import Data, Split
from coun.engine import predict
from coun.errors import CounError
from coun.runs.options import Options
from coun.runs.run import Run
from coun.runs.training import train
from coun.seeds import Seeds

PARTS = ("train", "test")
FEW = 64  # below so many models LiRA's authors share one variance between all rows


@dataclass(frozen=True, eq=False)
class Part:
    """M shadow models on N rows: which were trained on them, and what they say, float64.

    Attributes:
        member: (M, N) bool; half of the models for every row. Of the test rows nobody saw
            one, and the half marked here is only left out, so that a test row's statistics
            rest on as many models as a training row's.
        phi, confidence: scaled logit and probability of the true class, (M, N).
    """

    member: Tensor
    phi: Tensor
    confidence: Tensor


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models of one data set, by their predictions on all its rows, in file order.

    Attributes:
        train, test: what they say of the rows of each part.
        fingerprint: of the data set; attacks on a model of other data are refused.

    >>> import coun
    >>> made = shadows(coun.load("digits", limit=60), "mlp", 4, epochs=1)
    >>> made.train.phi.shape, made.together().phi.shape[0]
    (torch.Size([4, 60]), 4)
    """

    train: Part
    test: Part
    fingerprint: str

    def together(self) -> Part:
        """All rows: those of the training set, then those of the test set."""
        return Part(
            torch.cat([self.train.member, self.test.member], 1),
            torch.cat([self.train.phi, self.test.phi], 1),
            torch.cat([self.train.confidence, self.test.confidence], 1),
        )


@dataclass(frozen=True, eq=False)
class Membership:
    """What attacks with shadow models tell of the forget rows.

    Attributes:
        against: the other group.
        scores: by attack, of (members, others); members are the forget rows against "test",
            the retain rows against "retain".
        roc: by attack.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, made = coun.train(data, "mlp", epochs=1), shadows(data, "mlp", 4, epochs=1)
    >>> attacked = membership(run, made, coun.Split.random(data, 0.2))
    >>> attacked.against, len(attacked.scores["rmia"][0])
    ('test', 12)
    """

    against: str
    scores: dict[str, tuple[Tensor, Tensor]]
    roc: dict[str, Roc]

    def to_json(self) -> dict[str, Any]:
        return {"against": self.against, **{name: r.to_json() for name, r in self.roc.items()}}


def halves(count: int, rows: int, generator: torch.Generator) -> Tensor:
    """Random membership (count, rows) bool, where every row is in exactly half of the models.

    Raises: CounError unless *count* is even and at least 4.
    """
    if count < 4 or count % 2:
        raise CounError(f"{count} shadow models; expected an even number, at least 4")
    place = torch.rand((count, rows), generator=generator).argsort(0)
    return place < count // 2


def shadows(
    data: Data,
    model: str | Callable[[], nn.Module],
    count: int,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    options: Options | None = None,
    **settings: Any,
) -> Shadows:
    """Train *count* models on random halves of the training rows, and run each over all rows.

    Args:
        data: whose training and test rows are halved.
        model, settings: as for `coun.train`: use those of the model to be attacked.
        count: even, at least 4; LiRA's paper uses 256.
        seed: of the halves; each model's training has a seed of its own.
        out: a folder for the models, one run folder each; finished ones are used again.
        options: as for `coun.train`.

    Returns: what each model answers to every row, and which rows it was trained on.

    Raises: CounError for an odd count, bad settings, or a folder that holds other runs.

    >>> import coun
    >>> made = shadows(coun.load("digits", limit=60), "mlp", 4, epochs=1)
    >>> made.train.member.sum(0).unique()  # each row is in half of the four models
    tensor([2])
    """
    seeds = Seeds(seed).fork("shadows")
    member = halves(count, len(data.train), seeds.torch("train"))
    spared = halves(count, len(data.test), seeds.torch("test"))
    signals: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for k, inside in enumerate(member):
        run = train(
            data,
            model,
            split=Split.by_index(data, data.train.numbers[~inside]),
            seed=seeds.number("model", k),
            out=Path(out) / f"shadow-{k:03d}" if out is not None else None,
            options=options,
            **settings,
        )
        for part, of_part in signals.items():
            of_part.append(torch.stack(_signals(run, part)))
    return Shadows(
        Part(member, *torch.stack(signals["train"], 1)),
        Part(spared, *torch.stack(signals["test"], 1)),
        data.fingerprint,
    )


def membership(
    run: Run,
    shadows: Shadows,
    split: Split | None = None,
    *,
    against: Literal["test", "retain"] = "test",
    fixed_variance: bool | None = None,
    a: float = 0.3,
) -> Membership:
    """Attack *run* with LiRA and RMIA: do its forget rows look like rows it was trained on?

    Args:
        run: the model to attack.
        shadows: as `shadows` returns them, of the same data and model.
        split: by default the run's own.
        against: "test": forget rows (members) against test rows, which no model saw; an area
            of 0.5 is ideal. LiRA online needs models that saw the row, so it is left out.
            "retain": retain rows (members) against forget rows; aim for Retrain's values.
        fixed_variance: of LiRA; by default below 64 shadow models.
        a: of RMIA, whose population is the test rows.

    Returns: the scores of each attack, and their ROC curves.

    Raises: CounError if run and shadows are of other data, or there is no split.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, made = coun.train(data, "mlp", epochs=1), shadows(data, "mlp", 4, epochs=1)
    >>> attacked = membership(run, made, coun.Split.random(data, 0.2))
    >>> sorted(attacked.roc), attacked.roc["rmia"].members
    (['lira_offline', 'rmia'], 12)
    """
    split = split or run.split
    if split is None:
        raise CounError("no forget request: the run has no split; pass split=...")
    if shadows.fingerprint != run.data.fingerprint:
        raise CounError(
            "the shadow models were trained on other data; expected the same fingerprint"
        )
    fixed = len(shadows.train.phi) < FEW if fixed_variance is None else fixed_variance
    phi, sure = (torch.cat(x) for x in zip(*(_signals(run, p) for p in PARTS), strict=True))
    all_rows, count = shadows.together(), len(run.data.train)
    ratio = rmia_ratio(sure, all_rows.confidence, all_rows.member, a=a)
    scores = {
        "lira_offline": lira_offline(phi, all_rows.phi, all_rows.member, fixed_variance=fixed),
        "rmia": rmia_score(ratio, ratio[count:]),
    }
    forget = split.rows(run.data, "forgotten")
    if against == "test":
        members, others = forget, count + split.test_rows(run.data)
    else:
        members, others = split.rows(run.data, "retain"), forget
        part = shadows.train
        scores["lira_online"] = lira_online(
            phi[:count], part.phi, part.member, fixed_variance=fixed
        )
    pairs = {name: (values[members], values[others]) for name, values in scores.items()}
    return Membership(against, pairs, {name: roc(*pair) for name, pair in pairs.items()})


def _signals(run: Run, part: str) -> tuple[Tensor, Tensor]:
    """phi and confidence of a model on all rows of a part, (N,) each."""
    examples = getattr(run.data, part)
    logits = predict(run.classifier, run.data, examples, anywhere=True).logits
    labels = examples.labels.cpu()
    return scaled_logit(logits, labels), confidence(logits, labels)
