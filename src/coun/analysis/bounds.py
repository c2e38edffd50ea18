"""One table for CoUn's argument: are retained views aligned, and forgotten ones no more so?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coun.analysis.alignment import jacobian_norms, view_spread
from coun.data import Split
from coun.data.examples import stratified
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
    """Alignment and steepness of each model's features on retain and forget rows.

    All models see the same rows, at most *limit* a role (seeded, stratified), and the same views.

    Returns: by model, by role: `r_eps` {eps: share 0..1}, `alignment_loss` (mean square
        distance of views), `view_slope` and `jacobian_norm` (each {"mean", "max"} over
        samples), `rows`. JSON-able. See `view_spread` and `jacobian_norms` for definitions.

    Raises: CounError for no model, or models of other data.
    """
    runs = list(models.values())
    if not runs:
        raise CounError("no model to measure; expected at least one")
    data = runs[0].data
    for name, run in models.items():
        if run.data.fingerprint != data.fingerprint:
            raise CounError(f"'{name}' is of other data; expected the same fingerprint for all")
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in models}
    for role in ("retain", "forget"):
        rows = split.rows(data, role)
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
