"""Texts of different lengths as one tensor of token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import check_labels, checked_ids
from coun.data.data_set import Data
from coun.data.examples import TensorExamples
from coun.data.items import class_names
from coun.data.labels import coding, label_values
from coun.data.row_views import TokenViews
from coun.data.views import Transform
from coun.errors import CounError

TOKENS, MASK, SEGMENTS = "input_ids", "attention_mask", "token_type_ids"
PADDING = -1
MOST_TOKENS = 10_000_000  # tokenizers know a million at most


def padded(
    texts: Sequence[Sequence[int]], masks: Sequence[Sequence[int]] | None, length: int
) -> Tensor:
    """Pad or cut texts to *length* tokens.

    Args:
        texts: token ids of each text.
        masks: for each text 1 where a token counts and 0 where it is padding, as tokenizers
            return them; without masks all tokens count.

    Returns: token ids (N, length) int64, with -1 for padding.

    Raises: CounError for a negative token id, and for a mask of another length than its text.

    >>> padded([[5, 6, 7], [8, 0]], [[1, 1, 1], [1, 0]], 4)
    tensor([[ 5,  6,  7, -1],
            [ 8, -1, -1, -1]])
    """
    if length < 1:
        raise CounError(f"the length of texts is {length}; expected at least 1 token")
    result = torch.full((len(texts), length), PADDING)
    for row, text in enumerate(texts):
        tokens = torch.as_tensor(text[:length], dtype=torch.int64)
        if len(tokens) and int(tokens.min()) < 0:
            raise CounError(f"row {row} has the token id {int(tokens.min())}; expected 0 or more")
        if masks is not None:
            if len(masks[row]) != len(text):
                raise CounError(
                    f"row {row} has {len(text)} token ids but a mask of {len(masks[row])}; "
                    "expected the same number"
                )
            mask = torch.as_tensor(masks[row][:length]) == 0
            tokens = tokens.masked_fill(mask, PADDING)
        result[row, : len(tokens)] = tokens
    return result


def vocabulary_of(*parts: TensorExamples) -> int:
    """The number of token ids: the largest one plus one.

    Raises: CounError for a number that is hardly a token id, because a model has weights for each.
    """
    largest = max(int(part.images.max()) for part in parts)
    if largest >= MOST_TOKENS:
        raise CounError(
            f"a token id is {largest:,}; expected ids below {MOST_TOKENS:,}, as a tokenizer gives "
            "them"
        )
    return largest + 1


def is_tokenized(item: Any) -> bool:
    """Tell whether an item of a dataset is a dictionary with token ids."""
    return isinstance(item, Mapping) and TOKENS in item


def from_tokenized(
    train: Any,
    test: Any,
    *,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    test_ids: Sequence[str] | None = None,
    views: Transform | None = None,
) -> Data:
    """Make data from datasets whose items are dicts, as Hugging Face tokenizers give them.

    Args:
        train, test: `len(d)`, and `d[i]` with "input_ids", optionally "attention_mask", and
            "label" or "labels", text or integers as for `coun.from_arrays`.
        classes: names; by default those of a `ClassLabel` feature, else the labels.
        ids, test_ids: a unique name per row; by default its row number.
        views: by default `TokenViews`.

    Raises: CounError for an item without token ids or label.

    >>> items = [{"input_ids": [4, 7], "label": 0}, {"input_ids": [5, 6, 8], "label": 1}]
    >>> from_tokenized(items, items).shape
    (3,)
    """
    parts = [
        _Tokenized.of(part, name, names)
        for part, name, names in ((train, "train", ids), (test, "test", test_ids))
    ]
    key = "label" if "label" in train[0] else "labels"
    labels = coding(parts[0].labels, classes or class_names(train, key))
    numbers = [labels.numbers(part.labels, part.part) for part in parts]
    check_labels(numbers[0], numbers[1], labels.classes)
    length = max(len(text) for part in parts for text in part.texts)
    first, second = (
        part.examples(length, values) for part, values in zip(parts, numbers, strict=True)
    )
    return Data(
        first,
        second,
        labels.classes,
        views or TokenViews(),
        notes=(labels.note,) if labels.note else (),
        vocabulary=vocabulary_of(first, second),
    )


@dataclass(frozen=True)
class _Tokenized:
    part: str
    texts: list[list[int]]
    masks: list[list[int]] | None
    labels: np.ndarray
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, dataset: Any, part: str, ids: Sequence[str] | None) -> _Tokenized:
        texts, masks, labels = [], [], []
        for row in range(len(dataset)):
            item = dataset[row]
            label = item.get("label", item.get("labels"))
            if TOKENS not in item or label is None:
                raise CounError(
                    f"{part} row {row} has {', '.join(map(str, item))}; expected {TOKENS} and label"
                )
            texts.append(_integers(item[TOKENS]))
            masks.append(_integers(item[MASK]) if MASK in item else [1] * len(texts[-1]))
            labels.append(label)
            if any(_integers(item.get(SEGMENTS, ()))):
                raise CounError(second_text(f"{part} row {row}"))
        names = None if ids is None else checked_ids(ids, len(texts))
        return cls(part, texts, masks, label_values(labels, part), names)

    def examples(self, length: int, numbers: np.ndarray) -> TensorExamples:
        labels = torch.from_numpy(numbers)
        tokens = padded(self.texts, self.masks, length)
        return TensorExamples(tokens, labels, torch.arange(len(labels)), self.names)


def second_text(where: str) -> str:
    """Say that *where* a second text was found, which would be lost."""
    return f"{where} marks a second text in {SEGMENTS}, which would be lost; expected one text"


def _integers(values: Any) -> list[int]:
    return [int(value) for value in values]
