"""The field's silent differences as explicit switches, and the presets of four code bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score
from sklearn.svm import SVC
from torch import Tensor

from coun.errors import CounError, nearest, unknown

Attack = Literal["svc", "svc-first", "entropy", "loss"]

MEANING = {
    "svc": "percent of forget rows an SVC on confidence takes for never trained on; members are a "
    "stratified subset of the retain rows, as many as test rows",
    "svc-first": "the same SVC; members are the first retain rows in file order, as many as test "
    "rows",
    "entropy": "percent of forget rows a balanced logistic regression on prediction entropy takes "
    "for members (retain against test rows): lower means forgotten, the other direction",
    "loss": "accuracy, percent, of a logistic regression on the loss that tells forget from as "
    "many test rows, over 10 splits; 50 is a coin",
}


@dataclass(frozen=True)
class Protocol:
    """How one code base splits, normalises, attacks and sets its methods.

    Args:
        source: whose code or paper it follows.
        validation: share of the training rows, by class, that is set aside before anything.
        normalise: "coun" (the paper's constants for all data) or "data" (mean and std of the
            training pixels).
        draw: of random forget rows: "torch" (a seeded permutation) or "numpy" (SalUn's
            RandomState(seed - 1).choice without replacement).
        augment: False trains without random views.
        mia: the attack behind the MIA column; `MEANING` says what each measures.
        methods: settings by method that the code base has by default (label redraw, reduction
            of the loss); a method's own settings override them.
        notes: what else differs there, for the report.
    """

    name: str
    source: str
    validation: float = 0.0
    normalise: Literal["coun", "data"] = "coun"
    draw: Literal["torch", "numpy"] = "torch"
    augment: bool = True
    mia: Attack = "svc"
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: str = ""

    def with_switches(self, switches: Mapping[str, Any]) -> Protocol:
        """The preset with single switches thrown. Raises: CounError for one it has not."""
        known = [one.name for one in fields(self) if one.name not in ("name", "source", "notes")]
        for key in switches:
            if key not in known:
                raise CounError(
                    f"unknown switch '{key}' of protocol {self.name}{nearest(key, known)}; "
                    f"known: {', '.join(known)}"
                )
        changed = replace(self, **switches)
        if not 0 <= changed.validation < 1:
            raise CounError(f"switch validation is {changed.validation}; expected 0 <= x < 1")
        for key, allowed in _CHOICES.items():
            if getattr(changed, key) not in allowed:
                raise unknown(f"value of switch {key}:", str(getattr(changed, key)), allowed)
        return changed

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_CHOICES = {"normalise": ("coun", "data"), "draw": ("torch", "numpy"), "mia": tuple(MEANING)}

PROTOCOLS: dict[str, Protocol] = {
    "coun": Protocol(
        "coun",
        "CoUn, Khalil et al., NeurIPS 2025, section 4.1",
        notes="All training rows, no validation split. The paper reports the best epoch by gap; "
        "here the budget is fixed, and what is selected with the answer in view is a column of "
        "its own.",
    ),
    "salun": Protocol(
        "salun",
        "SalUn (Fan et al., ICLR 2024) and Sparse (Jia et al., NeurIPS 2023), their code",
        validation=0.1,
        normalise="data",
        draw="numpy",
        mia="svc-first",
        methods={"random_label": {"labels": "per_batch"}, "salun": {"labels": "per_batch"}},
        notes="45,000 of CIFAR's 50,000 rows are trained on. Labels of random-label steps are "
        "drawn anew per batch and may be the true ones.",
    ),
    "ssd": Protocol(
        "ssd",
        "SSD (Foster et al., AAAI 2024) and Bad Teacher (Chundawat et al., AAAI 2023), their code",
        mia="entropy",
        methods={"random_label": {"labels": "fixed"}, "bad_teacher": {"reduction": "mean"}},
        notes="Its MIA column has the other direction. Random labels are wrong ones, drawn once. "
        "Its code averages accuracies of batches; here counts are totals.",
    ),
    "deepunlearn": Protocol(
        "deepunlearn",
        "DeepUnlearn (Cadet et al., 2024), its code",
        validation=0.05,
        augment=False,
        mia="loss",
        methods={"bad_teacher": {"reduction": "mean"}},
        notes="Loaders without augmentation. Its scorers average KL over elements, not batches.",
    ),
}


def attack(kind: Attack, logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> float:
    """The MIA column of a protocol, in percent, from outputs on retain, forget and test rows.

    Source: the code bases named in `PROTOCOLS`; SSD's members are all retain rows,
        DeepUnlearn's test rows a seeded subset of the forget set's size.
    """
    if kind in ("svc", "svc-first"):
        sure = {part: _confidence(logits[part], labels[part]).numpy() for part in logits}
        size = min(len(sure["retain"]), len(sure["test"]))
        known = np.concatenate([sure["retain"][:size], sure["test"][:size]])[:, None]
        svc = SVC(C=3, gamma="auto", kernel="rbf").fit(known, np.repeat([1, 0], size))
        return 100.0 * float(np.mean(svc.predict(sure["forget"][:, None]) == 0))
    if kind == "entropy":
        uncertain = {part: _entropy(logits[part]) for part in logits}
        known = np.concatenate([uncertain["retain"], uncertain["test"]])[:, None]
        member = np.repeat([1, 0], [len(uncertain["retain"]), len(uncertain["test"])])
        model = LogisticRegression(class_weight="balanced", solver="lbfgs").fit(known, member)
        return 100.0 * float(np.mean(model.predict(uncertain["forget"][:, None]) == 1))
    loss = {part: -_confidence(logits[part], labels[part]).log().numpy() for part in logits}
    size = min(len(loss["forget"]), len(loss["test"]))
    rng = np.random.default_rng(0)
    both = [rng.permutation(loss[part])[:size] for part in ("forget", "test")]
    values = np.clip(np.concatenate(both), 0, 1e3)[:, None]
    splits = StratifiedShuffleSplit(n_splits=10, test_size=0.1, random_state=0)
    scores = cross_val_score(
        LogisticRegression(), values, np.repeat([1, 0], size), cv=splits, scoring="accuracy"
    )
    return 100.0 * float(scores.mean())


def _confidence(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.softmax(logits.double(), 1).gather(1, labels[:, None])[:, 0]


def _entropy(logits: Tensor) -> np.ndarray:
    p = torch.softmax(logits.double(), 1)
    return np.asarray(torch.special.entr(p).sum(1).numpy())
