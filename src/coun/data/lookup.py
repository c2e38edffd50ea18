"""Find rows in data: by their ids, or by how much their pictures look alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import regular_file
from coun.data.data_set import Data
from coun.data.examples import FETCH, Examples
from coun.data.images import FORMATS, eight_bits
from coun.data.sources import OpenedSource, Table, open_source
from coun.data.subsets import limited
from coun.errors import CounError

PARTS = ("train", "test")


@dataclass(frozen=True)
class Row:
    """One row of a source, as people read it.

    Args:
        number: its number in the source's own order.
        id: its name.
        label: the name of its class.
        part: "train" or "test".
        place: its position in that part.
        distance: from the picture that was looked for, None where none was.
        nameable: whether a request can name it by its id. The id of a test row is a mere number
            where test rows have no names, and names a training row.
    """

    number: int
    id: str
    label: str
    part: str
    place: int
    distance: float | None = None
    nameable: bool = True


def all_rows(data: Data, text: str = "") -> list[Row]:
    """List the rows whose id contains *text*, training rows first; case does not matter.

    >>> import coun
    >>> [row.id for row in all_rows(coun.load("digits"), "97")][:3]
    ['97', '197', '297']
    """
    rows = []
    for part, examples in zip(PARTS, (data.train, data.test), strict=True):
        labels, numbers = examples.labels.tolist(), examples.numbers.tolist()
        nameable = part == "train" or bool(data.named_test_rows)
        for place, name in enumerate(examples.ids):
            if text.casefold() in name.casefold():
                label = data.classes[labels[place]]
                rows.append(Row(numbers[place], name, label, part, place, nameable=nameable))
    return rows


def rows_of_source(
    spec: str, text: str = "", *, limit: int | None = None, test_limit: int | None = None,
    **options: Any,
) -> tuple[list[Row], OpenedSource]:  # fmt: skip
    """List the rows of a source as `all_rows` does, without decoding an image.

    Args: spec, limit, test_limit, options: as for `coun.load`; what is said of images, such as
        size and stream, is ignored.

    Returns: the rows, and the source.

    Raises: CounError as `coun.load` does, but not for images that cannot be used.

    >>> [row.id for row in rows_of_source("digits", "97")[0]][:3]
    ['97', '197', '297']
    """
    named = {name: value for name, value in options.items() if name not in ("size", "stream")}
    opened = open_source(spec, **named)
    content = opened.content
    if not isinstance(content, Table):
        return all_rows(limited(content, limit, test_limit), text), opened
    content.check()
    rows = []
    shown = content.kept_rows(limit, test_limit)
    for part_name, part, positions in zip(PARTS, (content.train, content.test), shown, strict=True):
        nameable = part_name == "train" or content.one_numbering or part.names is not None
        for place, position in enumerate(positions.tolist()):
            number = int(part.row_numbers[position])
            row_id = str(number) if part.names is None else part.names[position]
            if text.casefold() in row_id.casefold():
                label = content.classes[part.labels[position]]
                rows.append(Row(number, row_id, label, part_name, place, nameable=nameable))
    return rows, opened


def nearest_rows(
    data: Data,
    picture: Tensor,
    count: int,
    *,
    features: Callable[[Examples], Tensor] | None = None,
    picture_features: Tensor | None = None,
) -> list[Row]:
    """List the rows that look most like a picture, the nearest first.

    Args:
        picture: (C, H, W), of the shape and type of the data's images.
        count: how many rows.
        features: computes features of examples, (N, D), to compare instead of the pixels.
        picture_features: those of *picture*, (1, D).

    Returns: rows with their distance: the root mean square difference of pixels, or one minus
        the cosine similarity of features.

    >>> import coun
    >>> data = coun.load("digits", limit=100)
    >>> nearest_rows(data, data.train.fetch(torch.tensor([7]))[0], 1)[0].place
    7
    """
    from scipy.spatial.distance import cdist

    distances = []
    for examples in (data.train, data.test):
        if features is not None and picture_features is not None:
            distance = cdist(features(examples).numpy(), picture_features.numpy(), "cosine")
            distances.append(np.nan_to_num(distance[:, 0], nan=1.0))
            continue
        query = picture.flatten().double().numpy()[None]
        for start in range(0, len(examples), FETCH):
            slots = torch.arange(start, min(start + FETCH, len(examples)))
            pixels = examples.fetch(slots).cpu().flatten(1).double().numpy()
            distances.append(cdist(pixels, query)[:, 0] / np.sqrt(query.shape[1]))
    distance = np.concatenate(distances)
    rows = all_rows(data)
    order = np.argsort(distance, kind="stable")[:count].tolist()
    return [Row(**{**vars(rows[i]), "distance": round(float(distance[i]), 6)}) for i in order]


def read_picture(path: str | Path, data: Data) -> Tensor:
    """Read an image file as a row of *data*: (C, H, W) uint8, scaled and recoloured to fit.

    Raises: CounError if it is not an image, or if the data's rows are not images.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    file = regular_file(path)
    if data.dtype != torch.uint8 or len(data.shape) != 3:
        raise CounError("the rows of this data are not 8-bit images; pictures cannot be compared")
    channels, height, width = data.shape
    try:
        with Image.open(file, formats=FORMATS) as image:
            upright = eight_bits(ImageOps.exif_transpose(image))[0].convert(
                "L" if channels == 1 else "RGB"
            )
    except UnidentifiedImageError:
        raise CounError(f"{file} is not an image; expected {', '.join(FORMATS)}") from None
    except OSError as error:
        raise CounError(f"cannot read {file}: {error.strerror or error}") from None
    if upright.size != (width, height):
        upright = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
    array = np.asarray(upright).reshape(height, width, channels)
    return torch.from_numpy(array.transpose(2, 0, 1).copy())
