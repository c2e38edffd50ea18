"""Answers to slightly changed copies of the forgotten rows."""

from __future__ import annotations

from dataclasses import replace

from coun.audit.rank_tests import Groups
from coun.audit.scores import log_odds
from coun.data import Split
from coun.data.noisy_views import NoisyViews
from coun.engine import predict
from coun.runs import Run

NOISE_BATCH = 100  # each batch gets the same noise, so its size is part of what is measured


def nearby_odds(run: Run, split: Split) -> Groups:
    """Log-odds of slightly changed copies of the forgotten rows (M,) and the test rows (O,).

    A model that looks up the forgotten rows, and gives them the answers of another model, still
    gives its own answers to rows beside them.
    """
    data = run.data
    noisy = replace(data, views=NoisyViews(data.views))
    parts = (
        data.train.take(split.rows(data, "forgotten")),
        data.test.take(split.test_rows(data)),
    )
    return Groups(
        *(
            log_odds(
                predict(run.classifier, noisy, part, batch_size=NOISE_BATCH).logits, part.labels
            )
            for part in parts
        )
    )
