"""Match the names in a checkpoint with those of a model: prefixes, extra and missing entries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coun.errors import CounError, counted

# What wrappers put before every name: DataParallel, torch.compile, Lightning, training scripts.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "_forward_module.")
COUNTER = "num_batches_tracked"  # old versions of BatchNorm do not have it
# Entries that profilers, averages of weights (`torch.optim.swa_utils`) and other versions of a
# library add; the model works without them.
EXTRA = (
    *(COUNTER, "total_ops", "total_params", "n_averaged"),
    *("position_ids", "relative_position_index"),
)
# What wrappers of single layers put inside of names.
WRAPPERS = (
    *("module", "_orig_mod", "_forward_module"),
    *("_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
)
# weight_norm and spectral_norm: the ends of names in torch.nn.utils, and in its parametrizations.
SPELLINGS = (
    ("weight_g", "parametrizations.weight.original0"),
    ("weight_v", "parametrizations.weight.original1"),
    ("weight_orig", "parametrizations.weight.original"),
    ("weight_u", "parametrizations.weight.0._u"),
    ("weight_v", "parametrizations.weight.0._v"),
)
HINTS = {  # ends of names that the model does not have, and what they tell
    "weight_mask": "the file is pruned; call torch.nn.utils.prune.remove before saving",
    "zero_point": "the file is quantised; save the weights before that",
    "weight_g": "the file has weight_norm, and the model has not",
    "weight.original0": "the file has weight_norm, and the model has not",
}
_SHOWN = 3


def fit(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Give the entries of *state* the names that the model expects.

    Prefixes that all names share are removed; so is a prefix under which everything that the
    model expects is found, as where a checkpoint of Lightning holds metrics beside the model.
    Names of wrappers inside of a name are removed, and weight_norm and spectral_norm get the
    spelling of the model. Missing counters of BatchNorm are taken from the model, and entries of
    `EXTRA` are left out.

    Returns: the state dict of the model, and what was done, in words.

    Raises: CounError that lists the differences, if names or shapes do not fit.

    >>> import torch
    >>> model = torch.nn.Linear(2, 2)
    >>> saved = {f"module.{name}": value for name, value in model.state_dict().items()}
    >>> fit(saved, model.state_dict())[1]
    ["the prefix 'module.' of all names was removed"]
    """
    entries, removed = _without_prefix(dict(state), expected)
    notes = [f"the prefix '{removed}' of all names was removed"] * bool(removed)
    for rename, what in (
        (_without_wrappers, "names of wrappers inside of other names were removed"),
        (_respelled, "weight_norm or spectral_norm is spelled as in another version of torch"),
    ):
        renamed = rename(entries, expected)
        notes += [what] * (renamed.keys() != entries.keys())
        entries = renamed
    required = {name for name in expected if not name.endswith(COUNTER)}
    required -= _tied(entries, expected).keys()
    if not required <= entries.keys():
        prefix = _prefix_of_model(entries, required)
        if prefix:
            others = [name for name in entries if not name.startswith(prefix)]
            entries = {
                name.removeprefix(prefix): value
                for name, value in entries.items()
                if name.startswith(prefix)
            }
            left_out = f"; left out: {_listed(others)}" if others else ""
            notes.append(f"the weights are those whose names start with '{prefix}'{left_out}")
    entries |= _tied(entries, expected)
    extra = [n for n in entries if n not in expected and n.rpartition(".")[2] in EXTRA]
    if extra:
        notes.append(f"left out: {_listed(extra)}")
        entries = {name: value for name, value in entries.items() if name not in extra}
    counters = [name for name in expected if name not in entries and name not in required]
    if counters and required <= entries.keys():
        notes.append(
            f"it lacks {counted(len(counters), 'counter')} of BatchNorm; fresh ones are used"
        )
        entries |= {name: expected[name] for name in counters}
    if differences := _differences(entries, expected):
        raise CounError(differences)
    for name, value in entries.items():
        if problem := _not_weights(value, expected[name]):
            raise CounError(f"{name} {problem}")
    if difference := _untied(entries, expected):
        raise CounError(difference)
    return entries, notes


def _not_weights(value: Tensor, expected: Tensor) -> str:
    """Why a tensor of the right name and shape is not a weight; empty if it is one."""
    if value.is_quantized or (expected.is_floating_point() and not value.is_floating_point()):
        kind = str(value.dtype).removeprefix("torch.")
        return f"holds values of type {kind}, not weights in floating point; convert them first"
    if value.layout != torch.strided:
        return "is a sparse tensor; save it with .to_dense()"
    return (
        "is on the device meta and has no values; load them before saving" if value.is_meta else ""
    )


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


def _without_wrappers(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """*state* without `WRAPPERS` in names, as `features.module.0.weight`, where names then fit."""
    result: dict[str, Tensor] = {}
    for name, value in state.items():
        short = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        result[short if name not in expected and short in expected else name] = value
    return result if len(result) == len(state) else dict(state)


def _respelled(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """*state* with the names that the model has for the same tensors of weight_norm and the like.

    Both spellings are the same computation, and their tensors have the same shapes.
    """
    result = dict(state)
    for new, old in (*SPELLINGS, *(pair[::-1] for pair in SPELLINGS)):
        for name in expected:
            other = name.removesuffix(new) + old
            spelled = name.endswith(new) and other in result
            if spelled and name not in result and other not in expected:
                result[name] = result.pop(other)
    return result


def _untied(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Which names have different values in the file but one tensor in the model; empty if none."""
    first: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    for name, tensor in expected.items():
        if not tensor.numel():
            continue
        other = first.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
        if other != name and not torch.equal(state[name], state[other]):
            return (
                f"{other} and {name} are one tensor in the model and differ in the file; untie them"
            )
    return ""


def _prefix_of_model(state: Mapping[str, Tensor], required: set[str]) -> str:
    """The only prefix under which *state* has every required name; empty if there is none.

    Raises: CounError if there are several, because they are different weights.
    """
    some = min(required, key=len, default="")
    prefixes = [name.removesuffix(some) for name in state if some and name.endswith("." + some)]
    complete = [p for p in prefixes if all(p + name in state for name in required)]
    if len(complete) > 1:
        raise CounError(
            f"it holds several models, under {', '.join(map(repr, complete))}; keep the names of "
            "one of them only"
        )
    return complete[0] if complete else ""


def _tied(entries: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Missing entries whose tensor the model shares with one that is there (tied weights)."""
    there = {t.data_ptr(): entries[n] for n, t in expected.items() if n in entries and t.numel()}
    return {
        name: there[tensor.data_ptr()]
        for name, tensor in expected.items()
        if name not in entries
        and tensor.data_ptr() in there
        and there[tensor.data_ptr()].shape == tensor.shape
    }


def _differences(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What does not fit, in one line; empty if everything does."""
    missing = [f"missing {name}" for name in expected if name not in state]
    unexpected = [f"unexpected {name}" for name in state if name not in expected]
    shapes = [
        f"{name} is {list(state[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    wrong = [*missing, *unexpected, *shapes]
    if not wrong:
        return ""
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    line = f"{'; '.join(wrong[:_SHOWN])}{more}"
    rows = [(state[n].shape, t.shape) for n, t in expected.items() if n in state]
    heads = {(have[0], want[0]) for have, want in rows if have != want and have and want}
    only_rows = all(have[1:] == want[1:] for have, want in rows)
    hints = (hint for end, hint in HINTS.items() if any(x.endswith(end) for x in unexpected))
    if hint := next(hints, ""):
        line += f" ({hint})"
    if shapes and wrong == shapes and len(shapes) <= 2 and only_rows and len(heads) == 1:
        have, want = heads.pop()
        line += f" (it has {have} outputs and the model {want}: are the classes the same?)"
    return line


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
