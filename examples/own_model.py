"""Unlearn three samples with a network and a dataset of your own."""

import torch
from torch import nn

import coun


class Points(torch.utils.data.Dataset):
    """Any map-style dataset of (input, label) works; here an input is a row of 20 numbers."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 20, generator=generator)
        self.targets = (self.x[:, :3].sum(1) > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.x[i], int(self.targets[i])


class Noise:
    """A view of a point is the point with a little noise (images are cropped and flipped)."""

    def __call__(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=generator).to(x)

    def evaluate(self, x: torch.Tensor) -> torch.Tensor:
        return x


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2))


data = coun.from_dataset(Points(500, seed=0), Points(200, seed=1), views=Noise())
split = coun.Split.by_index(data, [17, 42, 256])

original = coun.train(data, network, epochs=10)  # or bring a trained nn.Module
forgot = coun.unlearn(original.model, split, "coun", data=data, epochs=3)

retrain = coun.train(data, network, split=split, epochs=10)
metrics = coun.evaluate(forgot, against=retrain)
print(f"average gap to Retrain: {metrics['average_gap']:.2f} points")
