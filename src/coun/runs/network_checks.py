"""What is refused, or said to the user, of a network before it is trained or measured."""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

from coun.errors import CounError
from coun.models.inputs import run
from coun.models.modes import in_eval_mode, layers_put_into_eval_mode
from coun.models.outputs import candidates
from coun.seeds import restored_generator

_log = logging.getLogger(__name__)


def require_trainable(model: nn.Module) -> None:
    """Refuse a model without a real weight that may change, and `torch.inference_mode`."""
    if torch.is_inference_mode_enabled():
        raise CounError(
            "nothing can be trained inside torch.inference_mode(); call coun outside of it"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise CounError(
            f"all weights of {type(model).__name__} are frozen (requires_grad is False), so that "
            "it can neither learn nor forget; call requires_grad_(True) on what may change"
        )
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.is_complex():
            raise CounError(
                f"'{name}' of {type(model).__name__} holds complex numbers, which no method "
                "changes; keep them as real ones, torch.view_as_real(weight), and make them "
                "complex in the forward, or freeze them"
            )


def warn_of_modes(model: nn.Module) -> None:
    """Say which layers in eval mode training will set to train mode."""
    if layers := layers_put_into_eval_mode(model):
        named = f"layer {layers[0]} is" if len(layers) == 1 else f"layers {_first(layers)} are"
        _log.warning(
            "%s in eval mode in a network in train mode, and will be trained like all others; to "
            "keep the statistics of a BatchNorm or a dropout off, give the network a method "
            "train that leaves these layers in eval mode",
            named,
        )


def warn_of_random_answers(model: nn.Module, example: Tensor) -> None:
    """Say that a network answers at random in eval mode, as with dropout that is never off.

    Args: example: a batch of inputs; of images, random ones of its shape are run.
    """
    with restored_generator(), torch.no_grad(), in_eval_mode(model):
        if example.is_floating_point():  # a blank image hides what is random in an image
            example = torch.randn_like(example)
        try:
            answers = [candidates(run(model, example)) for _ in range(2)]
        except Exception:  # whatever it raises, the classifier that is made next says why
            return
    pairs = zip(*answers, strict=True)
    if not all(torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs):
        _log.warning(
            "%s answers the same row differently each time, also in eval mode, so that its "
            "metrics hold for one draw only; if that is dropout, turn it off by "
            "F.dropout(x, p, self.training)",
            type(model).__name__,
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)
