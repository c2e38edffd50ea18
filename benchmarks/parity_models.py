"""The comparisons of parity.py with networks of others, after copying the weights."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from parity_common import Case, Line, differences, module_of, on_the_cpu
from torch import Tensor, nn
from torch.nn import functional as F

from coun.models import vit as our_vit
from coun.models.resnet import resnet18, resnet20
from coun.models.vgg import vgg16

SHAPE, CLASSES, ROWS = (3, 32, 32), 10, 8


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, *SHAPE, generator=generator, dtype=torch.float64).to(dtype)


def built(make: Callable[[], nn.Module]) -> nn.Module:
    """A network in float64, always with the same weights; BatchNorm has seen a batch."""
    torch.manual_seed(0)
    model = make().double().train()
    with torch.no_grad():
        model(images())
    return model


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def copied(source: nn.Module, target: nn.Module) -> nn.Module:
    """Put all weights and buffers of *source* into *target*, in the order of registration."""
    pairs = zip(source.state_dict().values(), target.state_dict().items(), strict=True)
    target.double().load_state_dict({key: value.view(old.shape) for value, (key, old) in pairs})
    return target


def same_outputs(
    what: str, name: str, ours: nn.Module, theirs: nn.Module, words: str = ""
) -> Iterator[Line]:
    """Compare logits in evaluation mode, and the gradient of all weights in training mode.

    Dropout is switched off, because each side draws it in its own order.
    """
    for module in (*ours.modules(), *theirs.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    outputs, gradients = [], []
    for model in (ours, theirs):
        with torch.no_grad():
            outputs.append(model.eval()(images()))
        model.train().zero_grad()
        labels = torch.arange(ROWS) % outputs[-1].shape[1]
        with patch.object(our_vit, "DROPOUT", 0.0):
            F.cross_entropy(model(images()), labels).backward()
        gradients.append([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    assert count(ours) == count(theirs)
    words = "; ".join(text for text in (f"{count(ours):,} parameters", words) if text)
    yield Line(f"{what}: logits", name, *differences(*outputs), words)
    sides = [torch.cat(sorted_by_size(part)) for part in gradients]
    yield Line(f"{what}: gradients of all weights", name, *differences(*sides))


def sorted_by_size(parts: Sequence[Tensor]) -> list[Tensor]:
    """*parts* by their number of entries and their length, which no order of registration moves."""
    return sorted(parts, key=lambda part: (part.numel(), float(part.norm())))


def torchvision_networks(torchvision: Any, c: Case) -> Iterator[Line]:
    """ResNet-18 with the stem for small images, and the convolutions of VGG-16-BN."""
    ours = built(lambda: resnet18(CLASSES, SHAPE))
    theirs = torchvision.models.resnet18(num_classes=CLASSES)
    theirs.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    theirs.maxpool = nn.Identity()
    words = "its stem replaced by a 3x3 convolution without a pool"
    yield from same_outputs("`resnet18`", "torchvision", ours, copied(ours, theirs), words)
    ours = built(lambda: vgg16(CLASSES, SHAPE))
    theirs = torchvision.models.vgg16_bn(num_classes=CLASSES)
    theirs.classifier = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, CLASSES))
    theirs.avgpool = nn.AdaptiveAvgPool2d(1)
    words = "its classifier replaced by the encoder head of CoUn"
    yield from same_outputs("`vgg16`", "torchvision", ours, copied(ours, theirs), words)


def resnet_20(folder: Path, c: Case) -> Iterator[Line]:
    with on_the_cpu():
        script = module_of(folder / "models/ResNets.py")
        block = lambda *values: script.BasicBlock(*values, option="B")  # noqa: E731
        block.expansion = 1  # type: ignore[attr-defined]
        theirs = script.ResNets(block, [3, 3, 3], num_classes=CLASSES)
    theirs.normalize = nn.Identity()
    ours = built(lambda: resnet20(CLASSES, SHAPE))
    words = "with its shortcuts of option B; without its layer that normalises"
    yield from same_outputs("`resnet20`", "Unlearn-Sparse", ours, copied(ours, theirs), words)


SIZES = {"image_size": 32, "patch_size": 4, "num_classes": CLASSES, "dim": our_vit.DIM,
         "depth": our_vit.DEPTH, "heads": our_vit.HEADS, "dim_head": our_vit.HEAD_DIM,
         "mlp_dim": our_vit.MLP_DIM}  # fmt: skip


def vit(folder: Path, c: Case) -> Iterator[Line]:
    """Both transformers, and which weights NoT negates by their numbers."""
    name = "vit-pytorch"
    for what, stem, make in (
        ("`vit`", "vit", our_vit.vit),
        ("`vit-spt-lsa`", "vit_for_small_dataset", our_vit.vit_small_data),
    ):
        theirs = module_of(folder / f"vit_pytorch/{stem}.py", f"other_{stem}").ViT(**SIZES)
        ours = built(lambda: make(CLASSES, SHAPE))  # noqa: B023
        copied_by_name(ours, theirs.double())
        yield from same_outputs(what, name, ours, theirs)
        mine, other = (list(m.parameters()) for m in (ours, theirs))
        wrong = sum(not torch.equal(mine[k].flatten(), other[k].flatten()) for k in (0, 4))
        words = "in theirs the class token is parameter 0, and the position embedding 1" * bool(
            wrong
        )
        what = f"{what}: of parameters 0 and 4, which NoT negates, those that differ"
        yield Line(what, name, float(wrong), wrong / 2, words)


def copied_by_name(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of a transformer by the places of its modules."""
    front = (
        "to_patch_embedding"
        if hasattr(target.transformer, "norm")
        else ("to_patch_embedding.to_patch_tokens")
    )
    first = 2 if source.patches[0].__class__ is our_vit.Shift else 1  # after what has no weights
    places = {f"patches.{k + first - 1}": f"{front}.{k}" for k in (1, 2, 3)}
    for k in range(our_vit.DEPTH):
        places[f"blocks.{k}.attention.to_out"] = f"transformer.layers.{k}.0.to_out.0"
        places[f"blocks.{k}.attention"] = f"transformer.layers.{k}.0"
        places[f"blocks.{k}.mlp"] = f"transformer.layers.{k}.1.net"
    plain = hasattr(target.transformer, "norm")
    places["norm"] = "transformer.norm" if plain else "mlp_head.0"
    places["head"] = "mlp_head" if plain else "mlp_head.1"
    weights = dict(target.named_parameters())
    with torch.no_grad():
        for key, value in source.named_parameters():
            place = next((p for p in places if key.startswith(f"{p}.")), "")
            there = weights[places[place] + key.removeprefix(place) if place else key]
            there.copy_(value.view(there.shape))


def spt_lsa(folder: Path, c: Case) -> Iterator[Line]:
    """The parts by which the authors' transformer for small data differs from the plain one."""
    name = "SPT_LSA_ViT"
    stubs = {"utils": types.ModuleType("utils"), "utils.drop_path": types.ModuleType("drop_path")}
    stubs["utils.drop_path"].DropPath = nn.Identity  # type: ignore[attr-defined]
    package = types.ModuleType("other_spt")
    package.__path__ = [str(folder / "models")]
    stubs["other_spt"] = package
    shift = module_of(folder / "models/SPT.py", "other_spt.SPT", stubs)
    script = module_of(folder / "models/vit.py", "other_spt.vit", {**stubs, "other_spt.SPT": shift})
    tokens = 64
    torch.manual_seed(0)
    ours = our_vit.LocalityAttention().double().eval()
    theirs = script.Attention(our_vit.DIM, tokens, our_vit.HEADS, our_vit.HEAD_DIM, is_LSA=True)
    theirs.double()
    x = torch.randn(
        ROWS, tokens + 1, our_vit.DIM, generator=torch.Generator().manual_seed(1),
        dtype=torch.float64,
    )  # fmt: skip
    with torch.no_grad():
        theirs.to_qkv.weight.copy_(ours.to_qkv.weight)
        theirs.to_out[0].load_state_dict(ours.to_out.state_dict())
        theirs.scale.fill_(float(ours.temperature.exp()))
        sides = ours(x), theirs(ours.norm(x))
    words = "with one scale for all heads, and no dropout"
    yield Line("locality self-attention", name, *differences(*sides), words)
    pixels = images()
    with torch.no_grad():
        sides = our_vit.Shift()(pixels), shift.PatchShifting(our_vit.PATCH)(pixels)
    words = (
        "theirs moves the image along the diagonals by half a patch, ours to the four sides by a "
        "pixel, as vit-pytorch does"
    )
    yield Line("shifted patch tokenisation: the shifted images", name, *differences(*sides), words)
