"""A small transformer for texts given as token ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.errors import CounError

WIDTH, HEADS, DEPTH = 64, 4, 2


class Block(nn.Module):
    """One pre-norm encoder layer, (B, T, 64) to (B, T, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.to_qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.to_out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Attend to the *present* (B, T) tokens only."""
        batch, tokens, _ = x.shape
        qkv = self.to_qkv(self.norm1(x)).view(batch, tokens, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None, :])
        middle: Tensor = x + self.to_out(out.transpose(1, 2).reshape(batch, tokens, WIDTH))
        result: Tensor = middle + self.mlp(self.norm2(middle))
        return result


class TextTransformer(nn.Module):
    """The transformer behind `text`."""

    def __init__(self, classes: int, length: int, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(length, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return logits (B, K) of token ids (B, T); the mask is 1 where a token counts."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        present = mask.bool()
        # A text without any token would have no weights to attend with.
        present = present | (~present.any(1, keepdim=True))
        x = self.tokens(input_ids) + self.positions[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x, present)
        counts = present.unsqueeze(2).to(x.dtype)
        pooled = (self.norm(x) * counts).sum(1) / counts.sum(1)
        logits: Tensor = self.head(pooled)
        return logits


def text(classes: int, shape: tuple[int, ...], vocabulary: int | None = None) -> nn.Module:
    """Build a small transformer for texts: width 64, two layers, four heads, mean pooling.

    Args:
        classes: K; the network maps token ids (B, T) and, optionally, a mask of the same shape
            to logits (B, K); features are (B, 64).
        shape: (T,), the largest number of tokens in a text.
        vocabulary: the number of token ids.

    Raises: CounError for data that are not texts.

    Source: none; it is not in the paper. It is a usual pre-norm encoder, whose embeddings are
        initialised with a deviation of 0.02 as in BERT.

    >>> network = text(2, (12,), vocabulary=100)
    >>> network(torch.zeros(3, 12, dtype=torch.int64)).shape
    torch.Size([3, 2])
    """
    if vocabulary is None or len(shape) != 1:
        raise CounError(
            f"text takes token ids, integers (T,); got rows of shape {tuple(shape)} that are no "
            "token ids"
        )
    return TextTransformer(classes, shape[0], vocabulary)
