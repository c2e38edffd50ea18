"""Which columns of a table hold the images, the labels and the ids."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import numpy as np
import pyarrow as pa

from coun.data.tabular.naming import may_name_rows
from coun.data.tokens import TOKENS
from coun.errors import CounError, unknown

PREFERRED = ("label", "labels", "fine_label")  # where several columns may be the label
FEW_CLASSES = 10
ROWS_PER_CLASS = 10

Features = dict[str, dict[str, Any]]


def features_of(schema: pa.Schema) -> Features:
    """Describe the columns as Hugging Face does, by its metadata or else by their types.

    Returns: for example `{"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names":
        [...]}}`; any other column is a `Value` with its Arrow type as `dtype`.
    """
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        stored = {}
    features: Features = {}
    for column in schema:
        feature = stored.get(column.name) if isinstance(stored, dict) else None
        features[column.name] = feature if isinstance(feature, dict) else _by_type(column.type)
    return features


def _by_type(kind: pa.DataType) -> dict[str, Any]:
    inner = kind
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inner = kind.field("bytes").type
    if pa.types.is_binary(inner) or pa.types.is_large_binary(inner):
        return {"_type": "Image"}
    return {"_type": "Value", "dtype": str(kind)}


def holds_texts(features: Features) -> bool:
    """Whether rows are texts: token ids, and no images."""
    images = any(feature.get("_type") == "Image" for feature in features.values())
    return TOKENS in features and not images


def image_column(features: Features, chosen: str | None = None) -> str:
    """Return the *chosen* column of images, or the only one.

    Raises: CounError if there are none or several to choose from.
    """
    images = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    if chosen is None and len(images) == 1:
        return images[0]
    if chosen is None:
        raise CounError(
            f"{len(images) or 'no'} image columns among {_listing(features)}; "
            "expected one (choose with --image-column)"
        )
    if chosen not in features:
        raise unknown("image column", chosen, features)
    if chosen not in images:
        raise CounError(
            f"column '{chosen}' does not hold images ({_kind(features[chosen])}); "
            f"image columns: {', '.join(images) or 'none'}"
        )
    return chosen


def label_column(features: Features, chosen: str | None = None) -> str:
    """Return the *chosen* column of labels, or the only one, or the one with the usual name.

    A `ClassLabel` comes before plain integers; among several, label, labels and fine_label
    come before others. Text serves as labels only if it is chosen.

    Raises: CounError if there are none or several to choose from.
    """
    classes = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    integers = [name for name in features if _is_integer(features[name])]
    integers += [name for name in features if name in PREFERRED and _is_float(features[name])]
    texts = [name for name in features if _is_text(features[name])]
    if chosen is None:
        named = [name for name in PREFERRED if name in texts]
        if named and integers and not classes:
            raise CounError(
                f"column '{named[0]}' holds text and {', '.join(integers)} integers; "
                "choose one with --label-column"
            )
        candidates = classes or integers or named
        usual = [name for name in candidates if name in PREFERRED]
        if len(usual or candidates) != 1:
            raise CounError(
                f"{len(usual or candidates) or 'no'} label columns among {_listing(features)}; "
                "expected one of class numbers (choose with --label-column)"
            )
        return (usual or candidates)[0]
    if chosen not in features:
        raise unknown("label column", chosen, features)
    usable = classes + integers + texts
    usable += [n for n in features if _is_float(features[n]) and n not in usable]
    if chosen not in usable:
        raise CounError(
            f"column '{chosen}' does not hold labels ({_kind(features[chosen])}); "
            f"label columns: {', '.join(usable) or 'none'}"
        )
    return chosen


def other_labels(features: Features, label: str) -> list[str]:
    """Further columns with class names, which might have been meant instead of *label*."""
    return [
        name
        for name, feature in features.items()
        if name != label and feature.get("_type") == "ClassLabel"
    ]


def check_guess(column: str, feature: dict[str, Any], labels: np.ndarray) -> None:
    """Refuse integers as labels that nobody named so if they may as well be ids or amounts.

    Args:
        column: the column that was found; usual names and `ClassLabel` are trusted.
        feature: its description, see `features_of`.
        labels: its values in the training part, (N,).
    """
    if column in PREFERRED or feature.get("_type") == "ClassLabel" or not len(labels):
        return
    values = np.unique(labels)
    numbered = values[0] == 0 and values[-1] == len(values) - 1
    if not numbered or len(values) > max(FEW_CLASSES, len(labels) // ROWS_PER_CLASS):
        raise CounError(
            f"column {column} has {len(values):,} different values in {len(labels):,} rows, "
            f"{values[0]} to {values[-1]}; if it is the label, give --label-column "
            f"{shlex.quote(column)}"
        )


def id_candidates(features: Features, chosen: tuple[str, ...]) -> list[str]:
    """Columns that by name or type may hold ids of the rows, apart from those *chosen*.

    Texts need such a name, because they may be long.
    """
    return [
        name
        for name, feature in features.items()
        if name not in chosen
        and (
            _is_integer(feature)
            or _is_float(feature)
            or _kind(feature).startswith("decimal")
            or (_is_text(feature) and may_name_rows(name))
        )
    ]


def class_names(feature: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of a `ClassLabel`; None for another column."""
    names = feature.get("names")
    return tuple(str(name) for name in names) if isinstance(names, list) and names else None


def _is_integer(feature: dict[str, Any]) -> bool:
    return re.fullmatch(r"u?int\d+", _kind(feature)) is not None


def _is_float(feature: dict[str, Any]) -> bool:
    return _kind(feature) in ("float", "double", "float32", "float64", "halffloat", "float16")


def _is_text(feature: dict[str, Any]) -> bool:
    kind = _kind(feature)
    return kind in ("string", "large_string") or kind.startswith("dictionary<values=string")


def _kind(feature: dict[str, Any]) -> str:
    return str(feature.get("dtype", feature.get("_type", "nested")))


def _listing(features: Features) -> str:
    return ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
