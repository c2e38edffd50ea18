"""Weights in files: safetensors files are written, those of torch.save are read as well."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coun.errors import CounError
from coun.files import atomically
from coun.models.checkpoints import rank, read_checkpoint
from coun.models.names import fit

_PICKLED = {".pt", ".pth"}
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
            for name, tensor in tensors(model).items()
        }
    )
    with atomically(path) as temporary:
        temporary.write_bytes(data)


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, called: str | None = None
) -> str:
    """Fill *model* in place from *path*; names and shapes must match, dtypes are converted.

    *path* is a file of safetensors or of torch.save, which of the two follows from its first
    bytes; the index of several such files; or a folder with one of these. A file of torch.save
    may hold a state dict directly or under a key; nothing in it is executed. `coun.models.names`
    describes which differences in names are mended. On an error the model is left as it was.

    Args: called: what an error calls the network; by default its class.

    Returns: one sentence on what was removed or chosen, which is also logged as a warning; empty
        if the file was read as it is.

    Raises: CounError if the file is missing, damaged, refused, or of another architecture.

    >>> import tempfile
    >>> path, trained = Path(tempfile.mkdtemp(), "trained.pt"), nn.Linear(2, 2)
    >>> torch.save(nn.DataParallel(trained).state_dict(), path)
    >>> load_weights(nn.Linear(2, 2), path).partition(": ")[2]
    "the prefix 'module.' of all names was removed"
    """
    path = Path(path)
    states = read_checkpoint(path)
    expected = tensors(model)
    problems: dict[str, str] = {}
    fitting: dict[str, tuple[dict[str, Tensor], list[str]]] = {}
    for key, state in states.items():
        try:
            fitting[key] = fit(state, expected)
        except CounError as error:
            problems[key] = str(error)
    if not fitting:
        largest = max(problems, key=lambda key: len(states[key]))
        raise CounError(
            f"'{path}' is a checkpoint of another architecture than "
            f"{called or type(model).__name__}: "
            f"{problems[largest]}"
        )
    key, *others = fitting
    _refuse_choice(path, {name: entries for name, (entries, _) in fitting.items()})
    entries, notes = fitting[key]
    model.load_state_dict(entries)
    if key:
        more = f" (those under {', '.join(map(repr, others))} fit as well)" if others else ""
        notes = [f"the weights are those under '{key}'{more}", *notes]
    if not notes:
        return ""
    note = f"'{path}': {'; '.join(notes)}"
    _log.warning("%s", note)
    return note


def _refuse_choice(path: Path, fitting: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse several state dicts with different weights, of which none is the likeliest."""
    key, *others = fitting
    for other in (other for other in others if rank(other) == rank(key)):
        pairs = ((value, fitting[other][name]) for name, value in fitting[key].items())
        if not all(torch.equal(*pair) for pair in pairs):
            raise CounError(
                f"'{path}' holds several models with different weights, under '{key}' and "
                f"'{other}'; save the state dict of one of them only"
            )


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
    for name, tensor in sorted(tensors(model).items()):
        head = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(head).encode() + b"\n")
        # Flattened first, because a tensor without dimensions cannot be viewed as bytes.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of *model*, of which every entry is a tensor with values.

    Raises: CounError if an entry is something else, or a tensor without values.

    >>> list(tensors(nn.Linear(2, 2)))
    ['weight', 'bias']
    """
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
        if value.is_meta:
            raise CounError(
                f"'{name}' of {type(model).__name__} is on the device meta and has no values; load "
                "the weights before passing the model"
            )
    return state
