"""Membership attacks with shadow models, as scores of an audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from coun.audit.rank_tests import Groups
from coun.data import Data, Split
from coun.errors import CounError
from coun.runs import Membership, Run, membership, shadows
from coun.runs.record import RunRecord


def recipe_of_shadows(runs: Sequence[Run]) -> RunRecord:
    """The record of the first run of which it is known how its Original was trained.

    Raises: CounError if there is none, or its model cannot be built by name.
    """
    record = next((run.record for run in runs if run.record.original), None)
    if record is None:
        raise CounError(
            "shadow models are trained as the Original was, and no model of this audit has a "
            "record of that; leave out shadows"
        )
    if record.model.name is None:
        raise CounError("shadow models need a model that can be built by name; leave out shadows")
    return record


def shadow_attacks(
    models: Mapping[str, Run],
    data: Data,
    split: Split,
    count: int,
    cache: str | Path | None,
    recipe: RunRecord,
) -> dict[str, Membership]:
    """LiRA offline and RMIA of forget rows against test rows, with *count* shadow models.

    They are trained as *recipe* records it of the Original, and kept under *cache* if it is given.
    """
    name = recipe.model.name
    assert name is not None
    place = Path(cache) / "shadows" if cache is not None else None
    made = shadows(data, name, count, out=place, **recipe.original)
    return {key: membership(run, made, split) for key, run in models.items()}


def attack_scores(attacks: Membership) -> dict[str, Groups]:
    """The attacks' scores as signed scores of an audit: higher means remembered."""
    names = {"lira_offline": "lira", "rmia": "rmia"}
    return {
        short: Groups(*(np.asarray(part, dtype=np.float64) for part in attacks.scores[name]))
        for name, short in names.items()
    }
