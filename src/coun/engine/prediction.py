"""Forward passes for measurement: eval mode, float32, no gradient, deterministic views."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from weakref import WeakKeyDictionary

import torch
from torch import nn

from coun.data import Data, Examples
from coun.engine.cost import forward_flops
from coun.engine.device import fixed_algorithms, sent
from coun.engine.progress_bar import ProgressBar
from coun.errors import CounError
from coun.models import Classifier, Outputs
from coun.models.copies import copy_model
from coun.models.modes import in_eval_mode
from coun.seeds import Seeds, check_defaults_of_torch

BATCH = 500
# Floating-point operations from which a copy of the model on a GPU pays: seconds of a CPU core.
WORK_FOR_A_GPU = 1e12
CPU_BATCH = 100  # activations of 500 images leave the caches: `cnn` takes twice the time, same bits
# By network and shape of an input, as an audit predicts many sets of rows with the same network.
_flops_of_a_row = WeakKeyDictionary[nn.Module, dict[torch.Size, float]]()


def predict(
    classifier: Classifier,
    data: Data,
    examples: Examples,
    *,
    progress: bool = False,
    title: str = "",
    with_features: bool = True,
    batch_size: int | None = None,
    anywhere: bool = False,
) -> Outputs:
    """Compute the logits and features of *examples*, in their order.

    Args:
        classifier: a wrapped model; its training mode is restored afterwards.
        data: the data whose views turn images into inputs.
        examples: the N rows to predict.
        progress: whether to show a bar on standard error.
        title: the first words of the bar.
        with_features: False keeps no features, which take more memory than anything else here.
        batch_size: rows that are predicted at a time; None takes what is quick on the device.
        anywhere: let a copy of a model that is on the CPU compute on a GPU, if there is one and
            the work is worth it. By default it computes where it is.

    Returns: logits (N, K) and features (N, D), or (N, 0), float32 on the CPU.

    >>> from coun.data import load
    >>> data = load("digits", limit=20)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> predict(model, data, data.train).logits.shape
    torch.Size([20, 10])
    """
    check_defaults_of_torch()

    def outputs(model: Classifier) -> Outputs:
        return _predict(model, data, examples, progress, title, with_features, batch_size)

    if anywhere and (copied := _on_a_gpu(classifier, data, examples)):
        with suppress(torch.OutOfMemoryError):  # other programs use the GPU; the CPU has room
            return outputs(copied)
    return outputs(classifier)


def _on_a_gpu(classifier: Classifier, data: Data, examples: Examples) -> Classifier | None:
    """Copy a model that is on the CPU to a GPU, where one is left and there is enough to do."""
    on_cpu = next(classifier.parameters()).device.type == "cpu"
    if not (on_cpu and len(examples) and torch.cuda.is_available()):
        return None
    example = data.views.evaluate(examples.fetch(torch.arange(1)).cpu())
    flops = _flops_of_a_row.setdefault(classifier.inner, {})
    if example.shape not in flops:
        flops[example.shape] = forward_flops(classifier, example)
    if flops[example.shape] * len(examples) < WORK_FOR_A_GPU:
        return None
    try:
        return copy_model(classifier).to("cuda")
    except (CounError, torch.OutOfMemoryError):
        return None


def _predict(
    classifier: Classifier,
    data: Data,
    examples: Examples,
    progress: bool,
    title: str,
    with_features: bool,
    batch_size: int | None,
) -> Outputs:
    device = next(classifier.parameters()).device
    outputs = Outputs(torch.empty(0, 0), torch.empty(0, 0))
    with ExitStack() as stack:
        # A network that draws also in eval mode gives the same answers the next time.
        stack.enter_context(Seeds(0).as_global("prediction"))
        stack.enter_context(in_eval_mode(classifier))
        stack.enter_context(torch.no_grad())
        stack.enter_context(fixed_algorithms(device))
        bar = stack.enter_context(ProgressBar(title, visible=progress))
        size = batch_size or (CPU_BATCH if device.type == "cpu" else BATCH)
        for start in range(0, len(examples), size):
            slots = torch.arange(start, min(start + size, len(examples)))
            out = classifier(data.views.evaluate(sent(examples.fetch(slots), device)))
            if start == 0:  # the whole result at once: joining batches would need it twice
                width = out.features.shape[1] if with_features else 0
                outputs = Outputs(
                    torch.empty(len(examples), out.logits.shape[1], dtype=torch.float32),
                    torch.empty(len(examples), width, dtype=torch.float32),
                )
            outputs.logits[slots] = out.logits.float().cpu()
            if with_features:
                outputs.features[slots] = out.features.float().cpu()
            bar.show(start + len(slots), len(examples))
    return outputs
