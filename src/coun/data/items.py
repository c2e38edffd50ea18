"""Items of datasets as people have them: pairs, dictionaries, and rows of Hugging Face tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from coun.data.labels import Coding, label_values
from coun.errors import CounError, first_line, unknown

IMAGES = ("image", "img", "pixel_values", "picture", "photo", "x")
LABELS = ("label", "labels", "fine_label", "target", "class", "y")


@dataclass(frozen=True)
class Pairs:
    """A map-style dataset whose items are read as pairs (image, label).

    Args:
        dataset: gives pairs, or dictionaries.
        part: "train" or "test", for errors.
        image_key, label_key: of a dictionary; None for pairs.
        coding: turns labels into class numbers.
    """

    dataset: Any
    part: str
    image_key: Any = None
    label_key: Any = None
    coding: Coding | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        item = self.dataset[row]
        if self.image_key is None:
            image, label = item
        else:
            image, label = item[self.image_key], item[self.label_key]
        if self.coding is not None:
            label = self.coding.numbers(label_values([label], self.part, row), self.part, row)[0]
        return image, label

    @property
    def targets(self) -> Any:
        """Labels of all items as the dataset lists them, coded; None where it lists none."""
        listed = listed_labels(self.dataset, self.label_key)
        if listed is None or self.coding is None:
            return listed
        return self.coding.numbers(label_values(listed, self.part), self.part)

    @classmethod
    def of(
        cls, dataset: Any, part: str, item: Any, image_key: str | None, label_key: str | None
    ) -> Any:
        """The dataset as pairs; the dataset itself if its first *item* is not a dictionary.

        Raises: CounError for a dictionary without, or with several, images or labels.
        """
        if not isinstance(item, Mapping):
            if image_key is not None or label_key is not None:
                raise CounError(
                    f"train row 0 is a {type(item).__name__}; image_column and label_column "
                    "apply to dictionaries"
                )
            return dataset
        return cls(
            dataset,
            part,
            _key(item, "image", IMAGES, image_key),
            _key(item, "label", LABELS, label_key),
        )


def listed_labels(dataset: Any, key: Any = None) -> Any:
    """The labels of all items without their images; None where the dataset lists none."""
    if key is not None:
        if hasattr(dataset, "column_names") and key in dataset.column_names:
            return list(dataset[key])
        return None
    listed = getattr(dataset, "targets", None)
    return getattr(dataset, "labels", None) if listed is None else listed


def all_labels(dataset: Any, part: str) -> np.ndarray:
    """Labels of all items, as `label_values` gives them, in one pass if they are not listed."""
    listed = listed_labels(dataset) if not isinstance(dataset, Pairs) else dataset.targets
    if listed is not None:
        return label_values(listed, part)
    labels = []
    for row in range(len(dataset)):
        try:
            labels.append(dataset[row][1])
        except Exception as error:
            raise CounError(
                f"{part} row {row} cannot be read: {type(error).__name__}: {first_line(error)}"
            ) from error
    return label_values(labels, part)


def class_names(dataset: Any, key: Any) -> Sequence[str] | None:
    """Names of the classes, where the dataset knows them."""
    if isinstance(dataset, Subset):  # also what random_split gives
        return class_names(dataset.dataset, key)
    if isinstance(dataset, ConcatDataset):
        first, *others = (class_names(part, key) for part in dataset.datasets)
        return first if all(names == first for names in others) else None
    names = getattr(dataset, "classes", None)
    if names is None and hasattr(dataset, "features") and key is not None:
        names = getattr(dataset.features.get(key), "names", None)
    return names


def _key(item: Mapping[Any, Any], what: str, usual: Sequence[str], chosen: str | None) -> Any:
    if chosen is not None:
        if chosen not in item:
            raise unknown(f"{what} column", chosen, [str(name) for name in item])
        return chosen
    hits = [name for name in usual if name in item]
    if len(hits) != 1:
        raise CounError(
            f"train row 0 is a dictionary of {', '.join(map(str, item))}; {len(hits) or 'none'} of "
            f"them may be the {what}; choose one with {what}_column=..."
        )
    return hits[0]
