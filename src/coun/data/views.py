"""Random views of a batch: crop, flip, colour and normalise, on tensors, a draw per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.data.colour import Jitter, grey, grey_rows
from coun.errors import CounError

LETTERS = {
    "C": "random crop",
    "H": "horizontal flip",
    "J": "colour jitter",
    "G": "random greyscale",
    "N": "normalise",
}

# The paper normalises every dataset with these (CIFAR-10's mean, and the std of its
# per-image stds, which most CIFAR code uses).
COUN_MEAN = (0.4914, 0.4822, 0.4465)
COUN_STD = (0.2023, 0.1994, 0.2010)


class Transform(Protocol):
    """What a data set needs to know about its images; bring any object with these two."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random training view of images (B, ...), float32."""
        ...

    def evaluate(self, images: Tensor) -> Tensor:
        """The deterministic view of images (B, ...), float32."""
        ...


@dataclass(frozen=True)
class Views:
    """Crop, flip, jitter, greyscale, normalise, as a letter set.

    Args:
        letters: any of C (crop after zero padding, in pixel space), H (flip, p = 0.5),
            J (p = 0.8: brightness, contrast and saturation times 0.2..1.8, hue shifted by
            up to 0.2 turns, in random order), G (p = 0.2: greyscale) and N (normalise);
            drawn in this order. Empty: pixels only scaled to 0..1. J and G take colour or
            grey images with pixels in 0..255 (uint8) or 0..1 (float); of grey ones J changes
            brightness and contrast, G nothing.
        padding: pixels of black on each side before the crop.
        mean, std: per channel, of pixels in 0..1; one number serves all channels.
        per_batch: draw once for the whole batch. Algorithm 1 of CoUn reads like this; the
            default draws per image (specification, section 2, ambiguity a).

    Source: CoUn (Khalil et al., NeurIPS 2025), section 4.1: T = CHN for both views; J and G
        as in its ablation of transformations (there CHJGN did worse). J does what
        torchvision's ColorJitter does, in float32 without rounding in between.
    """

    letters: str = "CHN"
    padding: int = 4
    mean: tuple[float, ...] = COUN_MEAN
    std: tuple[float, ...] = COUN_STD
    per_batch: bool = False

    def __post_init__(self) -> None:
        for letter in self.letters:
            if letter not in LETTERS:
                known = ", ".join(f"{k} ({v})" for k, v in LETTERS.items())
                raise CounError(
                    f"unknown view letter '{letter}' in '{self.letters}'; known: {known}"
                )
        if self.padding < 0:
            raise CounError(f"views padding is {self.padding}; expected 0 pixels or more")
        if any(s <= 0 for s in self.std):
            raise CounError(f"views std is {self.std}; expected positive numbers")

    @classmethod
    def for_images(cls, shape: tuple[int, ...]) -> Views:
        """The default for images of *shape*: CHN for colour, CN for grey, nothing otherwise.

        Grey images are mostly digits and letters, whose mirror image is another symbol.
        """
        if len(shape) != 3:
            return cls(letters="")
        side = min(shape[1:])
        # The paper pads by 4 at 32 and at 64 pixels alike.
        padding = 4 if 32 <= side <= 64 else max(1, round(side / 8))
        if shape[0] == 3:
            return cls(padding=padding)
        return cls(letters="CN", padding=padding, mean=(0.5,), std=(0.5,))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random view of *images* (B, C, H, W), uint8 or float; float32 out, channels last."""
        if not set(self.letters) - {"N"}:
            return self.evaluate(images)
        if images.ndim != 4:
            raise CounError(
                f"views '{self.letters}' change images, but a batch has shape "
                f"{tuple(images.shape)}; expected (B, C, H, W), or no letter but N"
            )
        if {"C", "H"} & set(self.letters):
            images = self._crop_and_flip(images, generator)
        if {"J", "G"} & set(self.letters):
            images = self._recolour(images, generator)
        return self.evaluate(images)

    def _crop_and_flip(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        draws = 1 if self.per_batch else n
        pad = self.padding if "C" in self.letters else 0
        offset = torch.randint(0, 2 * pad + 1, (2, draws), generator=generator)
        flip = torch.rand(draws, generator=generator) < (0.5 if "H" in self.letters else 0.0)
        offset, flip = offset.expand(2, n).to(images.device), flip.expand(n).to(images.device)
        cols = torch.arange(width, device=images.device).expand(n, width)
        cols = torch.where(flip[:, None], width - 1 - cols, cols) + offset[1][:, None]
        rows = torch.arange(height, device=images.device) + offset[0][:, None]
        # Padding after NHWC is free of copies later: the gather itself yields channels last.
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad))
        # Whole pixels by their place in the batch: several times as fast as by coordinates.
        tall, wide, channels = padded.shape[1:]
        item = torch.arange(n, device=images.device)[:, None, None]
        place = (item * tall + rows[:, :, None]) * wide + cols[:, None, :]
        crops = padded.reshape(-1, channels).index_select(0, place.flatten())
        return crops.view(n, height, width, channels).permute(0, 3, 1, 2)

    def _recolour(self, images: Tensor, generator: torch.Generator) -> Tensor:
        if images.shape[1] not in (1, 3):
            raise CounError(
                f"views '{self.letters}' change colours, but images have {images.shape[1]} "
                "channels; expected 3, or 1, or letters without J and G"
            )
        x = _pixels(images).contiguous()
        if "J" in self.letters:
            x = Jitter.draw(len(x), generator, shared=self.per_batch)(x)
        if "G" in self.letters:
            rows = grey_rows(len(x), generator, shared=self.per_batch).to(x.device)
            x = x.index_copy(0, rows, grey(x[rows]).expand(-1, x.shape[1], -1, -1))
        return x

    def evaluate(self, images: Tensor) -> Tensor:
        """Scale uint8 to 0..1 and normalise; float32, memory layout kept."""
        x = _pixels(images)
        if "N" not in self.letters:
            return x
        if not {len(self.mean), len(self.std)} <= {1, x.shape[1]}:
            raise CounError(
                f"views have {len(self.mean)} means and {len(self.std)} stds for "
                f"{x.shape[1]} channels; expected one, or one a channel"
            )
        mean, std = (x.new_tensor(v).view(-1, *[1] * (x.ndim - 2)) for v in (self.mean, self.std))
        if x is images:
            x = x.clone()
        if x.ndim != 4:
            return x.sub_(mean).div_(std)
        x = x.contiguous(memory_format=torch.channels_last)
        rows = x.permute(0, 2, 3, 1).flatten(1)  # no copy; long rows, which vectorise
        for statistic, apply in ((mean, rows.sub_), (std, rows.div_)):
            apply(statistic.expand(x.shape[1:]).permute(1, 2, 0).flatten())
        return x


def _pixels(images: Tensor) -> Tensor:
    """uint8 scaled to 0..1, anything else as it is; float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
