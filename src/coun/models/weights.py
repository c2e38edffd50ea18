"""Weights on disk: safetensors files, written whole or not at all, read strictly."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from coun.errors import CounError
from coun.files import atomically

_PICKLED = {".pt", ".pth"}
_SHOWN = 3


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the state dict of *model* to *path* as safetensors.

    Atomic: a reader sees the old file or the new one, never a part. Tensors that share memory
    (tied weights) are each written in full, under every name.

    Raises: CounError if path ends in .pt or .pth, if the folder cannot be written, or if the
        state dict holds something other than tensors.
    """
    path = Path(path)
    if path.suffix in _PICKLED:
        raise CounError(
            f"weights are written as safetensors, not as '{path.suffix}': "
            f"use '{path.with_suffix('.safetensors')}'"
        )
    # clones: safetensors refuses tensors that share memory
    data = safetensors.torch.save(
        {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in _state(model).items()
        }
    )
    with atomically(path) as temporary:
        temporary.write_bytes(data)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill *model* in place from *path*; names and shapes must match exactly, dtypes are cast.

    safetensors, or for the suffixes .pt and .pth a file of torch.save that holds a state dict,
    bare or under "state_dict" or "model"; it is read without running its pickle. On an error
    the model is left as it was.

    Raises: CounError if the file is missing, damaged, refused, or of another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise CounError(f"no weights at '{path}': no such file")
    found = _read_pickled(path) if path.suffix in _PICKLED else _read_safetensors(path)
    expected = _state(model)
    wrong = [
        *(f"missing {name}" for name in expected if name not in found),
        *(f"unexpected {name}" for name in found if name not in expected),
        *(
            f"{name} is {list(found[name].shape)}, not {list(tensor.shape)}"
            for name, tensor in expected.items()
            if name in found and found[name].shape != tensor.shape
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CounError(
            f"'{path}' is a checkpoint of another architecture than {type(model).__name__}: "
            f"{'; '.join(wrong[:_SHOWN])}{more}"
        )
    model.load_state_dict(found)


def weights_digest(model: nn.Module) -> str:
    """SHA-256 (hex) over the names, dtypes, shapes and bytes of the state dict, by sorted name.

    The same on every device and memory layout. Raises: CounError as `save_weights`.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_state(model).items()):
        head = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(head).encode() + b"\n")
        # flat first: a 0-d tensor cannot be viewed as bytes
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of *model*, refused if it holds anything but tensors."""
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise CounError(
                f"the state dict of {type(model).__name__} holds a {type(value).__name__} under "
                f"'{name}'; only tensors can be kept"
            )
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise CounError(
            f"'{path}' is not a safetensors file, or is damaged ({_line(error)}); "
            "files of torch.save must end in .pt or .pth"
        ) from error


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CounError(
            f"'{path}' holds more than tensors, or is damaged, and is not unpickled; if you trust "
            "it, convert it: torch.save(torch.load(path, weights_only=False).state_dict(), path)"
        ) from error
    except Exception as error:
        raise CounError(f"'{path}' cannot be read by torch.load ({_line(error)})") from error
    for candidate in (content, _entry(content, "state_dict"), _entry(content, "model")):
        if _is_state(candidate):
            return dict(candidate)
    raise CounError(
        f"'{path}' holds no state dict: expected names to tensors, bare or under 'state_dict' "
        f"or 'model'; got {_outline(content)}"
    )


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _entry(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _outline(content: Any) -> str:
    """A few words on what a file holds, for an error message."""
    if isinstance(content, Mapping):
        return f"a dict with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
