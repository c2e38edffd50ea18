"""How a network takes a batch: a tensor of numbers as it is, token ids with their mask."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def run(model: nn.Module, batch: Tensor) -> Any:
    """Run *model* on a batch, and return what it returns.

    Token ids (B, T) int64, where negative ids are padding, are given to the model with the
    `pad_token_id` of its `config` in place of the padding, as models of Hugging Face have it, or
    0. A model whose forward has an argument `attention_mask` gets the mask as well: 1 where there
    is a token, int64. A model whose `config` says that it classifies by the last place
    (`summary_type`, as XLNet's does) gets the padding before the tokens, as its tokenizer puts it.

    >>> class Counts(nn.Module):
    ...     def forward(self, input_ids, attention_mask):
    ...         return attention_mask.sum(1)
    >>> run(Counts(), torch.tensor([[4, 2, -1], [1, -1, -1]]))
    tensor([2, 1])
    """
    if batch.dtype != torch.int64 or getattr(model, "takes_padding", False):
        return model(batch)
    config = getattr(model, "config", None)
    if getattr(config, "summary_type", None) == "last":
        batch = _padding_first(batch)
    names = _arguments(type(model).forward)
    masks = {"attention_mask": (batch >= 0).long()} if "attention_mask" in names else {}
    # Some models compute positions, or where a text ends, from this token and not from the mask.
    padding = getattr(config, "pad_token_id", None)
    tokens = torch.where(batch < 0, padding if isinstance(padding, int) else 0, batch)
    if "input_ids" in names:
        return model(input_ids=tokens, **masks)
    return model(tokens, **masks)


def _padding_first(batch: Tensor) -> Tensor:
    """Move the padding of each row before its tokens, whose order stays."""
    return batch.gather(1, (batch >= 0).int().argsort(dim=1, stable=True))


@cache
def _arguments(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)
