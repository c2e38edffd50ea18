"""Residual networks for small images: the paper's ResNet-18 and two smaller ones."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from coun.models.parts import image_shape, init_convs


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut; (B, C, H, W) to (B, width, H/s, W/s).

    The shortcut is a 1x1 convolution with BatchNorm where the shape changes (option B of He et
    al., CVPR 2016), else the identity.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out)) + self.shortcut(x)
        return F.relu(out, inplace=True)


def _resnet(
    name: str,
    classes: int,
    shape: tuple[int, ...],
    *,
    widths: tuple[int, ...],
    blocks: int,
    stem_stride: int = 1,
) -> nn.Module:
    """A stem, one stage of *blocks* blocks for each width, and a head.

    Every stage but the first halves the height and width of the map.
    """
    channels, _, _ = image_shape(name, shape)
    stages: list[nn.Module] = []
    before = widths[0]
    for number, width in enumerate(widths):
        stage = [BasicBlock(before, width, stride=1 if number == 0 else 2)]
        stage += [BasicBlock(width, width, stride=1) for _ in range(blocks - 1)]
        stages.append(nn.Sequential(*stage))
        before = width
    net = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, widths[0], 3, stem_stride, 1, bias=False),
            bn=nn.BatchNorm2d(widths[0]),
            relu=nn.ReLU(inplace=True),
            stages=nn.Sequential(*stages),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=nn.Linear(widths[-1], classes),
        )
    )
    init_convs(net)
    return net


def resnet18(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build ResNet-18 with the stem for CIFAR, as the paper trains it.

    It has a 3x3 stem of stride 1 without a max-pool, four stages of two basic blocks (64, 128,
    256, 512 channels), a global average pool and a linear head: 11,173,962 parameters for 10
    classes and 3 channels; 555,422,720 multiply-adds (convolutions and head) at 32x32, four
    times as many at 64x64.

    Args:
        classes: K; the network maps (B, C, H, W) to logits (B, K); features are (B, 512).
        shape: (channels, height, width).

    Raises: CounError if *shape* is not that of an image.

    Source: He et al., CVPR 2016; CoUn (Khalil et al., NeurIPS 2025). Convolutions are
        initialised by kaiming_normal_(fan_out, relu), as in torchvision.
    """
    return _resnet("resnet18", classes, shape, widths=(64, 128, 256, 512), blocks=2)


def resnet20(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build the classic ResNet-20 for CIFAR: three stages of three basic blocks.

    The stages have 16, 32 and 64 channels; 272,474 parameters for 10 classes and 3 channels.

    Args: as for `resnet18`; features are (B, 64).

    Raises: CounError if *shape* is not that of an image.

    Source: He et al., CVPR 2016, section 4.2. They pad the shortcut with zeros (option A,
        269,722 parameters); here it is a 1x1 convolution with BatchNorm (option B), as in
        `resnet18`.
    """
    return _resnet("resnet20", classes, shape, widths=(16, 32, 64), blocks=3)


def resnet8(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build a network for two CPU cores: three stages of one basic block each.

    The stages have 64, 128 and 256 channels. The 3x3 stem has stride 2, so that 32x32 images
    are processed at 16x16, 8x8 and 4x4: about 1.2 million parameters, which are enough to fit
    the training set, at a quarter of the arithmetic of the same network at full resolution.

    Args: as for `resnet18`; features are (B, 256).

    Raises: CounError if *shape* is not that of an image.

    Source: none; it is not in the paper, and results on it are not comparable with published
        ones.
    """
    return _resnet("resnet8", classes, shape, widths=(64, 128, 256), blocks=1, stem_stride=2)
