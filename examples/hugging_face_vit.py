"""Unlearn a class from a vision transformer of Hugging Face, built from a configuration."""

import numpy as np
from transformers import ViTConfig, ViTForImageClassification

import coun

rng = np.random.default_rng(0)
COLOURS = ("red", "green", "blue")


def pictures(count: int) -> list[dict[str, object]]:
    """Make items as a dataset of Hugging Face has them: an image and a label."""
    items = []
    for number in range(count):
        label = number % len(COLOURS)
        picture = rng.integers(0, 140, (16, 16, 3)).astype(np.uint8)
        picture[..., label] += 60
        items.append({"image": picture, "label": label})
    return items


def network() -> ViTForImageClassification:
    # A trained one: ViTForImageClassification.from_pretrained("./my-vit")
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=4,
        num_labels=len(COLOURS),
    )
    return ViTForImageClassification(config)


data = coun.from_dataset(pictures(150), pictures(60), classes=COLOURS)
split = coun.Split.by_class(data, "green")
recipe = {"epochs": 6, "optimizer": "adamw", "lr": 3e-3}

original = coun.train(data, network, **recipe)
forgot = coun.unlearn(original, split, "delete", lr=3e-3)  # made for whole classes
retrain = coun.train(data, network, split=split, **recipe)

metrics = coun.evaluate(forgot, against=retrain)
print(f"test accuracy on the other classes, in percent: {metrics['test_accuracy']:.0f}")
wrong, aim = metrics["unlearn_accuracy"], metrics["retrain"]["unlearn_accuracy"]
print(f"green pictures called red or blue, in percent: {wrong:.0f}; by Retrain: {aim:.0f}")
