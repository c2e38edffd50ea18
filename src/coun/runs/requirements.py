"""What a method needs of the model that it starts from, checked before anything is computed."""

from __future__ import annotations

from coun.errors import CounError
from coun.methods import Method
from coun.runs.kept_epochs import kept_before
from coun.runs.run import Run


def check_requirements(method: Method | type[Method], run: Run) -> None:
    """Refuse a method that needs more of *run* than it has.

    Raises: CounError if the training of the Original, out-of-fold predictions or earlier epochs
        are missing.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> check_requirements(coun.methods.find("amnesiac"), run)
    """
    if method.needs_original and run.record.original_seed is None:
        raise CounError(
            f"{method.name} needs to know how the Original was trained, and weights alone do not "
            "say it; start from a run folder that coun train wrote"
        )
    if method.needs_out_of_fold and run.out_of_fold is None:
        raise CounError(
            f"{method.name} needs predictions by models that had not seen the rows to forget, and "
            "this model has none; make them with coun prepare, or choose another method"
        )
    if method.needs_kept_epochs and not kept_before(run):
        raise CounError(
            f"{method.name} returns to an earlier epoch of the Original, and none was kept; train "
            "with coun train --keep-every N, or choose another method, such as finetune"
        )
