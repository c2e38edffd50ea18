"""Forward passes for measurement: eval mode, float32, no gradient, deterministic views."""

from __future__ import annotations

import torch
from torch import Tensor

from coun.data import Data, Examples
from coun.engine.progress_bar import ProgressBar
from coun.models import Classifier, Outputs

BATCH = 500


def predict(
    classifier: Classifier,
    data: Data,
    examples: Examples,
    *,
    progress: bool = False,
    title: str = "",
) -> Outputs:
    """Compute the logits and features of *examples*, in their order.

    Args:
        classifier: A wrapped model; its training mode is restored afterwards.
        data: The data whose views turn images into inputs.
        examples: The N rows to predict.
        progress: Whether to show a bar on standard error.
        title: The first words of the bar.

    Returns: Logits (N, K) and features (N, D), float32 on the CPU.

    >>> from coun.data import load
    >>> data = load("digits", limit=20)
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> predict(model, data, data.train).logits.shape
    torch.Size([20, 10])
    """
    device = next(classifier.parameters()).device
    was_training = {m: m.training for m in classifier.modules()}
    classifier.eval()
    logits: list[Tensor] = []
    features: list[Tensor] = []
    try:
        with torch.no_grad(), ProgressBar(title, visible=progress) as bar:
            for start in range(0, len(examples), BATCH):
                slots = torch.arange(start, min(start + BATCH, len(examples)))
                out = classifier(data.views.evaluate(examples.fetch(slots).to(device)))
                logits.append(out.logits.float().cpu())
                features.append(out.features.float().cpu())
                bar.show(start + len(slots), len(examples))
    finally:
        for module, mode in was_training.items():
            module.training = mode
    return Outputs(torch.cat(logits), torch.cat(features))
