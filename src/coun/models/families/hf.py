"""`hf:FOLDER`: classifiers of Hugging Face transformers that were saved in a local folder.

Nothing is downloaded, and no code of the folder is run: its own modelling code
(`trust_remote_code`), kernels and quantisation are refused or left out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from coun.errors import CounError, nearest, one_line
from coun.models.checkpoints import is_path_of_weights
from coun.models.families.family import Family, Preprocessing, numbers, path_of, require

CONFIG, PROCESSORS = "config.json", ("preprocessor_config.json", "processor_config.json")
HEADS = {  # the end of a class name, and the class of transformers that builds such models
    "ForImageClassification": "AutoModelForImageClassification",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
}
# Entries that would load code from elsewhere, and what describes the file and not the model.
DROPPED = {"auto_map", "attn_implementation", "_attn_implementation", "_name_or_path"}


def is_folder(path: Path) -> bool:
    """Return whether *path* is a folder in which transformers saved a model."""
    return (path / CONFIG).is_file()


def config(folder: str) -> dict[str, Any]:
    """Read the configuration in *folder*, without what a record need not hold.

    Raises: CounError if there is none, or it is not a configuration of transformers.
    """
    path = path_of(folder) / CONFIG
    if not path.is_file():
        raise CounError(
            f"model 'hf:{folder}': there is no {path}; expected a folder that save_pretrained wrote"
        )
    content = _read(path)
    if not isinstance(content.get("model_type"), str):
        raise CounError(f"{path} names no model_type; expected a configuration of transformers")
    return {key: value for key, value in content.items() if key not in DROPPED}


def build(
    folder: str, classes: int, shape: tuple[int, ...], recorded: dict[str, Any] | None = None
) -> nn.Module:
    """Build the architecture with fresh weights, and a head for *classes*.

    Args:
        folder: a folder with a config.json; it is not read where *recorded* is given.
        classes: the number of outputs.
        shape: of one input.
        recorded: the content of config.json, from the record of a run.

    Raises: CounError if transformers is not installed.
    """
    del shape
    content = dict(recorded or config(folder))
    if len(content.get("id2label") or ()) != classes:
        content |= {"id2label": {str(n): f"LABEL_{n}" for n in range(classes)}, "label2id": None}
        content["label2id"] = {name: int(n) for n, name in content["id2label"].items()}
    automatic, settings = _classes(folder, content)
    model = automatic.from_config(settings, trust_remote_code=False).float()
    assert isinstance(model, nn.Module)
    return model


def load(folder: str) -> nn.Module:
    """Load the model in *folder* with its weights, safetensors or a bin file of tensors only.

    Raises: CounError if transformers is not installed, the weights are missing or damaged, or
        they lack a part of the model.
    """
    content = config(folder)
    automatic, settings = _classes(folder, content)
    place = path_of(folder)
    try:
        with quiet():
            model, report = automatic.from_pretrained(
                str(place.absolute()),
                config=settings,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
            )
    except Exception as error:
        hint = "" if is_path_of_weights(place) else " (expected model.safetensors in it)"
        raise CounError(f"'{folder}' cannot be loaded{hint}: {one_line(error)[:300]}") from error
    for key in ("mismatched_keys", "missing_keys"):
        if names := sorted(map(str, report[key])):
            raise CounError(
                f"the weights in '{folder}' lack a part of the model or have another shape: "
                f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}; expected a model "
                "that was trained as a classifier"
            )
    model = model.float().eval()
    assert isinstance(model, nn.Module)
    return model


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let transformers draw no progress bars within the block."""
    logging = require("transformers.utils.logging", "hf")
    visible = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if visible:
            logging.enable_progress_bar()


def classes(folder: str) -> tuple[str, ...]:
    """Read the names of the classes; empty for the placeholders LABEL_0, LABEL_1, ..."""
    names = config(folder).get("id2label")
    if not isinstance(names, dict):
        return ()
    try:
        listed = tuple(str(names[str(number)]) for number in range(len(names)))
    except KeyError:
        return ()
    return () if all(name.startswith("LABEL_") for name in listed) else listed


def preprocessing(folder: str) -> Preprocessing:
    """Read how the image processor in *folder* scales and normalises; nothing without one."""
    for name in PROCESSORS:
        path = path_of(folder) / name
        if path.is_file():
            content = _read(path)
            content = content.get("image_processor", content)
            if "image_mean" in content or "size" in content:
                return of_processor(content, name)
    size = _pair(config(folder).get("image_size"))
    return Preprocessing(size, fixed=size is not None, origin=f"{CONFIG} of the model")


def of_processor(content: dict[str, Any], name: str) -> Preprocessing:
    """Convert the settings of an image processor of transformers.

    The processor computes (pixel * rescale_factor - offset - mean) / std of pixels in 0..255.

    >>> of_processor({"do_normalize": False, "size": 8}, "preprocessor_config.json").std
    (1.0,)
    """
    mean: tuple[float, ...] | None = (0.0,)
    std: tuple[float, ...] | None = (1.0,)
    if content.get("do_normalize", True):
        mean, std = (numbers(content.get(key)) for key in ("image_mean", "image_std"))
    if mean is None or std is None:
        raise CounError(f"{name} has no image_mean and image_std; give --mean and --std")
    factor = 255 * (
        content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1
    )
    offset = 1.0 if content.get("rescale_offset") else 0.0
    size = None
    if content.get("do_resize", True):
        size = _pair(content.get("size"))
    if content.get("do_center_crop"):
        size = _pair(content.get("crop_size")) or size
    return Preprocessing(
        size,
        tuple(round((m + offset) / factor, 6) for m in mean),
        tuple(round(s / factor, 6) for s in std),
        size is not None,
        f"{name} of the model",
    )


def _pair(size: Any) -> tuple[int, int] | None:
    """A size of a processor or a configuration as (height, width)."""
    if isinstance(size, dict):
        size = size.get("shortest_edge") or (size.get("height"), size.get("width"))
    if isinstance(size, int):
        size = (size, size)
    pair = isinstance(size, list | tuple) and len(size) == 2
    return (size[0], size[1]) if pair and all(isinstance(x, int) and x > 0 for x in size) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CounError(f"{path} cannot be read as JSON ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise CounError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content


def _classes(folder: str, content: dict[str, Any]) -> tuple[Any, Any]:
    """The class of transformers that builds the model, and the configuration for it."""
    transformers = require("transformers", "hf")
    content = {key: value for key, value in content.items() if key not in DROPPED}
    if "quantization_config" in content:
        raise CounError(
            f"'{folder}' is quantised, and cannot be trained; save it in full precision"
        )
    names = content.pop("architectures", None) or []
    ends = [end for name in names for end in HEADS if str(name).endswith(end)]
    if len(set(ends)) != 1:
        raise CounError(
            f"'{folder}' is a {', '.join(map(str, names)) or 'model of unknown class'}; expected "
            f"a classifier of transformers, whose class ends in {' or '.join(HEADS)}"
        )
    kind = content.pop("model_type", "")
    kinds = require("transformers.models.auto.configuration_auto", "hf").CONFIG_MAPPING
    if kind not in kinds:
        raise CounError(
            f"'{folder}' is of the type '{kind}', which this version of transformers does not know"
            f"{nearest(kind, kinds)}"
        )
    try:
        settings = transformers.AutoConfig.for_model(kind, **content)
    except Exception as error:
        raise CounError(f"'{folder}': its configuration is refused: {one_line(error)}") from error
    settings.architectures = names
    return getattr(transformers, HEADS[ends[0]]), settings


FAMILY = Family(
    "hf",
    "FOLDER",
    "a classifier of Hugging Face transformers in a folder",
    build,
    preprocessing,
    config,
    load,
    is_folder,
    classes,
)
