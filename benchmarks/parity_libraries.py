"""The comparisons of parity.py with well-known libraries: views, schedules and statistics.

Every function gets the module of its library and the trained case.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from parity_common import Case, Line, differences
from torch import Tensor, nn

from coun.attacks.roc_curves import roc
from coun.audit.rank_tests import Groups, Strata, mean_difference, rank_test
from coun.data import Views, colour
from coun.engine.optimizer import Optimizer
from coun.metrics import holm
from coun.metrics.calibration import brier_score, calibration_error, negative_log_likelihood
from coun.metrics.divergence import js_rows, kl_divergence
from coun.metrics.semantics import semantic_correlation
from coun.metrics.statistics import clopper_pearson, equivalence, mean_interval, welch

LUMA = (0.2989, 0.587, 0.114)  # torchvision's


def pictures() -> Tensor:
    """Pixels of 16 images, uint8."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)


def torchvision_views(torchvision: Any, c: Case) -> Iterator[Line]:
    """Random crop, flip, normalisation, resizing and colour changes, with the same draws."""
    name, F = "torchvision", torchvision.transforms.functional  # noqa: N806
    images = pictures()
    views = Views("CHN", padding=4)
    ours = views(images, torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(1)  # what `Views` draws, in its order
    offsets = torch.randint(0, 9, (2, len(images)), generator=drawn)
    flips = torch.rand(len(images), generator=drawn) < 0.5
    theirs = []
    for k, image in enumerate(images):
        crop = F.crop(F.pad(image, 4), int(offsets[0, k]), int(offsets[1, k]), 32, 32)
        crop = F.hflip(crop) if flips[k] else crop
        theirs.append(F.normalize(F.convert_image_dtype(crop), views.mean, views.std))
    what = "views CHN: random crop, flip and normalisation"
    yield Line(what, name, *differences(ours, torch.stack(theirs)))
    ours = Views("", size=(24, 20)).evaluate(images)
    resized = F.resize(images.float() / 255, [24, 20], antialias=True)
    yield Line("resizing", name, *differences(ours, resized))

    x, count = images.float() / 255, len(images)
    factors = torch.linspace(0.2, 1.8, count).view(-1, 1, 1, 1)
    shifts = torch.linspace(-0.2, 0.2, count).view(-1, 1, 1, 1)
    for luma in (LUMA, colour.LUMA):
        words = "" if luma == LUMA else "theirs has the luma 0.2989 for red, ours 0.299"
        with patch.object(colour, "LUMA", luma):
            for what, mine, other, amounts in (
                ("brightness", colour.brightness, F.adjust_brightness, factors),
                ("hue", colour.hue, F.adjust_hue, shifts),
                ("contrast", colour.contrast, F.adjust_contrast, factors),
                ("saturation", colour.saturation, F.adjust_saturation, factors),
            ):
                if luma != LUMA and what in ("brightness", "hue"):
                    continue
                sides = (
                    mine(x, amounts),
                    torch.stack([other(x[k], float(amounts[k])) for k in range(count)]),
                )
                same = ", their luma" * (luma == LUMA and what in ("contrast", "saturation"))
                yield Line(f"colour jitter, {what}{same}", name, *differences(*sides), words)
    jitter = colour.Jitter.draw(count, torch.Generator().manual_seed(2))
    adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    whole = x.clone()
    for row, amounts, order in zip(jitter.rows, jitter.amounts, jitter.order, strict=True):
        for number in order.tolist():
            whole[row] = adjust[number](whole[row], float(amounts[number]))
    with patch.object(colour, "LUMA", LUMA):
        sides = (jitter(x), whole)
        words = f"{len(jitter.rows)} of {count} images change, each in its own order"
        yield Line("colour jitter, their luma", name, *differences(*sides), words)


def torch_schedules(_: Any, c: Case) -> Iterator[Line]:
    """The rates of 200 steps, against torch's schedulers and timm's for the warm-up."""
    total, lr, floor = 200, 0.1, 1e-4

    def ours(**settings: Any) -> list[float]:
        optimizer = Optimizer(lr=lr, **settings)
        return [optimizer.rate(step / total) for step in range(total)]

    def theirs(make: Any) -> list[float]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
        scheduler, rates = make(optimizer), []
        for _ in range(total):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            scheduler.step()
        return rates

    schedulers = torch.optim.lr_scheduler
    cosine = theirs(lambda o: schedulers.CosineAnnealingLR(o, total, floor))
    sides = (ours(lr_floor=floor), cosine)
    yield Line("cosine schedule, by steps: rates", "torch", *differences(*sides))
    steps = theirs(lambda o: schedulers.MultiStepLR(o, [100, 150], 0.1))
    yield Line(
        "multistep schedule: rates", "torch", *differences(ours(schedule="multistep"), steps)
    )


def timm_schedules(timm: Any, c: Case) -> Iterator[Line]:
    total, warm, lr, floor = 200, 75, 0.1, 1e-4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    scheduler = timm.scheduler.CosineLRScheduler(
        optimizer, total - warm, lr_min=floor, warmup_t=warm, warmup_lr_init=0.0,
        warmup_prefix=True, t_in_epochs=False,
    )  # fmt: skip
    theirs = []
    for step in range(total):
        scheduler.step_update(step)
        theirs.append(float(optimizer.param_groups[0]["lr"]))
    rate = Optimizer(lr=lr, lr_floor=floor, warmup=warm / total).rate
    ours = [rate(step / total) for step in range(total)]
    yield Line("warm-up and cosine schedule: rates", "timm", *differences(ours, theirs))


def scipy_metrics(scipy: Any, c: Case) -> Iterator[Line]:
    """Divergences, correlations and rank tests."""
    name, stats = "scipy", scipy.stats
    p, q = (c.logits["forget"].roll(k, 0).double().softmax(1).numpy() for k in (0, 1))
    jensen = scipy.spatial.distance.jensenshannon(p, q, axis=1) ** 2
    yield Line("JS divergence of each row", name, *differences(js_rows(p, q), jensen))
    entropies = stats.entropy(p, q, axis=1).mean()
    yield Line("KL divergence", name, *differences(kl_divergence(p, q), entropies))
    draws = np.random.default_rng(0)
    similar, row = draws.random(8), draws.random(8)
    ours = semantic_correlation(similar, row, 0, generator=draws)
    theirs = stats.spearmanr(similar[1:], row[1:])
    yield Line("semantic correlation (Spearman's)", name, *differences(ours.rho, theirs.statistic))
    exact = stats.permutation_test(
        (similar[1:],), lambda x: stats.spearmanr(x, row[1:]).statistic,
        permutation_type="pairings", n_resamples=np.inf,
    )  # fmt: skip
    yield Line("its p over all 5,040 orders", name, *differences(ours.p, exact.pvalue))
    scores = Groups(draws.normal(0.3, 1, 230).round(1), draws.normal(0, 1, 240).round(1))
    labels = [np.zeros(len(part), int) for part in scores]
    test = rank_test(Strata.of(*labels), scores)
    whitney = stats.mannwhitneyu(*scores, use_continuity=False, method="asymptotic")
    yield Line("rank test of an audit, one class: p", name, *differences(test.p, whitney.pvalue))
    effect = whitney.statistic / len(scores.forget) / len(scores.test) - 0.5
    yield Line("rank test, one class: effect", name, *differences(test.effect, effect))
    ours_mean = mean_difference(Strata.of(*labels), scores)
    ci = stats.ttest_ind(*scores, equal_var=False).confidence_interval(0.9)
    sides = ([ours_mean.low, ours_mean.high], [ci.low, ci.high])
    yield Line("mean difference of an audit: interval", name, *differences(*sides))


def sklearn_metrics(sklearn: Any, c: Case) -> Iterator[Line]:
    name = "scikit-learn"
    p, y = c.logits["test"].double().softmax(1).numpy(), c.labels["test"].numpy()
    logits = c.logits["test"].double().numpy()
    loss = sklearn.metrics.log_loss(y, p, labels=np.arange(10))
    yield Line("mean loss", name, *differences(negative_log_likelihood(logits, y), loss))
    brier = sklearn.metrics.brier_score_loss(y, p, labels=np.arange(10), scale_by_half=False)
    yield Line("Brier score", name, *differences(brier_score(logits, y), brier))
    m, o = (c.logits[k].double().log_softmax(1).amax(1) for k in ("retain", "test"))
    attack, truth = roc(m, o), np.repeat([1, 0], [len(m), len(o)])
    scores = torch.cat([m, o]).numpy()
    false, true, _ = sklearn.metrics.roc_curve(truth, scores, drop_intermediate=False)
    theirs = [
        sklearn.metrics.roc_auc_score(truth, scores), ((true + 1 - false) / 2).max(),
        true[false <= 0.01].max(),
    ]  # fmt: skip
    ours = [attack.auc, attack.balanced_accuracy, attack.tpr_at_1.share]
    what = "ROC: area, balanced accuracy, true positives at 1%"
    yield Line(what, name, *differences(ours, theirs))


def torchmetrics_calibration(torchmetrics: Any, c: Case) -> Iterator[Line]:
    p, y = c.logits["test"].double().softmax(1), c.labels["test"]
    theirs = torchmetrics.functional.classification.multiclass_calibration_error(
        p, y, num_classes=10, n_bins=15, norm="l1"
    )
    ours = calibration_error(c.logits["test"].double().numpy(), y.numpy())
    words = "theirs adds up in float32"
    yield Line("calibration error (ECE)", "torchmetrics", *differences(ours, float(theirs)), words)


def statsmodels_tests(statsmodels: Any, c: Case) -> Iterator[Line]:
    """Corrections, equivalence, Welch's test and intervals."""
    name = "statsmodels"
    weights, proportion = statsmodels.stats.weightstats, statsmodels.stats.proportion
    draws = np.random.default_rng(0)
    p = draws.random(20) ** 3
    ours = list(holm({str(k): value for k, value in enumerate(p)}).values())
    theirs = statsmodels.stats.multitest.multipletests(p, method="holm")[1]
    yield Line("Holm's correction", name, *differences(ours, theirs))
    a, b = draws.normal(0.2, 1, 9), draws.normal(0, 2, 9)
    paired = equivalence(a, b, margin=1.5)
    yield Line("equivalence (TOST), by seed: p", name,
               *differences(paired.p, weights.ttost_paired(a, b, -1.5, 1.5)[0]))  # fmt: skip
    independent = equivalence(a, b, margin=1.5, by_seed=False)
    other = weights.ttost_ind(a, b, -1.5, 1.5, usevar="unequal")[0]
    yield Line("equivalence (TOST), independent: p", name, *differences(independent.p, other))
    test, t = welch(a, b), weights.ttest_ind(a, b, usevar="unequal")
    yield Line("Welch's test: t, p, df", name, *differences([test.t, test.p, test.df], t))
    interval = mean_interval(a)
    ends = weights.DescrStatsW(a).tconfint_mean()
    yield Line("interval of a mean", name, *differences([interval.low, interval.high], ends))
    rate = clopper_pearson(3, 17)
    ends = proportion.proportion_confint(3, 17, method="beta")
    yield Line("Clopper-Pearson interval", name, *differences([rate.low, rate.high], ends))
