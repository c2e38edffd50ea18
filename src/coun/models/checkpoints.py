"""Read the weights in files as other tools write them, without running what the files hold."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from coun.errors import CounError

# Keys under which training scripts keep a state dict; of several that fit, the first is taken.
KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("ema", "ema_state_dict", "state_dict_ema", "model_ema"),
)
INDEX = ".index.json"  # of weights that are divided into several files
IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
_DEPTH = 3  # of dicts within dicts that are searched for a state dict
_OTHER_FILES = {  # formats by their first bytes, and what to do with each
    b"version https://git-lfs": "is a pointer of Git LFS and not the file; fetch it: git lfs pull",
    b"<": "is a web page or XML; download the file itself",
    b"\x89HDF": "is an HDF5 file, as Keras writes; convert it to a state dict of torch",
    b"\x1f\x8b": "is compressed by gzip; unpack it first",
    b"7z": "is a 7z archive; unpack it first",
    b"\x08": "may be an ONNX file, which cannot be trained; use the weights it was made from",
}


class IgnoredDict:
    """Stands for a class of a checkpoint that torch does not know: it makes an empty dict.

    A dict, because torch fills the subclasses of dict that checkpoints hold item by item.
    """

    def __new__(cls, *_: object, **__: object) -> Any:
        return OrderedDict()


class IgnoredValue:
    """Stands for a number or type of NumPy, which unpickling fills by a tuple."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


def read_checkpoint(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read every state dict in *path*, by the keys that lead to it, the likeliest first.

    Args:
        path: a file of safetensors or of torch.save, whatever its suffix; the index of several
            such files; or a folder that holds one of these under its usual name.

    Returns: state dicts by key, such as "state_dict" or "model.ema"; "" for the content itself.

    Raises: CounError if *path* is missing, of another format or damaged, would run code, or
        holds no state dict.
    """
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        what = "not a file" if path.exists() or path.is_symlink() else "no such file"
        raise CounError(f"no weights at '{path}': {what}")
    if path.name.endswith(INDEX):
        return {"": _read_shards(path)}
    content = _read(path)
    states = dict(sorted(_state_dicts(content), key=_order))
    if not states:
        raise CounError(
            f"'{path}' holds no state dict; expected tensors by name, directly or under one of "
            f"{', '.join(KEYS)}; got {_outline(content)}"
        )
    return states


def _file_in(folder: Path) -> Path:
    """The file of weights in *folder*."""
    for name in (*IN_FOLDER, *(name + INDEX for name in IN_FOLDER)):
        if (folder / name).is_file():
            return folder / name
    if (folder / ".metadata").is_file():
        raise CounError(
            f"'{folder}' is a distributed checkpoint; join it first: python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE"
        )
    raise CounError(
        f"'{folder}' is a folder without weights; expected a file, or one of "
        f"{', '.join(IN_FOLDER)} in it"
    )


def _read_shards(index: Path) -> dict[str, Tensor]:
    """The tensors of all files that *index* lists, which are beside it."""
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        places = {str(name): str(file) for name, file in shards.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CounError(
            f"'{index}' is not an index of weights ({_message(error)}); expected a JSON file with "
            "a weight_map"
        ) from error
    state: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file:
            raise CounError(f"'{index}' names the file '{file}'; expected files beside it")
        content = read_checkpoint(index.parent / file)[""]
        state |= {name: content[name] for name in places if name in content}
    missing = [name for name in places if name not in state]
    if missing:
        raise CounError(f"'{index}' lists {missing[0]}, but '{places[missing[0]]}' lacks it")
    return state


def _read(path: Path) -> Any:
    """What the file holds: a state dict of safetensors, or what torch.save was given."""
    with open(path, "rb") as file:
        start = file.read(64)
    # A safetensors file starts with the length of its header, in 8 bytes, and the header, JSON.
    # torch.save writes zip archives ("PK") or, in old versions, pickles.
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith((b"PK", *(bytes([0x80, protocol]) for protocol in range(2, 6)))):
        return _read_torch_file(path)
    for magic, advice in _OTHER_FILES.items():
        if start.lstrip().startswith(magic):
            raise CounError(f"'{path}' {advice}")
    if tarfile.is_tarfile(path):
        raise CounError(f"'{path}' is a tar archive; unpack it first")
    kind = "not a safetensors file" if path.suffix == ".safetensors" else "no file of weights"
    printable = all(32 <= byte < 127 or byte in b"\t\n\r" for byte in start)
    content = "a text" if start else "empty"
    raise CounError(
        f"'{path}' is {kind}, or is damaged{f' (it is {content})' * printable}; expected a file of "
        "safetensors or of torch.save"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, KeyError) as error:
        raise CounError(
            f"'{path}' is not a safetensors file, or is damaged ({_message(error)}); "
            "expected a file of safetensors or of torch.save"
        ) from error


def _read_torch_file(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of old pickles before it refuses them
        try:
            # As a file object: of a path, torch.load would trust the suffix.
            with open(path, "rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            with contextlib.suppress(Exception):
                return _read_without_objects(path)
        except Exception as error:  # torch raises almost anything on damaged or foreign bytes
            reason = _message(error)
            if "TorchScript" in reason:
                raise CounError(
                    f"'{path}' is a TorchScript archive, which cannot be trained; save its "
                    "weights: torch.save(torch.jit.load(path).state_dict(), path)"
                ) from error
            damaged = f"cannot be read by torch.load ({reason}); is it damaged?"
            raise CounError(f"'{path}' {_of_another_kind(path) or damaged}") from error
    if _all_of_numpy(path):
        raise CounError(
            f"'{path}' holds arrays of NumPy; expected tensors, made by torch.from_numpy and saved "
            "by torch.save"
        )
    raise CounError(
        f"'{path}' holds more than tensors, or is damaged, and is not unpickled; if you trust "
        "it, convert it: torch.save(torch.load(path, weights_only=False).state_dict(), path)"
    )


def _all_of_numpy(path: Path) -> bool:
    """Whether the objects in a file of torch.save, apart from tensors, are those of NumPy."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # as for torch.load
        return False
    return bool(names) and all(name.startswith("numpy.") for name in names)


def _of_another_kind(path: Path) -> str:
    """What a zip archive is that torch.save did not write; empty if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return ""
    if any(name.endswith(".npy") for name in members):
        return "is an archive of NumPy; expected tensors, save them by torch.save"
    if any(name.endswith("archive_format") for name in members):
        return "is a program of torch.export; expected a state dict"
    if not any(name.endswith("data.pkl") for name in members):
        return "is a zip archive of other files; unpack it first"
    return ""


def _read_without_objects(path: Path) -> Any:
    """Read a file of torch.save with stand-ins for objects such as hyperparameters."""
    with open(path, "rb") as file:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        file.seek(0)
        # Under the names of the classes, so that torch builds these and imports none.
        stand_ins = [
            (IgnoredValue if name.startswith("numpy.") else IgnoredDict, name) for name in names
        ]
        with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]
            content = torch.load(file, map_location="cpu", weights_only=True)
    if not any(True for _ in _state_dicts(content)):
        raise CounError("no state dict")  # the caller says how to convert a pickled model
    return content


def _state_dicts(content: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every state dict in *content*, with the keys that lead to it."""
    if not isinstance(content, Mapping):
        return
    tensors = {
        name: value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield path, tensors
    for key, value in content.items():
        if depth < _DEPTH and isinstance(key, str) and "optim" not in key:
            yield from _state_dicts(value, f"{path}.{key}".lstrip("."), depth + 1)


def _order(item: tuple[str, Any]) -> tuple[tuple[int, int], str]:
    """The content itself first, then the usual keys in their order, then others."""
    return rank(item[0]), item[0]


def rank(path: str) -> tuple[int, int]:
    """How likely the state dict under the keys *path* is the model's; the smallest is likeliest.

    >>> rank("state_dict") < rank("ema") < rank("best") == rank("last")
    True
    """
    ranks = [KEYS.index(key) if key in KEYS else len(KEYS) for key in path.split(".") if key]
    return len(ranks), sum(ranks)


def _outline(content: Any) -> str:
    """The content of a file in a few words, for an error message."""
    if isinstance(content, Mapping):
        return f"a dict with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _message(error: Exception) -> str:
    """The message of *error* in one line, cut to 120 characters."""
    return " ".join(f"{error}".split())[:120] or type(error).__name__


def is_path_of_weights(path: str | os.PathLike[str]) -> bool:
    """Whether *path* is a file, or a folder that holds weights under their usual names."""
    place = Path(path)
    return place.is_file() or any((place / name).is_file() for name in IN_FOLDER)
