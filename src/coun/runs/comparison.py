"""Which runs may be compared with each other: those of the same rows and the same request."""

from __future__ import annotations

from collections.abc import Sequence

from coun.data import Data, Split
from coun.data.content import same_rows
from coun.errors import CounError
from coun.methods import catalogue
from coun.runs.run import Run


def check_comparable(run: Run, data: Data, split: Split | None, *, as_retrain: bool) -> None:
    """Refuse a run that says nothing about how well *split* was forgotten.

    Args:
        run: the run to compare with, or to judge beside others.
        data: the data that all models are measured on.
        split: the request that all models are measured on.
        as_retrain: whether the run is to serve as the Retrain. It must then be trained without
            the forgotten rows: a Retrain, or the result of an exact method. Given weights are
            taken for what the caller says they are, because their training is not recorded.

    Raises: CounError if the run is of other rows or another request, or is to serve as the
        Retrain and is not one.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> split = coun.Split.random(data, 0.1)
    >>> retrain = coun.train(data, "mlp", split=split, epochs=1)
    >>> check_comparable(retrain, data, split, as_retrain=True)
    """
    if not same_rows(run.data, data):
        raise CounError(
            f"{run.where} was trained on other data than the model under test; expected the same "
            "rows for all runs"
        )
    method = run.record.method.name
    if as_retrain and run.record.kind == "unlearned" and not _is_exact(method):
        raise CounError(
            f"{run.where} is not a Retrain but the result of {method}; expected a Retrain (coun "
            "train --from-request)"
        )
    if split is None:
        return
    if run.split is None:
        if as_retrain and not _is_bare(run):
            raise CounError(
                f"{run.where} was trained on all rows; expected a Retrain (coun train with the "
                "same forget options, or with --from-request)"
            )
    elif run.split.digest != split.digest:
        raise CounError(
            f"{run.where} forgets {len(run.split.forget)} rows ({run.split.digest[:12]}), the "
            f"model under test {len(split.forget)} ({split.digest[:12]}); expected the same "
            "request for all runs"
        )


def refuse_same_weights(runs: Sequence[Run]) -> None:
    """Refuse a model that is given twice, also as a copy: it would count as two models.

    Raises: CounError if two of the runs have the same weights.
    """
    digests = [run.record.weights_sha256 for run in runs if run.record.weights_sha256]
    if len(set(digests)) < len(digests):
        raise CounError("two of the runs have the same weights; expected each model once")


def _is_bare(run: Run) -> bool:
    """Whether *run* holds given weights, and is not the first version of a registry."""
    return run.record.kind == "given" and run.folder is None


def _is_exact(method: str) -> bool:
    kind = catalogue().get(method)
    return kind is not None and kind.exact
