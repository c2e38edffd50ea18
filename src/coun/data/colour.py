"""Random colour changes of a batch: jitter and greyscale, drawn for each image.

Pixels are float32 in 0..1, (B, 3, H, W); every adjustment clamps its result to 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

JITTER_CHANCE, GREY_CHANCE = 0.8, 0.2
# Factors of brightness, contrast and saturation are uniform in 1 - STRENGTH to 1 + STRENGTH,
# shifts of hue in -HUE to HUE turns of the colour circle.
STRENGTH, HUE = 0.8, 0.2
# Luma weights of ITU-R BT.601, as in PIL; torchvision rounds the first to 0.2989.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Jitter:
    """The colour jitter of one batch: which images change, by how much and in which order.

    Args:
        rows: positions in the batch of the images that change, (R,) int64.
        amounts: for each of them the factors of brightness, contrast and saturation, and the
            shift of hue in turns, (R, 4).
        order: for each of them the adjustments in the order in which they apply, (R, 4), as
            positions 0..3 in `amounts`.
    """

    rows: Tensor
    amounts: Tensor
    order: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, *, shared: bool = False) -> Jitter:
        """Draw the changes for *count* images; with *shared*, one draw serves all of them."""
        draws, where = 1 if shared else count, generator.device
        chosen = torch.rand(draws, generator=generator, device=where) < JITTER_CHANCE
        spread = 2 * torch.rand(draws, 4, generator=generator, device=where) - 1
        order = torch.rand(draws, 4, generator=generator, device=where).argsort(1)
        amounts = spread * torch.tensor([STRENGTH, STRENGTH, STRENGTH, HUE], device=where)
        amounts += torch.tensor([1.0, 1.0, 1.0, 0.0], device=where)
        rows = chosen.expand(count).nonzero()[:, 0]
        return cls(rows, amounts.expand(count, 4)[rows], order.expand(count, 4)[rows])

    def __call__(self, x: Tensor) -> Tensor:
        """Return *x* (B, 3, H, W) with the drawn changes applied.

        Grey images (B, 1, H, W) have no colour, so only brightness and contrast apply.
        """
        adjustments = (brightness, contrast, saturation, hue)[: 4 if x.shape[1] == 3 else 2]
        x = x.clone()
        for step in range(4):
            for number, adjust in enumerate(adjustments):
                due = (self.order[:, step] == number).nonzero()[:, 0]
                rows = self.rows[due].to(x.device)
                amount = self.amounts[due, number].to(x.device)
                x[rows] = adjust(x[rows], amount.view(-1, 1, 1, 1))
        return x


def grey_rows(count: int, generator: torch.Generator, *, shared: bool = False) -> Tensor:
    """Draw which of *count* images turn grey: positions, int64; with *shared*, all or none."""
    draws = torch.rand(1 if shared else count, generator=generator, device=generator.device)
    return (draws < GREY_CHANCE).expand(count).nonzero()[:, 0]


def grey(x: Tensor) -> Tensor:
    """Return the luma (B, 1, H, W) of *x* (B, 3, H, W); grey images are returned unchanged."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Blend *x* (B, C, H, W) with black; factor 0 gives black and 1 changes nothing."""
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend *x* (B, C, H, W) with its mean luma; 0 gives uniform grey, 1 changes nothing.

    >>> grey = torch.tensor([0.25, 0.75]).reshape(1, 1, 1, 2)
    >>> contrast(grey, torch.tensor([0.5])).flatten().tolist()
    [0.375, 0.625]
    """
    return torch.lerp(grey(x.mean((2, 3), keepdim=True)), x, factor).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend *x* (B, 3, H, W) with its grey image; 0 gives greyscale and 1 changes nothing."""
    return torch.lerp(grey(x), x, factor).clamp_(0, 1)


def hue(x: Tensor, shift: Tensor) -> Tensor:
    """Shift the HSV hue of *x* (B, 3, H, W) by *shift* turns; 0 changes nothing.

    Value and chroma do not change, so the colours follow from the new hue without a full
    conversion to HSV: a channel is value - chroma * clamp(min(k, 4 - k), 0, 1), where
    k = (n + 6 hue) mod 6, with n = 5, 3, 1 for red, green, blue.
    """
    red, green, blue = x.unbind(1)
    value, low = x.amax(1), x.amin(1)
    chroma = value - low
    divisor = torch.where(chroma > 0, chroma, 1.0)  # grey has no hue; avoid 0 / 0
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
