"""Unlearn fifteen wrong labels from a network that a loop of your own has trained."""

import numpy as np
import torch
from torch import nn

import coun

rng = np.random.default_rng(0)


def pictures(count: int) -> list[tuple[np.ndarray, int]]:
    """Make colour pictures (3, 16, 16), uint8; a bright square is on the left or on the right."""
    items = []
    for _ in range(count):
        label = int(rng.integers(2))
        picture = rng.integers(0, 150, (3, 16, 16)).astype(np.uint8)
        column, row = rng.integers(2, 4) + 7 * label, rng.integers(0, 11)
        picture[rng.integers(3), row : row + 4, column : column + 4] = 255
        items.append((picture, label))
    return items


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 2)),
    )


# Any list or map-style dataset of (image, label) will do; images are uint8 or PIL.
train, test = pictures(300), pictures(200)
train[:15] = [(image, 1 - label) for image, label in train[:15]]  # labelling mistakes
mine = network()
optimizer = torch.optim.Adam(mine.parameters(), lr=3e-3)
for _ in range(60):
    images = torch.tensor(np.stack([image for image, _ in train])) / 255 - 0.5
    labels = torch.tensor([label for _, label in train])
    optimizer.zero_grad()
    nn.functional.cross_entropy(mine(images), labels).backward()
    optimizer.step()

# The same preparation of images as in the loop above: no random changes, mean 0.5, deviation 1.
views = coun.Views("N", mean=(0.5,) * 3, std=(1.0,) * 3)
data = coun.from_dataset(train, test, views=views)
split = coun.Split.by_index(data, range(15))
before = coun.Run.from_weights(mine, data)
forgot = coun.unlearn(mine, split, "random_label", data=data, epochs=5)

retrain = coun.train(data, network, split=split, epochs=20, lr=0.02)
for name, run in (("before", before), ("after", forgot)):
    metrics = coun.evaluate(run, split=split, against=retrain)
    print(f"average gap to Retrain {name}: {metrics['average_gap']:.1f} points")
