"""One table for CoUn's argument: retained views are aligned, forgotten ones are less so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coun.analysis.alignment import jacobian_norms, view_spread
from coun.data import Split
from coun.data.subsets import stratified
from coun.errors import CounError
from coun.runs import Run


def theory(
    models: Mapping[str, Run],
    split: Split,
    *,
    eps: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    views: int = 8,
    steps: int = 20,
    limit: int = 500,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Measure alignment and steepness of each model's features on retain and forget rows.

    All models see the same rows and the same views. `view_spread` and `jacobian_norms` define
    the numbers.

    Args:
        models: runs on the same data, by name.
        split: which rows are retained and forgotten.
        eps: distances for R[eps].
        views: of each row.
        steps: of the power iteration.
        limit: at most this many rows of each role, drawn from *seed*, stratified by class.
        seed: also fixes the views.

    Returns: by model and role: `r_eps` {eps: share 0..1}, `alignment_loss` (mean square
        distance of views), `view_slope` and `jacobian_norm` (each {"mean", "max"} over
        rows) and `rows`, all as plain numbers.

    Raises: CounError if there is no model, or models are on different data.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.1)
    >>> measured = theory({"Original": run}, split, views=2, steps=2)
    >>> measured["Original"]["forget"]["rows"]
    5
    """
    runs = list(models.values())
    if not runs:
        raise CounError("no model to measure; expected at least one")
    data = runs[0].data
    for name, run in models.items():
        if run.data.fingerprint != data.fingerprint:
            raise CounError(f"'{name}' was trained on other data; expected one fingerprint for all")
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in models}
    for role, part in (("retain", "retain"), ("forget", "forgotten")):
        rows = split.rows(data, part)
        if limit < len(rows):
            rows = rows[stratified(data.train.labels[rows], limit, seed)]
        for name, run in models.items():
            classifier = run.classifier
            spread = view_spread(classifier, data, rows, views=views, seed=seed)
            norms = jacobian_norms(classifier, data, rows, steps=steps, seed=seed)
            table[name][role] = {
                "rows": len(rows),
                "r_eps": {f"{e:g}": spread.share(e) for e in eps},
                "alignment_loss": float(spread.mean_square.mean()),
                "view_slope": {k: float(getattr(spread.slope, k)()) for k in ("mean", "max")},
                "jacobian_norm": {k: float(getattr(norms, k)()) for k in ("mean", "max")},
            }
    return table
