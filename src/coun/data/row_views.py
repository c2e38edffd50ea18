"""Views of rows that are not images: rows of a table, and token ids of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coun.data.views import Transform
from coun.errors import CounError


@dataclass(frozen=True)
class TableViews:
    """Leave rows of a table as they are; a contrastive loss sees a second view with other values.

    Args:
        widths: the number of inputs of each column, in order: 1 for numbers, one for each
            category of a column of text. Empty means that every input is a column.
        share: of the columns that the second view changes, 0 < share < 1.

    >>> TableViews().evaluate(torch.ones(2, 3, dtype=torch.float64)).dtype
    torch.float32
    """

    widths: tuple[int, ...] = ()
    share: float = 0.6

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return *rows* (B, D) as float32, without any change."""
        return self.evaluate(rows)

    def evaluate(self, rows: Tensor) -> Tensor:
        """Return *rows* (B, D) as float32."""
        return rows.float()

    def second_view(self, share: float | None = None) -> Transform:
        """Return the transform of the second view, which changes *share* of the columns."""
        return FeatureCorruption(self.widths, self.share if share is None else share)


@dataclass(frozen=True)
class FeatureCorruption:
    """Replace some columns of each row by the values that other rows of the batch have there.

    All inputs of a column of categories come from the same row, so the result is a category.

    Args:
        widths: as of `TableViews`.
        share: of the columns that are replaced, rounded, at least one; they are drawn for each
            row.

    Source: SCARF (Bahri, Jiang, Tay and Metzler, ICLR 2022), Algorithm 1, with its rate 0.6:
        the second view is corrupted, the first is not. SCARF draws values from all training
        rows. Here they come from the batch, which has the same distribution, so that no value
        of a forgotten row enters a retained one.

    >>> rows = torch.arange(8.0).reshape(4, 2)
    >>> corrupted = FeatureCorruption(share=0.5)(rows, torch.Generator().manual_seed(0))
    >>> (corrupted != rows).sum(1).max()
    tensor(1)
    """

    widths: tuple[int, ...] = ()
    share: float = 0.6

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return a corrupted copy of *rows* (B, D), float32.

        Raises: CounError if *rows* have another number of inputs than the columns.
        """
        if rows.ndim != 2 or (self.widths and sum(self.widths) != rows.shape[1]):
            expected = sum(self.widths) or "D"
            raise CounError(
                f"a batch has shape {tuple(rows.shape)}; expected (B, {expected}), rows of a table"
            )
        count, widths = len(rows), torch.tensor(self.widths or (1,) * rows.shape[1])
        columns = len(widths)
        chosen = max(1, round(self.share * columns))
        ranks = torch.rand(count, columns, generator=generator).argsort(1).argsort(1)
        donors = torch.randint(count, (count, columns), generator=generator)
        itself = torch.arange(count)[:, None]
        sources = torch.where(ranks < chosen, donors, itself).repeat_interleave(widths, dim=1)
        return rows.float().gather(0, sources.to(rows.device))

    def evaluate(self, rows: Tensor) -> Tensor:
        """Return *rows* (B, D) as float32, without any change."""
        return rows.float()


@dataclass(frozen=True)
class TokenViews:
    """Leave texts as they are; a contrastive loss sees a second view without some tokens.

    Texts are token ids (B, T), int64. Negative ids are padding.

    Args:
        share: of the tokens of a text that the second view hides, 0 < share < 1.
        mask_token: the id that stands for a hidden token, as [MASK] of BERT; None removes
            hidden tokens from attention, as padding.

    >>> TokenViews().evaluate(torch.tensor([[5, 7, -1]]))
    tensor([[ 5,  7, -1]])
    """

    share: float = 0.15
    mask_token: int | None = None

    def __call__(self, texts: Tensor, generator: torch.Generator) -> Tensor:
        """Return *texts* (B, T) without any change."""
        return texts

    def evaluate(self, texts: Tensor) -> Tensor:
        """Return *texts* (B, T) without any change."""
        return texts

    def second_view(self, share: float | None = None) -> Transform:
        """Return the transform of the second view, which hides *share* of the tokens."""
        return TokenDropout(self.share if share is None else share, self.mask_token)


@dataclass(frozen=True)
class TokenDropout:
    """Hide some tokens of each text.

    Each token but the first, which many networks read as a summary, is hidden with the same
    probability.

    Args:
        share: that probability.
        mask_token: as of `TokenViews`.

    Source: token dropout and masking as of Wu et al., CLEAR (arXiv 2012.15466), and of BERT
        (Devlin et al., 2019), whose rate is 0.15.

    >>> texts = torch.tensor([[5, 6, 7, 8, -1]])
    >>> TokenDropout(0.5)(texts, torch.Generator().manual_seed(0))
    tensor([[ 5,  6, -1, -1, -1]])
    """

    share: float = 0.15
    mask_token: int | None = None

    def __post_init__(self) -> None:
        _check_share(self.share)

    def __call__(self, texts: Tensor, generator: torch.Generator) -> Tensor:
        """Return *texts* (B, T) with some tokens hidden."""
        hidden = torch.rand(texts.shape, generator=generator).to(texts.device) < self.share
        hidden[:, 0] = False
        hidden &= texts >= 0
        return texts.masked_fill(hidden, -1 if self.mask_token is None else self.mask_token)

    def evaluate(self, texts: Tensor) -> Tensor:
        """Return *texts* (B, T) without any change."""
        return texts


def default_views(shape: tuple[int, ...], dtype: torch.dtype) -> Transform | None:
    """Return the views of rows that are not images: of texts or of tables; None for others."""
    if dtype == torch.int64:
        return TokenViews()
    return TableViews() if dtype.is_floating_point and len(shape) == 1 else None


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise CounError(f"the share that the second view changes is {share}; expected 0..1")
