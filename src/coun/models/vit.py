"""Vision transformers of the paper's size: the plain one, and that for small data (SPT + LSA)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.errors import CounError
from coun.models.parts import image_shape

PATCH, DIM, DEPTH, HEADS, HEAD_DIM, MLP_DIM, DROPOUT = 4, 512, 6, 12, 64, 1024, 0.1


class Patchify(nn.Module):
    """Cut (B, C, H, W) into patches, row by row, (B, HW / 16, 16 C); channels vary fastest."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, PATCH * PATCH * channels)


class Shift(nn.Module):
    """The input of Shifted Patch Tokenisation: x, and x moved right, left, down and up by a pixel.

    It maps (B, C, H, W) to (B, 5 C, H, W), in that order, with zeros at the border.

    Source: Lee, Lee and Song, 2021 (arXiv 2112.13492), section 3.1; cardinal shifts by one
        pixel as in lucidrains' vit-pytorch (the authors': four diagonals, by half a patch).
    """

    def forward(self, x: Tensor) -> Tensor:
        pads = ((1, -1, 0, 0), (-1, 1, 0, 0), (0, 0, 1, -1), (0, 0, -1, 1))
        return torch.cat([x, *(F.pad(x, pad) for pad in pads)], dim=1)


class Attention(nn.Module):
    """Pre-norm multi-head self-attention, (B, T, 512) to (B, T, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.to_qkv = nn.Linear(DIM, 3 * HEADS * HEAD_DIM, bias=False)
        self.to_out = nn.Linear(HEADS * HEAD_DIM, DIM)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Average the values (B, heads, T, d) by the scaled products of queries and keys."""
        return F.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT if self.training else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).view(batch, tokens, 3, HEADS, HEAD_DIM)
        out = self.attend(*qkv.permute(2, 0, 3, 1, 4))
        merged: Tensor = self.to_out(out.transpose(1, 2).reshape(batch, tokens, -1))
        return F.dropout(merged, DROPOUT, self.training)


class LocalityAttention(Attention):
    """Locality Self-Attention: a token does not attend to itself, and the temperature is learned.

    Source: Lee, Lee and Song, 2021 (arXiv 2112.13492), section 3.2; one log-temperature for
        each layer, initialised at log(d^-1/2), and dropout on the attention, as in lucidrains'
        vit-pytorch (the authors have one scale for each head and no attention dropout).
    """

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(math.log(HEAD_DIM**-0.5)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As `Attention.attend`, with the diagonal of the logits at -inf (False in the mask)."""
        others = ~torch.eye(q.shape[-2], dtype=torch.bool, device=q.device)
        return F.scaled_dot_product_attention(
            q * self.temperature.exp(),
            k,
            v,
            attn_mask=others,
            dropout_p=DROPOUT if self.training else 0.0,
            scale=1.0,
        )


class Block(nn.Module):
    """One encoder layer, (B, T, 512) to (B, T, 512): attention and MLP, each with a residual."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        self.mlp = nn.Sequential(
            nn.LayerNorm(DIM),
            nn.Linear(DIM, MLP_DIM),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(MLP_DIM, DIM),
            nn.Dropout(DROPOUT),
        )

    def forward(self, x: Tensor) -> Tensor:
        middle: Tensor = x + self.attention(x)
        out: Tensor = middle + self.mlp(middle)
        return out


class ViT(nn.Module):
    """The transformer behind `vit` and `vit_small_data`.

    Parameters 0 to 4 are pos_embedding, cls_token, the two of the patch LayerNorm and the
    weight of the patch Linear, as in the ViT for small data of lucidrains' vit-pytorch (its
    plain ViT has the first two the other way round). This order must not change, because NoT
    negates parameters by their numbers.
    """

    def __init__(self, name: str, classes: int, shape: tuple[int, ...], *, small: bool) -> None:
        super().__init__()
        channels, height, width = image_shape(name, shape)
        if height % PATCH or width % PATCH:
            raise CounError(
                f"{name} cuts images into {PATCH}x{PATCH} patches; got {height}x{width}: "
                f"pad or resize to a multiple of {PATCH}"
            )
        tokens = height * width // PATCH**2 + 1
        inputs = channels * PATCH**2 * (5 if small else 1)
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens, DIM))
        self.cls_token = nn.Parameter(torch.randn(1, 1, DIM))
        front: list[nn.Module] = [Shift()] if small else []
        front += [Patchify(), nn.LayerNorm(inputs), nn.Linear(inputs, DIM)]
        front += [] if small else [nn.LayerNorm(DIM)]
        self.patches = nn.Sequential(*front)
        self.dropout = nn.Dropout(DROPOUT)
        attention = LocalityAttention if small else Attention
        self.blocks = nn.Sequential(*(Block(attention()) for _ in range(DEPTH)))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x)
        first = self.cls_token.expand(len(tokens), -1, -1)
        tokens = self.dropout(torch.cat([first, tokens], dim=1) + self.pos_embedding)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)[:, 0]))
        return logits


def vit(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build a plain vision transformer with the paper's sizes.

    It has patches of 4x4, width 512, depth 6, 12 heads of 64, an MLP of 1024, dropout 0.1 (also
    on the embedding and the attention), learned position embeddings and a class token, whose
    final LayerNorm is the features. It needs 1,062,923,264 multiply-adds at 32x32 with 3
    channels and 100 classes.

    Args:
        classes: K; the network maps (B, C, H, W) to logits (B, K); features are (B, 512).
        shape: (channels, height, width), both sides divisible by 4.

    Raises: CounError if *shape* is not that of an image, or a side is not a multiple of 4.

    Source: Dosovitskiy et al., ICLR 2021, in the layout of lucidrains' vit-pytorch; sizes from
        CoUn (Khalil et al., NeurIPS 2025). The paper cites the small-data transformer, so
        `vit_small_data` is the nearer reading of its experiments; its pooling is not stated.
    """
    return ViT("vit", classes, shape, small=False)


def vit_small_data(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build `vit` with Shifted Patch Tokenisation and Locality Self-Attention.

    The image and four copies moved by one pixel (5 C channels) are cut into patches; each
    layer learns one temperature and masks the diagonal of its attention. It needs
    1,069,214,720 multiply-adds at 32x32 with 3 channels and 100 classes, counting all matrix
    products, those of the attention included.

    Args: as for `vit`.

    Raises: CounError if *shape* is not that of an image, or a side is not a multiple of 4.

    Source: Lee, Lee and Song, 2021 (arXiv 2112.13492), as in lucidrains' vit-pytorch; sizes
        from CoUn (Khalil et al., NeurIPS 2025). The authors' own repository shifts by half a
        patch along the four diagonals, learns one scale for each head and has no
        dropout on the attention.
    """
    return ViT("vit-spt-lsa", classes, shape, small=True)
