"""Image transforms of other libraries as views, by stand-ins that draw as those do."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

import coun
from coun.data.transforms import TransformViews, as_views

MEAN, STD = 0.4, 0.2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(count, channels=3, side=8):
    shape = (count, channels, side, side)
    return torch.randint(0, 256, shape, generator=generator(9), dtype=torch.uint8)


def to_tensor(image):
    """Like torchvision's ToTensor: a PIL image to float (C, H, W) in 0..1."""
    array = np.array(image)
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255


class CropFlip(nn.Module):
    """Like torchvision's v2: a module that draws from torch's global generator."""

    def forward(self, *inputs):
        (image,) = inputs
        assert isinstance(image, Image.Image)
        top, left = torch.randint(0, 3, (2,)).tolist()
        image = image.crop((left, top, left + 6, top + 6))
        if torch.rand(1) < 0.5:
            image = ImageOps.mirror(image)
        return (to_tensor(image) - MEAN) / STD


def middle(image):
    return (to_tensor(image.crop((1, 1, 7, 7))) - MEAN) / STD


class Album:
    """Like albumentations: keywords only, and generators of its own."""

    def __init__(self, seeded=True):
        self.random = np.random.default_rng()
        if seeded:
            self.set_random_seed = lambda seed: setattr(self, "random", np.random.default_rng(seed))

    def __call__(self, *args, force_apply=False, **data):
        if args:
            raise KeyError("You have to pass data to augmentations as named arguments")
        image = data["image"]
        assert isinstance(image, np.ndarray)
        draw = self.random.random() if hasattr(self, "set_random_seed") else np.random.random()
        if draw + random.random() < 1:
            image = image[:, ::-1]
        return {"image": ((image / 255 - MEAN) / STD).astype(np.float32)}


PAIRS = {
    "torchvision": (CropFlip(), middle),
    "albumentations": (Album(), Album()),
    "older albumentations": (Album(seeded=False), Album(seeded=False)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_views_are_a_function_of_the_generator_and_leave_the_host_alone(name):
    views, images = as_views(PAIRS[name]), images_of(40)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, again = (views(images, generator(1)) for _ in range(2))
    other = views(images, generator(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(views.evaluate(images), views.evaluate(images))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert states[2] == np.random.get_state()[1].tolist()


def test_each_image_has_its_own_draw():
    actual = TransformViews(CropFlip(), middle)(images_of(1).expand(60, -1, -1, -1), generator())
    assert len(actual.unique(dim=0)) > 10


def test_a_global_draw_between_two_batches_changes_nothing():
    views, images, rng = TransformViews(CropFlip(), middle), images_of(5), generator(3)
    expected = [views(images, rng) for _ in range(2)]
    rng = generator(3)
    first = views(images, rng)
    torch.rand(7)
    assert torch.equal(first, expected[0])
    assert torch.equal(views(images, rng), expected[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_type_of_result_means_the_same_pixels(channels):
    images = images_of(4, channels)
    expected = images.float() / 255
    for image_type, transform in [
        ("pil", lambda x: x),
        ("pil", to_tensor),
        ("pil", np.array),
        ("tensor", lambda x: x),
        ("tensor", lambda x: x.float() / 255),
        ("array", lambda *, image: {"image": image}),
        ("array", lambda *, image: {"image": torch.from_numpy(image).permute(2, 0, 1)}),
    ]:
        views = TransformViews(transform, transform, image_type)
        assert torch.equal(views.evaluate(images), expected)
        assert torch.equal(views(images, generator()), expected)
    by_keyword = TransformViews(lambda *, image: {"image": image}, lambda x: x)
    assert torch.equal(by_keyword(images, generator()), expected)


def test_float_images_reach_the_transform_as_tensors():
    images = torch.rand(3, 2, 5, 4)
    assert torch.equal(TransformViews(torch.neg, torch.neg).evaluate(images), -images)


def test_a_transform_trains_a_model_and_resumes_to_the_same_bits(small):
    def shifted(image):
        return (to_tensor(image) - 0.5 + 0.1 * torch.rand(1)) / 0.5

    views = shifted, lambda image: (to_tensor(image) - 0.5) / 0.5
    assert isinstance(replace(small, views=views).views, TransformViews)
    runs = []
    for _ in range(2):
        torch.rand(3)
        runs.append(coun.train(replace(small, views=views), "cnn", epochs=1).model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(*(r.values() for r in runs), strict=True))


def test_data_in_python_take_a_pair_of_transforms():
    images, labels = images_of(6).numpy(), [0, 1] * 3
    data = coun.from_arrays(images, labels, images, labels, views=(CropFlip(), middle))
    assert data.views.evaluate(data.test.images).shape == (6, 3, 6, 6)
    pairs = list(zip(images, labels, strict=True))
    streamed = coun.from_dataset(pairs, pairs, views=[CropFlip(), middle])
    assert torch.equal(
        streamed.views.evaluate(streamed.test.images), data.views.evaluate(data.test.images)
    )
    with pytest.raises(coun.CounError, match="training transform, test transform"):
        coun.from_arrays(images, labels, images, labels, views=CropFlip())


def test_what_cannot_be_views_is_refused(refused):
    with refused("views are CropFlip", "views=(training transform, test transform)"):
        as_views(CropFlip)
    with refused("views are str", "expected"):
        as_views("CHN")
    wrong = TransformViews(lambda image: image.no_such_thing, middle)
    with refused("fails on an image of shape (3, 8, 8) given as pil", "image_type="):
        wrong(images_of(2), generator())
    sizes = iter([6, 5])
    ragged = TransformViews(lambda image: image.crop((0, 0, 6, next(sizes))), middle)
    with refused("(3, 5, 6) and (3, 6, 6)", "one shape"):
        ragged(images_of(2), generator())
    with refused("has no PIL image"):
        TransformViews(middle, middle, "pil").evaluate(torch.rand(2, 3, 8, 8))
