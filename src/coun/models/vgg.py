"""Plain stacks of convolutions: the paper's VGG-16 with BatchNorm, and a small network."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from coun.errors import CounError
from coun.models.parts import image_shape, init_convs

# Output channels of the convolutions; a max-pool follows each group.
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build VGG-16-BN: 13 convolutions with BatchNorm, five max-pools, a 1024-d encoder head.

    The convolutions need 313,196,544 multiply-adds at 32x32; there are 15,258,698 parameters
    for 10 classes and 3 channels. The last map is averaged to 1x1, so larger images work too.
    For smaller images, a pool is left out once a side of the map is 1: 8x8 images have three.

    Args:
        classes: K; the network maps (B, C, H, W) to logits (B, K); features are (B, 1024).
        shape: (channels, height, width).

    Raises: CounError if *shape* is not that of an image.

    Source: Simonyan and Zisserman, ICLR 2015; CoUn (Khalil et al., NeurIPS 2025), which only
        says "a 1024-dimensional encoder head": taken here as ReLU(Linear(512, 1024)), without
        dropout, before the linear head. SalUn's VGG has Linear(512, K) alone. The
        convolutions have a bias, as in torchvision's vgg16_bn (before BatchNorm it has no
        effect). Convolutions are initialised by kaiming_normal_(fan_out, relu), biases by 0.
    """
    channels, height, width = image_shape("vgg16", shape)
    side = min(height, width)
    layers: list[nn.Module] = []
    for stage in _STAGES:
        for out in stage:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out)]
            layers += [nn.ReLU(inplace=True)]
            channels = out
        if side > 1:
            layers.append(nn.MaxPool2d(2))
            side //= 2
    net = nn.Sequential(
        OrderedDict(
            convs=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            encoder=nn.Linear(512, 1024),
            relu=nn.ReLU(inplace=True),
            head=nn.Linear(1024, classes),
        )
    )
    init_convs(net)
    return net


def vgg7_wide(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build `vgg7` with its published widths, which learns all of CIFAR-10 in a minute on a GPU.

    The blocks have 64, 256 and 256 channels: 2.0 million parameters and 123 million multiply-adds
    at 32x32.

    Args: as for `vgg7`.

    Raises: as `vgg7`.

    Source: as for `vgg7`, with the same differences, but for the widths.
    """
    return vgg7(classes, shape, widths=(64, 256, 256))


def vgg7(
    classes: int, shape: tuple[int, ...], *, widths: tuple[int, int, int] = (64, 128, 256)
) -> nn.Module:
    """Build a network that learns all of CIFAR-10 in few epochs on two CPU cores.

    A 2x2 convolution with 32 channels is followed by three blocks of 64, 128 and 256 channels. A
    block has two 3x3 convolutions with BatchNorm and ReLU, and a 2x2 max-pool after the first one;
    the maximum over the last map goes to the head. 1.2 million parameters and 70 million
    multiply-adds at 32x32, an eighth of those of `resnet18`.

    Args: as for `vgg16`; features are (B, 256). As there, small images have fewer pools.
        widths: channels of the three blocks.

    Raises: CounError if *shape* is not that of an image, or the image is too small.

    Source: the layout of the networks of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"
        (arXiv 2404.00498), which have 64, 256 and 256 channels. As there, the first entries of a
        3x3 convolution are the identity ("dirac") at the start. Its first layer is fixed and made
        from the training images (whitened), its activation is GELU and its last layer is scaled;
        here the first layer is learned, the activation is ReLU, and nothing is scaled. It is not
        in the CoUn paper.
    """
    channels, height, width = image_shape("vgg7", shape)
    side = min(height, width) - 1  # of the map behind the first convolution
    if side < 1:
        raise CounError(f"vgg7 got images of {height}x{width} pixels; expected 2x2 or more")
    layers: list[nn.Module] = []

    def add(out: int, kernel: int, *, pool: bool = False) -> None:
        nonlocal channels
        padding = 1 if kernel == 3 else 0
        layers.append(nn.Conv2d(channels, out, kernel, padding=padding, bias=False))
        layers.extend([nn.MaxPool2d(2)] if pool else [])
        layers.extend([nn.BatchNorm2d(out), nn.ReLU(inplace=True)])
        channels = out

    add(32, 2)
    for out in widths:
        add(out, 3, pool=side > 1)
        add(out, 3)
        side //= 2
    for layer in layers[1:]:
        if isinstance(layer, nn.Conv2d):
            nn.init.dirac_(layer.weight.data[: layer.in_channels])
    return nn.Sequential(
        OrderedDict(
            convs=nn.Sequential(*layers),
            pool=nn.AdaptiveMaxPool2d(1),
            flatten=nn.Flatten(),
            head=nn.Linear(channels, classes),
        )
    )
