"""Transforms of torchvision or albumentations as views, without importing either library."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from coun.data.views import Transform
from coun.errors import CounError, first_line
from coun.seeds import restored_generator

EVALUATION_SEED = 0
DRAWS = 4  # that show whether a transform is random
ViewsLike = Transform | Sequence[Callable[..., Any]]


@dataclass(frozen=True)
class TransformViews:
    """Use a pair of image transforms, which work on one image at a time, as views.

    The transforms may draw from the global generators of torch, `random` and NumPy, or from
    one of their own with a method `set_random_seed`, as albumentations has it. Every batch
    seeds all of them from the run's own generator and puts the global ones back, so a resumed
    run draws the same views and nothing changes in the host process. They run on the CPU, so
    `Views`, which transforms a whole batch at once, is much faster where it suffices.

    Args:
        train: the random transform of training images.
        test: the transform of images that are measured; it should end in the same shape and
            the same normalisation.
        image_type: what the transforms take: "pil" (also of arrays and tensors), "tensor",
            (C, H, W), or "array", (H, W, C) by the keyword `image`, with the result under
            "image". By default "array" for a transform that takes keywords only, as those of
            albumentations do, "pil" for other uint8 images and "tensor" for float ones.

    A result may be a PIL image, an array (H, W) or (H, W, C), or a tensor (C, H, W); uint8 is
    scaled to 0..1.

    >>> def flip(image):
    ...     return image.transpose(0) if random.random() < 0.5 else image
    >>> views = TransformViews(train=flip, test=lambda image: image)
    >>> images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    >>> views(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    train: Callable[..., Any]
    test: Callable[..., Any]
    image_type: Literal["pil", "tensor", "array"] | None = None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random training view of *images* (B, ...) as float32."""
        seed = int(torch.randint(2**32, (), generator=generator))
        return self._transform(self.train, images, seed)

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the test view of *images* (B, ...) as float32, always the same."""
        return self._transform(self.test, images, EVALUATION_SEED)

    def _transform(self, transform: Callable[..., Any], images: Tensor, seed: int) -> Tensor:
        image_type = self.image_type or _image_type(transform, images)
        with _global_seed(seed):
            if hasattr(transform, "set_random_seed"):
                transform.set_random_seed(seed)
            results = [_apply(transform, image, image_type) for image in images.cpu()]
        shapes = {tuple(result.shape) for result in results}
        if len(shapes) > 1:
            first, second = sorted(shapes)[:2]
            raise CounError(
                f"transform {_name(transform)} returns images of shapes {first} and {second}; "
                "expected one shape (end it with a crop or a resize)"
            )
        return torch.stack(results).to(images.device)


def as_views(views: Any) -> Transform:
    """Return *views* themselves, or image transforms as views.

    Args:
        views: an object with `evaluate`; a pair (training transform, test transform); or one
            transform for both, which must not be random (`check_single`).

    Raises: CounError for anything else.

    >>> as_views((lambda image: image, lambda image: image)).image_type is None
    True
    """
    if callable(getattr(views, "evaluate", None)):
        transform: Transform = views
        return transform
    if isinstance(views, tuple | list) and len(views) == 2 and all(map(callable, views)):
        return TransformViews(*views)
    if callable(views) and not isinstance(views, type):
        return TransformViews(views, views)
    raise CounError(
        f"views are {_name(views)}; expected coun.Views, or a pair of image transforms: "
        "views=(training transform, test transform)"
    )


def check_single(views: Transform, images: Tensor) -> None:
    """Refuse one transform for both training and measuring if it draws at random.

    Args: images: some of the data, (B, ...).
    """
    if not isinstance(views, TransformViews) or views.train is not views.test:
        return
    first = views.evaluate(images)
    for seed in range(DRAWS):
        if not torch.equal(views(images, torch.Generator().manual_seed(seed)), first):
            raise CounError(
                f"transform {_name(views.test)} changes images at random, but measured images must "
                "not change; give a pair: views=(training transform, test transform)"
            )


def _image_type(transform: Callable[..., Any], images: Tensor) -> str:
    if not isinstance(transform, nn.Module) and _takes_keywords_only(transform):
        return "array"
    return "pil" if images.dtype == torch.uint8 else "tensor"


def _takes_keywords_only(transform: Callable[..., Any]) -> bool:
    """Whether *transform* has the signature of albumentations: `(*args, **data)` or `(*, image)`.

    torchvision's transforms have it too, because they are modules; the caller excludes them.
    """
    try:
        parameters = inspect.signature(transform).parameters.values()
    except (TypeError, ValueError):  # functions written in C may have no signature
        return False
    keyword = any(p.name == "image" or p.kind is p.VAR_KEYWORD for p in parameters)
    return keyword and not any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters
    )


def _apply(transform: Callable[..., Any], image: Tensor, image_type: str) -> Tensor:
    """Transform one image (C, H, W) to float32 (C', H', W')."""
    try:
        if image_type == "array":
            return _tensor(transform(image=image.permute(1, 2, 0).numpy())["image"])
        return _tensor(transform(_pil(image) if image_type == "pil" else image))
    except Exception as error:  # a stranger's code may raise anything; it stays the cause
        raise CounError(
            f"transform {_name(transform)} fails on an image of shape {tuple(image.shape)} given "
            f"as {image_type}: {type(error).__name__}: {first_line(error)} (if it expects "
            "another type, give image_type='pil', 'tensor' or 'array')"
        ) from error


def _pil(image: Tensor) -> Any:
    from PIL import Image

    if image.dtype != torch.uint8 or image.ndim != 3 or len(image) not in (1, 3):
        raise TypeError(f"{image.dtype} {tuple(image.shape)} has no PIL image")
    array = image.permute(1, 2, 0).numpy()
    return Image.fromarray(array if len(image) == 3 else array[..., 0])


def _tensor(result: Any) -> Tensor:
    """Convert what a transform returned to a plain float32 tensor (C, H, W)."""
    if not isinstance(result, Tensor):
        array = np.array(result)
        result = torch.from_numpy(array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0))
    pixels: Tensor = result.as_subclass(Tensor)  # torchvision's own subclasses become plain
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed the CPU's global generators inside the block, and put the host's states back."""
    with restored_generator(devices=[]):
        python_state, numpy_state = random.getstate(), np.random.get_state()
        # Not torch.manual_seed, which would seed the accelerators as well.
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _name(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)
