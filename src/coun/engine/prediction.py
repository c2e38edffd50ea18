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
    """Logits (N, K) and features (N, D), float32 on the CPU, of *examples* in their order.

    The model's training mode is put back afterwards.
    """
    device = next(classifier.parameters()).device
    was_training = {m: m.training for m in classifier.modules()}
    classifier.eval()
    logits: list[Tensor] = []
    features: list[Tensor] = []
    try:
        with torch.no_grad(), ProgressBar(title, visible=progress) as bar:
            for start in range(0, len(examples), BATCH):
                rows = torch.arange(start, min(start + BATCH, len(examples)))
                out = classifier(data.views.evaluate(examples.fetch(rows).to(device)))
                logits.append(out.logits.float().cpu())
                features.append(out.features.float().cpu())
                bar.show(start + len(rows), len(examples))
    finally:
        for module, mode in was_training.items():
            module.training = mode
    return Outputs(torch.cat(logits), torch.cat(features))
