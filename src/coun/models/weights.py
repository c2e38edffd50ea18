"""Weights in files: safetensors files are written, those of torch.save are read as well."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coun.errors import CounError
from coun.files import atomically

KEYS = ("state_dict", "model_state_dict", "net", "model", "ema")  # that may hold a state dict
# What wrappers put before every name: DataParallel, torch.compile, and common training scripts.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_PICKLED = {".pt", ".pth"}
_SHOWN = 3
_log = logging.getLogger(__name__)


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the state dict of *model* to *path* as safetensors.

    A reader sees the old file or the new one, never a part of one. Tensors that share memory
    (tied weights) are written in full under every name.

    Raises: CounError if *path* ends in .pt or .pth, if the folder cannot be written, or if the
        state dict holds something other than tensors.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
    >>> save_weights(nn.Linear(2, 2), path)
    >>> load_weights(nn.Linear(2, 2), path)
    ''
    """
    path = Path(path)
    if path.suffix in _PICKLED:
        raise CounError(
            f"weights are written as safetensors, not as '{path.suffix}': "
            f"use '{path.with_suffix('.safetensors')}'"
        )
    # Copies, because safetensors refuses tensors that share memory.
    data = safetensors.torch.save(
        {
            name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, tensor in _state(model).items()
        }
    )
    with atomically(path) as temporary:
        temporary.write_bytes(data)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> str:
    """Fill *model* in place from *path*; names and shapes must match, dtypes are converted.

    A safetensors file is read, or a file of torch.save, which may hold a state dict directly or
    under one of `KEYS`; which of the two it is follows from its first bytes. The pickle in a
    file of torch.save is not executed. A prefix of `PREFIXES` that all names share, and that
    the model does not have, is removed. On an error the model is left as it was.

    Returns: one sentence on what was removed or chosen, which is also logged as a warning; empty
        if the file was read as it is.

    Raises: CounError if the file is missing, damaged, refused, or of another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise CounError(f"no weights at '{path}': no such file")
    state, key = _read(path)
    expected = _state(model)
    state, prefix = _without_prefix(state, expected)
    wrong = [
        *(f"missing {name}" for name in expected if name not in state),
        *(f"unexpected {name}" for name in state if name not in expected),
        *(
            f"{name} is {list(state[name].shape)}, not {list(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise CounError(
            f"'{path}' is a checkpoint of another architecture than {type(model).__name__}: "
            f"{'; '.join(wrong[:_SHOWN])}{more}"
        )
    model.load_state_dict(state)
    notes = [f"the weights are those under '{key}'"] * bool(key)
    notes += [f"the prefix '{prefix}' of all names was removed"] * bool(prefix)
    if not notes:
        return ""
    note = f"'{path}': {' and '.join(notes)}"
    _log.warning("%s", note)
    return note


def weights_digest(model: nn.Module) -> str:
    """Compute the SHA-256 of a model's weights, in hexadecimal.

    It covers the names, dtypes, shapes and bytes of the state dict, in the order of the names,
    and does not depend on the device or the memory layout.

    Raises: CounError if the state dict holds something other than tensors.

    >>> model = nn.Linear(2, 2)
    >>> weights_digest(model) == weights_digest(nn.Linear(2, 2))
    False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_state(model).items()):
        head = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(head).encode() + b"\n")
        # Flattened first, because a tensor without dimensions cannot be viewed as bytes.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of *model*. Raises: CounError if it holds anything but tensors."""
    state = model.state_dict()
    for name, value in state.items():
        if is_lazy(value):
            raise CounError(
                f"'{name}' of {type(model).__name__} is a lazy parameter without values; run the "
                "model once on a batch before passing it"
            )
        if not isinstance(value, Tensor):
            raise CounError(
                f"the state dict of {type(model).__name__} holds a {type(value).__name__} under "
                f"'{name}'; only tensors can be kept"
            )
    return state


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """A state dict, and the key under which a file of torch.save holds it."""
    with open(path, "rb") as file:
        start = file.read(9)
    # A safetensors file starts with the length of its header, in 8 bytes, and the header, JSON.
    # torch.save writes zip archives ("PK") or, in old versions, pickles.
    torch_file = start.startswith((b"PK", b"\x80"))
    if start[8:] == b"{" or (path.suffix == ".safetensors" and not torch_file):
        return _read_safetensors(path), ""
    return _read_pickled(path)


def _without_prefix(
    state: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], str]:
    """*state* without prefixes that all its names share and the expected names do not."""
    removed = ""
    while state and state.keys() != expected.keys():
        shared = [p for p in PREFIXES if all(name.startswith(p) for name in state)]
        if not shared or all(name.startswith(shared[0]) for name in expected):
            break
        state = {name.removeprefix(shared[0]): tensor for name, tensor in state.items()}
        removed += shared[0]
    return state, removed


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise CounError(
            f"'{path}' is not a safetensors file, or is damaged ({_line(error)}); "
            "expected a file of safetensors or of torch.save"
        ) from error


def _read_pickled(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        # As a file object: of a path, torch.load would trust the suffix.
        with open(path, "rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CounError(
            f"'{path}' holds more than tensors, or is damaged, and is not unpickled; if you trust "
            "it, convert it: torch.save(torch.load(path, weights_only=False).state_dict(), path)"
        ) from error
    except Exception as error:
        raise CounError(f"'{path}' cannot be read by torch.load ({_line(error)})") from error
    if _is_state(content):
        return dict(content), ""
    for key in KEYS:
        if isinstance(content, Mapping) and _is_state(content.get(key)):
            return dict(content[key]), key
    raise CounError(
        f"'{path}' holds no state dict; expected tensors by name, directly or under one of "
        f"{', '.join(KEYS)}; got {_outline(content)}"
    )


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _outline(content: Any) -> str:
    """The content of a file in a few words, for an error message."""
    if isinstance(content, Mapping):
        return f"a dict with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
