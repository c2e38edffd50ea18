"""The field's silent differences as explicit switches, and the presets of four code bases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from coun.attacks import (
    confidence,
    entropy,
    entropy_attack_members,
    loss,
    loss_attack_accuracy,
    svc_efficacy,
)
from coun.data import Split
from coun.errors import CounError, nearest, unknown
from coun.runs import Predictions

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


def attack(kind: Attack, found: Predictions, split: Split) -> float:
    """The MIA column of a protocol, percent; that of "svc" is `measure`'s.

    Where a class was forgotten its test rows are left out, as in `measure`.

    Source: the code bases named in `PROTOCOLS`; SSD's members are all retain rows,
        DeepUnlearn's test rows a seeded subset of the forget set's size.
    """
    read = {"svc-first": confidence, "entropy": lambda x, _: entropy(x), "loss": loss}[kind]
    told = {part: read(out.logits, found.labels[part]) for part, out in found.outputs.items()}
    retain, forget, test = (told[part] for part in ("retain", "forget", "test"))
    if split.forget_class is not None:
        test = test[found.labels["test"] != split.forget_class]
    if kind == "entropy":
        return entropy_attack_members(retain, test, forget)
    if kind == "loss":
        return loss_attack_accuracy(forget, test)
    size = min(len(retain), len(test))
    return svc_efficacy(retain[:size], test[:size], forget)
