"""A small convolutional network for trials and tests."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from coun.models.parts import image_shape, init_convs


def cnn(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build a small convolutional network for images of 8x8 to 32x32.

    It has three 3x3 convolutions (32, 64, 128 channels; the last two with stride 2), each with
    BatchNorm and ReLU, an average pool, Linear(128) with ReLU, and the head: 110,698 parameters
    for 10 classes and one channel. It learns scikit-learn's digits in seconds.

    Args:
        classes: K; the network maps (B, C, H, W) to logits (B, K); features are (B, 128).
        shape: (channels, height, width).

    Raises: CounError if *shape* is not that of an image.

    Source: none; it is not in the paper. Convolutions are initialised by
        kaiming_normal_(fan_out, relu).
    """
    channels, _, _ = image_shape("cnn", shape)
    layers: list[nn.Module] = []
    for out, stride in ((32, 1), (64, 2), (128, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)]
        layers += [nn.ReLU(inplace=True)]
        channels = out
    net = nn.Sequential(
        OrderedDict(
            convs=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            encoder=nn.Linear(channels, 128),
            relu=nn.ReLU(inplace=True),
            head=nn.Linear(128, classes),
        )
    )
    init_convs(net)
    return net
