"""VGG-16 with BatchNorm and the paper's 1024-dimensional encoder head."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

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
