"""Metrics that need the models themselves, computed only where they are asked for by name."""

from __future__ import annotations

from dataclasses import replace

from coun.analysis.relearning import relearn
from coun.data import Split
from coun.data.noisy_views import NoisyViews
from coun.engine import predict
from coun.errors import CounError
from coun.metrics import accuracy
from coun.metrics.registry import Metric
from coun.runs import Run
from coun.seeds import Seeds

DRAWS = 5


def perturbed_accuracy(run: Run, split: Split) -> float:
    """Measure how many percent of slightly changed forget rows *run* still classifies rightly.

    Each row has `DRAWS` copies with Gaussian noise; all models with one request get the same.

    Raises: CounError for rows that are token ids, which noise cannot be added to.
    """
    data = run.data
    if data.noun == "text":
        raise CounError("residual knowledge adds noise to inputs, which token ids do not have")
    rows = data.train.take(split.rows(data, "forget"))
    shares = []
    for draw in range(DRAWS):
        noisy = replace(
            data, views=NoisyViews(data.views, Seeds(draw).number("perturbed forget rows"))
        )
        shares.append(accuracy(predict(run.classifier, noisy, rows).logits, rows.labels.cpu()))
    return sum(shares) / DRAWS


def residual_knowledge(run: Run, retrain: Run, split: Split) -> float:
    """Compare what is left near the forget rows with what Retrain generalises to them.

    Returns: `perturbed_accuracy` of *run* divided by that of *retrain*; above 1 the model
        recognises rows near the forgotten ones more often than Retrain does. NaN where both are 0.

    Source: residual knowledge (Hsu et al., 2025): the ratio of the probabilities that the
        unlearned and the re-trained model classify perturbed forget rows rightly. They search
        within a ball; here the noise is Gaussian, and fixed.
    """
    of_retrain = perturbed_accuracy(retrain, split)
    of_run = perturbed_accuracy(run, split)
    if of_retrain == 0:
        return float("nan") if of_run == 0 else float("inf")
    return of_run / of_retrain


def relearn_steps(run: Run, original: Run, split: Split) -> float:
    """Count the steps until *run* knows its forget rows as the Original does, at most 200."""
    return float(relearn(run, original, split).steps)


RESIDUAL = Metric(
    "residual_knowledge", "residual", "", residual_knowledge,
    ("model", "retrain.model", "split"),
    title="Residual knowledge of perturbed forget rows", direction="lower",
    column=None,
)  # fmt: skip
RELEARN = Metric(
    "relearn_steps", "relearn", "", relearn_steps,
    ("model", "original.model", "split"),
    title="Steps until the forget rows are known again, at most 200", column=None, digits=0,
)  # fmt: skip
