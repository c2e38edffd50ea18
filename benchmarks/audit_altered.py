"""Models whose answers are changed after the fact, to fool an audit."""

from __future__ import annotations

import torch
from torch import Tensor

from coun.audit.rank_tests import Groups
from coun.audit.scores import Subject
from coun.models import Outputs
from coun.runs import Predictions

UNIFORM = float(torch.log(torch.tensor(1 / 9)))  # log-odds of one of ten classes


def altered(original: Subject, retrain: Subject) -> dict[str, list[Subject]]:
    """Wrappers around *original* and around *retrain*, by name.

    Their features are their logits, as if a last layer changed nothing. Where relearning a
    wrapper is not defined, the copy is that of *retrain*: the wrapper hides as well as it can.
    """
    answers = {p: retrain.logits(p) for p in ("forget", "retain", "test")}
    own = {p: original.logits(p) for p in answers}
    silent = {**answers, "forget": torch.zeros_like(answers["forget"])}
    labels = retrain.labels("forget")[:10]
    looked_up = answers["forget"].clone()
    looked_up[range(len(labels)), labels] = looked_up[: len(labels)].amax(1) + 5
    mean = {p: (own[p] + answers[p]) / 2 for p in own}
    constant = {p: torch.eye(x.shape[1])[[0]].repeat(len(x), 1) for p, x in own.items()}
    beside = {s: (s.optional or {})["nearby"] for s in (original, retrain)}
    halfway = Groups(*((a + b) / 2 for a, b in zip(*beside.values(), strict=True)))
    blank = Groups(0 * beside[retrain].forget + UNIFORM, beside[retrain].test)
    flat = Groups(*(0 * x for x in beside[original]))
    made = {
        "uniform answers": (retrain, silent, beside[retrain]),
        "uniform answers, near rows too": (retrain, silent, blank),
        "a lookup hides the Original": (
            retrain,
            {**own, "forget": answers["forget"]},
            beside[original],
        ),
        "temperature 4": (original, {p: x / 4 for p, x in own.items()}, beside[original]),
        "classes permuted": (original, {p: x.roll(1, 1) for p, x in own.items()}, beside[original]),
        "half Original, half Retrain": (retrain, mean, halfway),
        "constant answers": (retrain, constant, flat),
        "a lookup of 10 rows": (retrain, {**answers, "forget": looked_up}, beside[retrain]),
    }
    return {name: [_wrapper(name, *parts)] for name, parts in made.items()}


def _wrapper(name: str, inner: Subject, logits: dict[str, Tensor], beside: Groups) -> Subject:
    outputs = {part: Outputs(x, x) for part, x in logits.items()}
    subject = Subject(name, Predictions(outputs, inner.predictions.labels))
    subject.optional = {**(inner.optional or {}), "nearby": beside}
    subject.relearned, subject.canaries = inner.relearned, inner.canaries
    return subject
