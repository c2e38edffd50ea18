"""A tiny vision transformer of Hugging Face in a folder, from a configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from optional_packages import package


def write_vit(folder: Path, classes: Sequence[str] | None = None) -> None:
    """Write a model with fresh weights and its image processor; skip without transformers.

    Args: classes: their names; two without names by default.
    """
    transformers = package("transformers")
    labels = dict(enumerate(classes)) if classes else {0: "LABEL_0", 1: "LABEL_1"}
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    settings = {
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
        "size": {"height": 16, "width": 16},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
