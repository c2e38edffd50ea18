"""Random colour changes of a batch: jitter and greyscale, one draw per image.

Pixels are float32 in 0..1, (B, 3, H, W); every adjustment clamps its result to 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

JITTER_CHANCE, GREY_CHANCE = 0.8, 0.2
# Factors of brightness, contrast and saturation come from 1 -+ STRENGTH, shifts of hue from
# -+ HUE turns of the colour circle.
STRENGTH, HUE = 0.8, 0.2
# Luma of ITU-R BT.601, as in PIL; torchvision rounds the first to 0.2989.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """What one batch's colour jitter does: which images, by how much, in which order.

    Attributes:
        rows: images that change, (R,) int64.
        amounts: per image factor of brightness, contrast, saturation, and shift of hue in
            turns, (R, 4).
        order: per image the adjustments (0..3, as in `amounts`) in their order, (R, 4).
    """

    rows: Tensor
    amounts: Tensor
    order: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, *, shared: bool = False) -> Jitter:
        """Draws for *count* images; with *shared* one draw serves them all."""
        draws = 1 if shared else count
        chosen = torch.rand(draws, generator=generator) < JITTER_CHANCE
        spread = 2 * torch.rand(draws, 4, generator=generator) - 1
        order = torch.rand(draws, 4, generator=generator).argsort(1)
        amounts = spread * torch.tensor([STRENGTH, STRENGTH, STRENGTH, HUE])
        amounts += torch.tensor([1.0, 1.0, 1.0, 0.0])
        rows = chosen.expand(count).nonzero()[:, 0]
        return cls(rows, amounts.expand(count, 4)[rows], order.expand(count, 4)[rows])

    def __call__(self, x: Tensor) -> Tensor:
        """*x* (B, 3, H, W) with the drawn changes. Grey images, (B, 1, H, W), have no colour:
        brightness and contrast alone change them.
        """
        adjustments = (brightness, contrast, saturation, hue)[: 4 if x.shape[1] == 3 else 2]
        x = x.clone()
        for step in range(4):
            for number, adjust in enumerate(adjustments):
                now = (self.order[:, step] == number).nonzero()[:, 0]
                rows = self.rows[now].to(x.device)
                amount = self.amounts[now, number].to(x.device)
                x[rows] = adjust(x[rows], amount.view(-1, 1, 1, 1))
        return x


def grey_rows(count: int, generator: torch.Generator, *, shared: bool = False) -> Tensor:
    """Which of *count* images turn grey, int64; with *shared* all or none."""
    draws = torch.rand(1 if shared else count, generator=generator)
    return (draws < GREY_CHANCE).expand(count).nonzero()[:, 0]


def grey(x: Tensor) -> Tensor:
    """Luma of *x* (B, 3, H, W) as (B, 1, H, W); grey images (B, 1, H, W) are their own."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """*x* (B, C, H, W) blended with black; 0 is black, 1 leaves it."""
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """*x* (B, C, H, W) blended with its mean luma; 0 is one plane of grey, 1 leaves it."""
    return torch.lerp(grey(x.mean((2, 3), keepdim=True)), x, factor).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """*x* (B, 3, H, W) blended with its grey image; 0 is greyscale, 1 leaves it."""
    return torch.lerp(grey(x), x, factor).clamp_(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """*x* (B, 3, H, W) with its HSV hue shifted by *shift* turns; 0 leaves it.

    Value and chroma stay, so that the colours follow from the hue without the whole of HSV:
    a channel is value - chroma * clamp(min(k, 4 - k), 0, 1), k = (n + 6 hue) mod 6, with
    n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    divisor = torch.where(chroma > 0, chroma, 1.0)  # grey has no hue: any will do
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * shift[:, 0]
    channels = []
    for n in (5, 3, 1):
        k = (sixths + n).remainder_(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1)
