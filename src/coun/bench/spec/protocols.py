"""The silent differences between code bases as explicit switches, and four presets of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from coun.errors import CounError, nearest, unknown

Attack = Literal["svc", "svc-first", "entropy", "loss"]

ATTACKS: dict[str, str] = {
    "svc": "percent of forget rows that an SVC on the confidence classifies as never trained on; "
    "its members are a stratified subset of the retain rows, as many as there are test rows",
    "svc-first": "the same SVC, but its members are the first retain rows in file order, as many "
    "as there are test rows",
    "entropy": "percent of forget rows that a balanced logistic regression on the prediction "
    "entropy classifies as members (trained on retain against test rows); the direction is the "
    "opposite of the other attacks: lower means forgotten",
    "loss": "accuracy, percent, of a logistic regression on the loss that separates forget rows "
    "from as many test rows, over 10 splits; 50 is chance level",
}


@dataclass(frozen=True)
class Protocol:
    """How one code base splits, normalises, attacks and sets its methods.

    Args:
        source: the code or paper that the protocol follows.
        validation: share of the training rows, the same for every class, that is set aside
            before anything else.
        normalise: "coun" (the paper's constants for all data) or "data" (mean and standard
            deviation of the training pixels).
        draw: how random forget rows are drawn, see `coun.data.requests.Random`.
        augment: False trains without random views.
        mia: the attack behind the column MIA; `ATTACKS` says what each attack measures.
        methods: default settings of the code base by method (redrawn labels, reduction of the
            loss); settings in a config replace them.
        notes: other differences, for the report.
    """

    name: str
    source: str
    validation: float = 0.0
    normalise: Literal["coun", "data"] = "coun"
    draw: Literal["torch", "salun"] = "torch"
    augment: bool = True
    mia: Attack = "svc"
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: str = ""

    def with_switches(self, switches: Mapping[str, Any]) -> Protocol:
        """Change single switches of the preset.

        Raises: CounError for an unknown switch or value.
        """
        names = [item.name for item in fields(self) if item.name not in ("name", "source", "notes")]
        for key in switches:
            if key not in names:
                raise CounError(
                    f"unknown switch '{key}' of protocol {self.name}{nearest(key, names)}; "
                    f"known: {', '.join(names)}"
                )
        changed = replace(self, **switches)
        if not 0 <= changed.validation < 1:
            raise CounError(
                f"switch validation is {changed.validation}; expected a share, at least 0 and "
                "below 1"
            )
        for key, allowed in _CHOICES.items():
            if getattr(changed, key) not in allowed:
                raise unknown(f"value of switch {key}:", str(getattr(changed, key)), allowed)
        return changed

    def to_json(self) -> dict[str, Any]:
        """Return every switch, for the record."""
        return asdict(self)


_CHOICES = {"normalise": ("coun", "data"), "draw": ("torch", "salun"), "mia": tuple(ATTACKS)}

PROTOCOLS: dict[str, Protocol] = {
    "coun": Protocol(
        "coun",
        "CoUn, Khalil et al., NeurIPS 2025, section 4.1",
        notes="All training rows are used, without a validation split. The paper reports the best "
        "epoch by gap. Here the number of epochs is fixed, and results selected by the reported "
        "gap have a column of their own (oracle).",
    ),
    "salun": Protocol(
        "salun",
        "SalUn (Fan et al., ICLR 2024) and Sparse (Jia et al., NeurIPS 2023), their code",
        validation=0.1,
        normalise="data",
        draw="salun",
        mia="svc-first",
        methods={"random_label": {"labels": "per_batch"}, "salun": {"labels": "per_batch"}},
        notes="Models are trained on 45,000 of CIFAR's 50,000 rows. Random labels are drawn anew "
        "for each batch and may be the true ones.",
    ),
    "ssd": Protocol(
        "ssd",
        "SSD (Foster et al., AAAI 2024) and Bad Teacher (Chundawat et al., AAAI 2023), their code",
        mia="entropy",
        methods={"random_label": {"labels": "fixed"}, "bad_teacher": {"reduction": "mean"}},
        notes="The column MIA has the opposite direction. Random labels are wrong labels, drawn "
        "once. The authors' code averages the accuracies of batches; here accuracies are computed "
        "over all rows.",
    ),
    "deepunlearn": Protocol(
        "deepunlearn",
        "DeepUnlearn (Cadet et al., 2024), its code",
        validation=0.05,
        augment=False,
        mia="loss",
        methods={"bad_teacher": {"reduction": "mean"}},
        notes="Images are not augmented. The authors' scorers average the KL divergence over "
        "elements instead of batches.",
    ),
}
