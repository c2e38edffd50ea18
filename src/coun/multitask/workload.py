"""A workload of three tasks that needs no data beyond CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from coun.data import Data, TensorExamples, Views
from coun.errors import CounError
from coun.multitask.tasks import MultiTaskData, Tasks
from coun.seeds import Seeds

VEHICLES = frozenset({"airplane", "automobile", "ship", "truck"})
TURNS = 4  # rotations by 0, 90, 180 and 270 degrees


def three_tasks(data: Data, *, vehicles: frozenset[str] = VEHICLES, seed: int = 0) -> MultiTaskData:
    """Give the rows of *data* three tasks: class, kind (vehicle or animal) and rotation.

    Every image is turned once, by a multiple of 90 degrees that is drawn with *seed*. Views no
    longer flip images, because the mirror image of a turned image is turned the other way.

    Args:
        data: square images in memory, with coun's own views.
        vehicles: classes whose kind is 1; all others have kind 0.

    Raises: CounError for data of another kind, or without two kinds of classes.

    >>> import coun
    >>> workload = three_tasks(coun.load("digits", limit=20), vehicles=frozenset("01234"))
    >>> workload.tasks.names, workload.tasks.sizes
    (('class', 'kind', 'rotation'), (10, 2, 4))
    """
    if not isinstance(data.views, Views) or len(data.shape) != 3 or data.shape[1] != data.shape[2]:
        raise CounError("three_tasks turns images; expected square images in memory")
    kinds = torch.tensor([int(name in vehicles) for name in data.classes])
    if kinds.unique().numel() != 2:  # type: ignore[no-untyped-call]
        raise CounError(
            f"vehicles are {', '.join(sorted(vehicles))}, but the classes are "
            f"{', '.join(data.classes)}; expected some of them, and not all"
        )
    parts: dict[str, TensorExamples] = {}
    labels: dict[str, Tensor] = {}
    for name, part in (("train", data.train), ("test", data.test)):
        if not isinstance(part, TensorExamples):
            raise CounError("three_tasks needs data in memory, but this source is streamed")
        generator = Seeds(seed).torch("rotation", name)
        turns = torch.randint(TURNS, (len(part),), generator=generator)
        images = part.images.clone()
        for turn in range(1, TURNS):
            images[turns == turn] = torch.rot90(images[turns == turn], turn, (-2, -1))
        parts[name] = replace(part, images=images)
        labels[name] = torch.stack([part.labels, kinds[part.labels], turns], 1)
    views = replace(data.views, letters=data.views.letters.replace("H", ""))
    tasks = Tasks(
        ("class", "kind", "rotation"),
        (len(data.classes), 2, TURNS),
        labels["train"],
        labels["test"],
    )
    turned = replace(data, train=parts["train"], test=parts["test"], views=views, source="")
    return MultiTaskData(turned, tasks)
