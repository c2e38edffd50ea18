"""Random views of a batch: crop, flip, colour changes and normalisation, drawn for each image.

They work on whole batches of tensors, on the device where the images are. A transform of
torchvision or albumentations serves as well, through `coun.data.transforms`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.data.colour import Jitter, grey, grey_rows
from coun.errors import CounError, require_type

if TYPE_CHECKING:
    from coun.data.examples import Examples

LETTERS = {
    "C": "random crop",
    "H": "horizontal flip",
    "J": "colour jitter",
    "G": "random greyscale",
    "N": "normalise",
}

# The CoUn paper normalises every data set with these: the channel means of CIFAR-10, and the
# mean over its images of the deviation within an image, which most CIFAR code uses.
COUN_MEAN = (0.4914, 0.4822, 0.4465)
COUN_STD = (0.2023, 0.1994, 0.2010)
PAPER_SIDES = (32, 64)  # of the paper's images, which it normalises with these numbers
SAMPLE = 2000  # images from which the mean and deviation of other data are computed
# Where the numbers of default views are from. The numbers of a user have no such origin.
OF_PAPER = "those of CIFAR-10, as in the CoUn paper"
OF_GREY = "the default for grey images"
OF_ROWS = "computed from the training images"


class Transform(Protocol):
    """How raw images become the network's input; any object with these two methods serves."""

    def __call__(self, images: Tensor, generator: torch.Generator, /) -> Tensor:
        """Return a random training view of *images* (B, ...), float32.

        All randomness must come from *generator*: a resumed run draws the same views again.
        """
        ...

    def evaluate(self, images: Tensor, /) -> Tensor:
        """Return the deterministic view of *images* (B, ...), float32."""
        ...


@dataclass(frozen=True)
class Views:
    """Augment images for training and normalise them, as a set of letters says.

    Args:
        letters: any of C (crop after padding with black), H (horizontal flip, p = 0.5), J
            (colour jitter, p = 0.8: brightness, contrast and saturation times 0.2 to 1.8,
            hue shifted by up to 0.2 turns, in random order), G (greyscale, p = 0.2) and N
            (normalise). They apply in this order, however they are written; an empty string
            only scales pixels to 0..1. J and G need colour or grey images with pixels in
            0..255 (uint8) or 0..1 (float); on grey images J changes brightness and contrast
            only, and G changes nothing.
        padding: width in pixels of the black border that the crop may reach into.
        mean, std: of each channel, for pixels in 0..1; a single number serves all channels.
        per_batch: draw once for the whole batch instead of once for each image. The text of
            CoUn's Algorithm 1 allows both readings; the default follows common practice.
        size: (height, width) to which images are scaled after all random changes and before
            they are normalised; None leaves them as they are.
        channels: 3 repeats grey images on three channels, 1 turns colour images to grey (luma),
            after all random changes and before they are normalised; None leaves them.
        origin: where the numbers are from, in words; empty where the user gave them.

    Raises: CounError for an unknown letter, negative padding or a `std` that is not positive.

    Source: CoUn (Khalil et al., NeurIPS 2025), section 4.1: T = CHN for both views. J and G
        are as in its ablation of transformations, where CHJGN did worse. J computes what
        torchvision's ColorJitter does, in float32 and without rounding in between.

    >>> images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    >>> Views("CHN")(images, torch.Generator().manual_seed(0)).shape
    torch.Size([8, 3, 32, 32])
    """

    draws_on_device: ClassVar[bool] = True  # all draws are made where the generator lives

    letters: str = "CHN"
    padding: int = 4
    mean: tuple[float, ...] = COUN_MEAN
    std: tuple[float, ...] = COUN_STD
    per_batch: bool = False
    size: tuple[int, int] | None = None
    channels: int | None = None
    origin: str = field(default="", compare=False)

    def __repr__(self) -> str:
        # As in version 0.1 where no size is set: the text is part of the identity of runs.
        size = f", size={self.size!r}" if self.size else ""
        size += f", channels={self.channels!r}" if self.channels else ""
        return (
            f"Views(letters={self.letters!r}, padding={self.padding!r}, mean={self.mean!r}, "
            f"std={self.std!r}, per_batch={self.per_batch!r}{size})"
        )

    def __post_init__(self) -> None:
        require_type(self.letters, str, "letters", "text such as CHN")
        for what in ("mean", "std"):
            values = getattr(self, what)
            try:
                usable = all(math.isfinite(value) for value in values)
            except TypeError:
                usable = False
            if not usable:
                raise CounError(
                    f"{what} of views is {values!r}; expected a tuple of finite numbers, one for "
                    "each channel"
                )
        for letter in self.letters:
            if letter not in LETTERS:
                choices = ", ".join(f"{key} ({meaning})" for key, meaning in LETTERS.items())
                raise CounError(
                    f"unknown view letter '{letter}' in '{self.letters}'; known: {choices}"
                )
        if self.padding < 0:
            raise CounError(f"padding of views is {self.padding}; expected 0 pixels or more")
        if any(s <= 0 for s in self.std):
            raise CounError(f"std of views is {self.std}; expected positive numbers")
        if self.size is not None and min(self.size) < 1:
            raise CounError(f"size of views is {self.size}; expected at least 1 x 1 pixels")
        if self.channels not in (None, 1, 3):
            raise CounError(f"channels of views are {self.channels}; expected 1, 3 or None")

    @classmethod
    def for_images(cls, shape: tuple[int, ...], examples: Examples | None = None) -> Views:
        """Return the default views for images of *shape*, (C, H, W) or any other.

        Colour images get CHN and grey images CN, because grey images are mostly digits and
        letters, whose mirror image is another symbol. Other shapes are only scaled. Colour
        images of the paper's sizes are normalised as in the paper, others by the mean and
        deviation of *examples*, the training images (of `SAMPLE` of them).

        >>> Views.for_images((1, 28, 28)).letters
        'CN'
        """
        if len(shape) != 3:
            return cls(letters="")
        side = min(shape[1:])
        # The paper pads by 4 at 32 and at 64 pixels alike.
        padding = 4 if 32 <= side <= 64 else max(1, round(side / 8))
        if shape[0] != 3:
            return cls(letters="CN", padding=padding, mean=(0.5,), std=(0.5,), origin=OF_GREY)
        if examples is None or (shape[1] == shape[2] and side in PAPER_SIDES):
            return cls(padding=padding, origin=OF_PAPER)
        mean, std = channel_statistics(examples)
        return cls(padding=padding, mean=mean, std=std, origin=OF_ROWS)

    @property
    def is_default(self) -> bool:
        """Whether the numbers are defaults, which the numbers of a model may replace."""
        return self.origin in (OF_PAPER, OF_GREY, OF_ROWS)

    def in_words(self) -> str:
        """Return what is done with images, in one line.

        >>> Views("HN", mean=(0.5,), std=(0.25,)).in_words()
        'views: horizontal flip; mean 0.5, std 0.25'
        """
        changes = [
            LETTERS[letter] for letter in LETTERS if letter in self.letters and letter != "N"
        ]
        text = f"views: {', '.join(changes) or 'no random changes'}"
        if self.size:
            text += f"; scaled to {self.size[1]}x{self.size[0]} pixels"
        if self.channels:
            text += "; in colour" if self.channels == 3 else "; in grey"
        if "N" not in self.letters:
            return f"{text}; not normalised"
        mean, std = (" ".join(f"{x:.4g}" for x in numbers) for numbers in (self.mean, self.std))
        return f"{text}; mean {mean}, std {std}" + f" ({self.origin})" * bool(self.origin)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random view of *images* (B, C, H, W), uint8 or float, as float32.

        Raises: CounError if the letters change images but *images* have another shape, and
            if they change colours but images have neither 1 nor 3 channels.
        """
        if not set(self.letters) - {"N"}:
            return self.evaluate(images)
        if images.ndim != 4:
            raise CounError(
                f"views '{self.letters}' change images, but a batch has shape "
                f"{tuple(images.shape)}; expected (B, C, H, W), or only the letter N"
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
        where = generator.device
        offset = torch.randint(0, 2 * pad + 1, (2, draws), generator=generator, device=where)
        chance = 0.5 if "H" in self.letters else 0.0
        flip = torch.rand(draws, generator=generator, device=where) < chance
        offset, flip = offset.expand(2, n).to(images.device), flip.expand(n).to(images.device)
        cols = torch.arange(width, device=images.device).expand(n, width)
        cols = torch.where(flip[:, None], width - 1 - cols, cols) + offset[1][:, None]
        rows = torch.arange(height, device=images.device) + offset[0][:, None]
        # With channels last before the padding, the gather below already returns that layout,
        # which convolutions prefer; permuting its result would cost a copy.
        padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, pad, pad, pad, pad))
        # One flat index for each pixel, over the whole batch, is several times as fast as
        # indexing by image, row and column.
        padded_height, padded_width, channels = padded.shape[1:]
        image = torch.arange(n, device=images.device)[:, None, None]
        pixel = (image * padded_height + rows[:, :, None]) * padded_width + cols[:, None, :]
        crops = padded.reshape(-1, channels).index_select(0, pixel.flatten())
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

    def _resized(self, pixels: Tensor) -> Tensor:
        if self.size is None or tuple(pixels.shape[-2:]) == self.size:
            return pixels
        return F.interpolate(pixels, self.size, mode="bilinear", antialias=True)

    def _with_channels(self, pixels: Tensor) -> Tensor:
        if self.channels is None or pixels.shape[1] == self.channels:
            return pixels
        if self.channels == 1:
            return grey(pixels)
        return pixels.expand(-1, self.channels, *pixels.shape[2:]).contiguous()

    def evaluate(self, images: Tensor) -> Tensor:
        """Return *images* (B, ...) scaled to 0..1 if they are uint8, and normalised; float32.

        Raises: CounError if `mean` and `std` fit neither one channel nor all of them.

        >>> Views(mean=(0.5,), std=(0.5,)).evaluate(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        tensor([[[[-1.,  1.]]]])
        """
        x = self._with_channels(self._resized(_pixels(images)))
        if "N" not in self.letters:
            return x
        if not {len(self.mean), len(self.std)} <= {1, x.shape[1]}:
            raise CounError(
                f"views have {len(self.mean)} means and {len(self.std)} stds for images of "
                f"{x.shape[1]} channels; expected one of each, or one for each channel"
            )
        shape = (-1, *[1] * (x.ndim - 2))
        mean, std = (_constant(tuple(v), x.device).view(shape) for v in (self.mean, self.std))
        if x is images:
            x = x.clone()
        if x.ndim != 4:
            return x.sub_(mean).div_(std)
        x = x.contiguous(memory_format=torch.channels_last)
        # Long contiguous rows vectorise; on a channels-last tensor this is a view, not a copy.
        rows = x.permute(0, 2, 3, 1).flatten(1)
        for statistic, apply in ((mean, rows.sub_), (std, rows.div_)):
            apply(statistic.expand(x.shape[1:]).permute(1, 2, 0).flatten())
        return x


def channel_statistics(examples: Examples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of each channel, for pixels in 0..1.

    They are computed over all pixels of `SAMPLE` images at equal distances, or of all images
    where there are fewer, and rounded to 4 digits; a deviation is at least 0.01.
    """
    rows = torch.linspace(0, len(examples) - 1, min(len(examples), SAMPLE)).round().long()
    sums, squares = torch.zeros(2, 1, dtype=torch.float64)
    count = 0
    for batch in torch.split(rows, 64):
        pixels = _pixels(examples.fetch(batch)).double().transpose(0, 1).flatten(1)
        sums, squares = sums + pixels.sum(1), squares + pixels.square().sum(1)
        count += pixels.shape[1]
    mean = sums / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt().clamp(min=0.01)
    return tuple(round(x, 4) for x in mean.tolist()), tuple(round(x, 4) for x in std.tolist())


@functools.lru_cache(maxsize=64)
def _constant(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return *numbers* on *device*, float32: a GPU would wait for a copy of them at each step."""
    with torch.inference_mode(False):  # tensors of that mode cannot be used in training
        return torch.tensor(numbers, dtype=torch.float32, device=device)


def _pixels(images: Tensor) -> Tensor:
    """Return uint8 pixels scaled to 0..1, and floats unchanged; float32."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
