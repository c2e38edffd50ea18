"""The data sets of the paper: where they come from, and whether a copy of them is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coun.data.checks import regular_file
from coun.data.data_set import Data
from coun.data.sources import load
from coun.errors import CounError, unknown
from coun.files import expanded

CIFAR_10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR_100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus "
    "butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach "
    "couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster "
    "house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree "
    "motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear "
    "pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket "
    "rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip "
    "turtle wardrobe whale willow_tree wolf woman worm"
)


@dataclass(frozen=True)
class PublicSet:
    """Facts about one data set.

    Args:
        name: how commands call it.
        page, archive: addresses of its page and of the archive.
        bytes, md5: of the archive, as its publishers or torchvision give them.
        spelling: how the unpacked archive is read.
        layout: the folder that the archive unpacks to, and what is in it.
        train, test, classes: numbers of rows and of classes; all classes have one size.
        shape: of one image.
        terms: what its page says of its use.
        names: of the classes, in the order of their labels; empty where they are numbers here.
    """

    name: str
    page: str
    archive: str
    bytes: int
    md5: str
    spelling: str
    layout: str
    train: int
    test: int
    classes: int
    shape: tuple[int, int, int]
    terms: str
    names: tuple[str, ...] = ()


SETS = {
    entry.name: entry
    for entry in (
        PublicSet(
            "cifar-10",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170_052_171,
            "c32a1d4ab5d03f1284b67883e8d87530",
            "cifar-binary:cifar-10-batches-bin",
            "cifar-10-batches-bin/ with data_batch_1.bin to data_batch_5.bin, test_batch.bin and "
            "batches.meta.txt",
            50_000,
            10_000,
            10,
            (3, 32, 32),
            "no licence is stated; cite Krizhevsky, Learning multiple layers of features from "
            "tiny images, 2009",
            tuple(CIFAR_10.split()),
        ),
        PublicSet(
            "cifar-100",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            168_513_733,
            "03b5dce01913d631647c71ecec9e9cb8",
            "cifar-binary:cifar-100-binary",
            "cifar-100-binary/ with train.bin, test.bin and fine_label_names.txt",
            50_000,
            10_000,
            100,
            (3, 32, 32),
            "as for cifar-10",
            tuple(CIFAR_100.split()),
        ),
        PublicSet(
            "tiny-imagenet",
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            248_100_043,
            "90528d7ca1a48142e341f4ef8d21d0de",
            "tiny-imagenet:tiny-imagenet-200",
            "tiny-imagenet-200/ with train/WNID/images, val/images, val/val_annotations.txt, "
            "wnids.txt and words.txt; val/ is the test part, because test/ has no labels",
            100_000,
            10_000,
            200,
            (3, 64, 64),
            "images of ImageNet, for research that is not commercial",
        ),
    )
}


def public_set(name: str) -> PublicSet:
    """Return the facts about the data set *name*. Raises: CounError for another name.

    >>> public_set("cifar-10").train
    50000
    """
    if name not in SETS:
        raise unknown("data set", name, SETS)
    return SETS[name]


def check_copy(name: str, copy: str) -> list[str]:
    """Check a local copy of the data set *name*.

    Args: copy: the archive, or the unpacked data as a source, such as
        "cifar-binary:cifar-10-batches-bin" or "hf:cifar10".

    Returns: what was checked and is right, one line each.

    Raises: CounError for the first thing that is wrong.
    """
    facts = public_set(name)
    if ":" not in copy or Path(copy).exists():
        return list(_check_archive(facts, regular_file(expanded(copy))))
    return list(_check_content(facts, load(copy)))


def _check_archive(facts: PublicSet, file: Path) -> Iterator[str]:
    if not file.exists():
        raise CounError(
            f"{file} does not exist; expected the archive {facts.archive}, or a source such as "
            f"{facts.spelling}"
        )
    size = file.stat().st_size
    if size != facts.bytes:
        raise CounError(f"{file} has {size:,} bytes; expected {facts.bytes:,}: download it again")
    yield f"{size:,} bytes"
    with file.open("rb") as content:
        digest = hashlib.file_digest(
            content, lambda: hashlib.md5(usedforsecurity=False)
        ).hexdigest()
    if digest != facts.md5:
        raise CounError(f"{file} has MD5 {digest}; expected {facts.md5}: download it again")
    yield f"MD5 {digest}"


def _check_content(facts: PublicSet, data: Data) -> Iterator[str]:
    counts = (len(data.train), len(data.test), len(data.classes), data.shape)
    names = ("training rows", "test rows", "classes", "as the shape of an image")
    expected = (facts.train, facts.test, facts.classes, facts.shape)
    for what, value, right in zip(names, counts, expected, strict=True):
        if value != right:
            raise CounError(
                f"{data.source} has {_counted(value)} {what}; {facts.name} has {_counted(right)}"
            )
        yield f"{_counted(value)} {what}"
    for part, examples in (("training", data.train), ("test", data.test)):
        sizes = examples.labels.bincount(minlength=facts.classes)
        if int(sizes.min()) != int(sizes.max()):
            name = data.classes[int(sizes.argmin())]
            raise CounError(
                f"{data.source}: class '{name}' has {int(sizes.min()):,} "
                f"{part} rows; expected {len(examples) // facts.classes:,} in each class"
            )
        yield f"{int(sizes[0]):,} {part} rows in each class"


def _counted(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
