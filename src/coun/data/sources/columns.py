"""Which columns of a table hold the images and the labels."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from coun.errors import CounError, unknown

PREFERRED = ("label", "labels", "fine_label")  # where several columns could be the label

Features = dict[str, dict[str, Any]]


def features_of(schema: pa.Schema) -> Features:
    """Columns as Hugging Face writes them: its metadata where there is some, else by type.

    `{"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": [...]}}`; any other
    column is a `Value` with its Arrow type as `dtype`.
    """
    try:
        stored = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        stored = {}
    features: Features = {}
    for column in schema:
        known = stored.get(column.name) if isinstance(stored, dict) else None
        features[column.name] = known if isinstance(known, dict) else _by_type(column.type)
    return features


def _by_type(kind: pa.DataType) -> dict[str, Any]:
    inner = kind
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        inner = kind.field("bytes").type
    if pa.types.is_binary(inner) or pa.types.is_large_binary(inner):
        return {"_type": "Image"}
    return {"_type": "Value", "dtype": str(kind)}


def image_column(features: Features, asked: str | None = None) -> str:
    """The column of images, the one *asked* for or the only one there is."""
    images = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    if asked is None and len(images) == 1:
        return images[0]
    if asked is None:
        raise CounError(
            f"{len(images) or 'no'} image columns among {_listing(features)}; "
            "expected one (choose with --image-column)"
        )
    if asked not in features:
        raise unknown("image column", asked, features)
    if asked not in images:
        raise CounError(
            f"column '{asked}' is no image column ({_kind(features[asked])}); "
            f"image columns: {', '.join(images) or 'none'}"
        )
    return asked


def label_column(features: Features, asked: str | None = None) -> str:
    """The column of labels, the one *asked* for, the only one or the best known name.

    A `ClassLabel` goes before plain integers; among several, label, labels and fine_label
    go before others.
    """
    classes = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    whole = [name for name, feature in features.items() if "int" in str(feature.get("dtype"))]
    if asked is None:
        found = classes or whole
        chosen = [name for name in PREFERRED if name in found] or found
        if (len(found) > 1 and chosen is found) or not found:
            raise CounError(
                f"{len(found) or 'no'} label columns among {_listing(features)}; "
                "expected one of class numbers (choose with --label-column)"
            )
        return chosen[0]
    if asked not in features:
        raise unknown("label column", asked, features)
    if asked not in classes + whole:
        raise CounError(
            f"column '{asked}' holds no class numbers ({_kind(features[asked])}); "
            f"label columns: {', '.join(classes + whole) or 'none'}"
        )
    return asked


def class_names(feature: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of a `ClassLabel`, None for a plain integer column."""
    names = feature.get("names")
    return tuple(str(name) for name in names) if isinstance(names, list) and names else None


def _kind(feature: dict[str, Any]) -> str:
    return str(feature.get("dtype", feature.get("_type", "nested")))


def _listing(features: Features) -> str:
    return ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
