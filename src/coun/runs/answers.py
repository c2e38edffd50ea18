"""What a model answers to fixed inputs, so that code that was changed since is noticed.

The digest of the weights says nothing of the code that uses them: with another activation the
same weights fit, and give other answers.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import Tensor, nn

from coun.errors import CounError
from coun.models import Classifier, Outputs, copy_model
from coun.models.zoo import is_built_in
from coun.runs.folder import RECORD
from coun.runs.record import AnswersRecord, RunRecord
from coun.seeds import Seeds

# Activations differ near 0, or far from it. Blank inputs are for code that fails on all others.
_SCALES = ([1.0, 10.0, 100.0], [0.0, 0.0])
# Of the largest logit of a row. Another machine gives a millionth, bfloat16 up to 0.04 (a CNN with
# tanh); of other activations, 0.1 and more is usual. A leaky ReLU in place of a ReLU gives less.
_TOLERANCE = 0.1


def with_answers(record: RunRecord, model: nn.Module, shape: tuple[int, ...]) -> RunRecord:
    """Return the *record* of a run with the answers of its *model* to inputs of *shape*.

    There are none where the code of the model is coun's own, or its answers are random.
    """
    if is_built_in(record.model.name):
        return record
    vocabulary = record.data.vocabulary
    for scales in _SCALES:
        asked = AnswersRecord(shape=list(shape), vocabulary=vocabulary, scales=scales, logits=[])
        with contextlib.suppress(CounError):
            logits, again = (_logits(asked, record, model, seed) for seed in (0, 1))
            if not _agree(again, logits):
                return record
            rows = [[float(f"{value:.6g}") for value in row] for row in logits.tolist()]
            answers = asked.model_copy(update={"logits": rows})
            return record.model_copy(update={"answers": answers})
    return record


def check_answers(folder: Path, record: RunRecord, model: nn.Module) -> None:
    """Refuse a model that answers otherwise than when the run *record* was written."""
    if record.answers is None:
        return
    expected = torch.tensor(record.answers.logits)
    if not _agree(_logits(record.answers, record, model, seed=0), expected):
        name = record.model.name or type(model).__name__
        raise CounError(
            f"{folder / RECORD}: the weights fit the model '{name}', but it gives other answers "
            "than when the run was written, so its code was changed; restore that code, or train "
            "again"
        )


def _logits(asked: AnswersRecord, record: RunRecord, model: nn.Module, seed: int) -> Tensor:
    """The logits of *model* for the inputs that *asked* describes.

    A copy of the model computes them, because a forward may change its buffers.
    """
    network, inputs = copy_model(model).cpu().eval(), _inputs(asked)
    with torch.no_grad(), Seeds(seed).as_global("answers"):
        outputs: Outputs = Classifier(network, record.model.head, example=inputs)(inputs)
    return outputs.logits.float()


def _inputs(asked: AnswersRecord) -> Tensor:
    """Inputs (B, ...) made by arithmetic, so that they are the same with every version of torch."""
    scales = torch.tensor(asked.scales).reshape(-1, *(1 for _ in asked.shape))
    shape = (len(scales), *asked.shape)
    mixed = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape) * 2654435761 % 2**32
    if asked.vocabulary is not None:
        return mixed % asked.vocabulary * (scales > 0)
    return (mixed / 2**31 - 1) * 3**0.5 * scales  # of mean 0 and variance 1 before it is scaled


def _agree(actual: Tensor, expected: Tensor) -> bool:
    """Whether logits (B, K) are the same but for the arithmetic of another machine; never NaN."""
    return actual.shape == expected.shape and bool(
        ((actual - expected).abs() <= _TOLERANCE * expected.abs().amax(1, keepdim=True)).all()
    )
