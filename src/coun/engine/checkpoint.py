"""Checkpoints of interrupted runs: safetensors, never pickle, written atomically."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from coun.errors import CounError
from coun.files import atomically


class Checkpoint:
    """A folder with the state after each finished stage and at the last saved step.

    Args:
        folder: made by the first save and removed by `clear`.
        identity: a hash of what the run is; a checkpoint of another run is refused.
        every: seconds between saves inside a stage; 0 saves after every step.

    >>> import tempfile
    >>> checkpoint = Checkpoint(Path(tempfile.mkdtemp()) / "checkpoint", "a hash")
    >>> checkpoint.save("step", {"weight": torch.ones(2)}, {"epoch": 3})
    >>> checkpoint.load("step")
    ({'weight': tensor([1., 1.])}, {'epoch': 3})
    >>> checkpoint.clear()
    """

    def __init__(self, folder: Path, identity: str, *, every: float = 60.0) -> None:
        self.folder = folder
        self.identity = identity
        self.every = every

    def save(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Save *tensors* and *state*, which must fit into JSON, under *name*, atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        meta = {"identity": self.identity, "state": json.dumps(state)}
        meta["sha256"] = _digest(plain, meta)
        # Written from bytes, so that a full disk gives an OSError, not safetensors' own error.
        data = save(plain, metadata=meta)
        with atomically(self._path(name)) as temporary:
            temporary.write_bytes(data)

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the tensors and the state under *name*, or None if there are none.

        Raises: CounError if the file is damaged or belongs to another run.
        """
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if meta.pop("sha256") != _digest(tensors, meta):
                raise ValueError("its content does not match its checksum")
            state = json.loads(meta["state"])
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise CounError(
                f"checkpoint {path} is damaged; delete {self.folder} to start this run again"
            ) from error
        if meta.get("identity") != self.identity:
            raise CounError(
                f"checkpoint {path} belongs to a run with other settings; choose another output "
                f"folder, or delete {self.folder} to start again"
            )
        return tensors, state

    def forget_before(self, stage: int) -> None:
        """Remove what was saved of the stages before number *stage*."""
        for path in self.folder.glob("stage-*.safetensors"):
            if int(path.stem.removeprefix("stage-")) < stage:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder, because the run is finished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def _digest(tensors: dict[str, Tensor], meta: dict[str, str]) -> str:
    """Compute the SHA-256 of all that a checkpoint holds, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(sorted(meta.items())).encode())
    for name, tensor in sorted(tensors.items()):
        head = [name, str(tensor.dtype), list(tensor.shape)]
        digest.update(json.dumps(head).encode() + b"\n")
        # Flattened first, because a tensor without dimensions cannot be viewed as bytes.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def pack(
    model: nn.Module,
    modules: Sequence[nn.Module] = (),
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> dict[str, Tensor]:
    """Collect weights, buffers and the state of optimizers in one dictionary."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for number, module in enumerate(modules):
        tensors |= {f"module {number}.{k}": v for k, v in module.state_dict().items()}
    for prefix, optimizer in zip(_prefixes(optimizers), optimizers, strict=True):
        for index, entries in optimizer.state_dict()["state"].items():
            for key, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"{prefix}{index}.{key}"] = value
    return tensors


def unpack(
    tensors: dict[str, Tensor],
    model: nn.Module,
    modules: Sequence[nn.Module] = (),
    optimizers: Sequence[torch.optim.Optimizer] = (),
) -> None:
    """Restore what `pack` collected.

    Files hold contiguous tensors, but the state of an optimizer needs the memory layout of its
    parameter: torch's fused CPU kernels pair a weight and its momentum by memory address,
    whatever their strides are.
    """
    for prefix, target in [
        ("model.", model),
        *((f"module {number}.", module) for number, module in enumerate(modules)),
    ]:
        target.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    for prefix, optimizer in zip(_prefixes(optimizers), optimizers, strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".", 1)
                parameter = parameters[int(index)].detach()
                if value.shape == parameter.shape:
                    value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _prefixes(optimizers: Sequence[torch.optim.Optimizer]) -> list[str]:
    """Return the prefix of the names of each optimizer's tensors; the first has no number."""
    return [f"optimizer {number}." if number else "optimizer." for number in range(len(optimizers))]
