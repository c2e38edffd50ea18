"""The comparisons of parity.py with attacks by thresholds and many models, and with Flower."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from parity_common import Case, Line, differences, method_of, module_of, on_the_cpu, part_of
from scipy.stats import norm
from sklearn.neighbors import KernelDensity
from torch import Tensor

from coun.attacks.gaussians import Gaussians
from coun.attacks.signals import scaled_logit
from coun.attacks.threshold import class_thresholds
from coun.attacks.ulira import ulira_accuracy, ulira_log_odds
from coun.data.partition import Partition
from coun.federated.averaging import average

MODELS = 12  # on each side


def models_of_rows(c: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of unlearned models and of others for 40 forget rows, phi and which models saw them.

    The models are drawn around the logits of the trained one.
    """
    generator = torch.Generator().manual_seed(0)
    rows, labels = c.logits["forget"][:40].double(), c.labels["forget"][:40]
    noise = torch.randn(2 * MODELS, *rows.shape, generator=generator, dtype=torch.float64)
    logits = rows + 2 * noise
    logits[torch.arange(MODELS)[:, None], torch.arange(40), labels] += 1.0
    phi = torch.stack([scaled_logit(x, labels) for x in logits])
    saw = torch.zeros(phi.shape, dtype=torch.bool)
    saw[:MODELS] = True
    return logits, phi, saw


def ulira(folder: Path, c: Case) -> Iterator[Line]:
    """U-LiRA of one model, and what their scorer does instead."""
    name = "deepunlearn"
    logits, phi, saw = models_of_rows(c)
    names = {"np": np, "norm": norm, "defaultdict": __import__("collections").defaultdict}
    path = folder / "munl/lira/consolidate_predictions.py"
    wanted = "predicted_membership_probability", "compute_membership_probabilities"
    script = part_of(path, {**names, "Dict": dict}, *wanted)
    odds = ulira_log_odds(phi, saw)
    sides = [
        Gaussians.fit(np.delete(phi.numpy()[part], 0, 0), np.ones((MODELS - 1, 40), bool),
                      centre="mean")
        for part in (slice(MODELS), slice(MODELS, None))
    ]  # fmt: skip
    theirs = script.predicted_membership_probability(
        phi[0].numpy(), sides[0].centre, sides[0].spread, sides[1].centre, sides[1].spread
    )
    what = "U-LiRA: probability of one model, the same Gaussians"
    yield Line(what, name, *differences(odds[0].sigmoid(), theirs))
    labels = c.labels["forget"][:40]
    right = (logits.argmax(2) == labels).double().numpy()
    given = {
        k: types.SimpleNamespace(forgotten=right[:MODELS, k], never=right[MODELS:, k])
        for k in range(40)
    }
    with np.errstate(all="ignore"):
        scores = script.compute_membership_probabilities(given)
    values = np.array([scores[k] for k in range(40)])
    undefined = int(np.isnan(values).all(1).sum())
    accuracy = 100 * float(np.mean(values[~np.isnan(values)] > 0.5))
    ours = ulira_accuracy(odds, saw)
    words = (
        "theirs fits Gaussians to correctness, and scores only forgotten rows, with the models "
        f"that it was fitted on; of {undefined} of 40 rows it gives no number"
    )
    yield Line("U-LiRA: accuracy, %", name, *differences(ours, accuracy), words)


def ruli(folder: Path, c: Case) -> Iterator[Line]:
    """The likelihood ratio of RULI, of the rows of one model."""
    _, phi, saw = models_of_rows(c)
    names = {"np": np, "KernelDensity": KernelDensity}
    path, kind = folder / "core/attack/unlearn_attack.py", "TargetModelEvaluator"
    score = method_of(path, kind, "compute_kde_likelihood", dict(names))
    evaluate = method_of(path, kind, "evaluate_sample_likelihood", dict(names))
    target = phi[0].numpy()
    maps = [dict(enumerate(side.numpy().T)) for side in (phi[1:MODELS], phi[MODELS + 1 :])]
    setting = types.SimpleNamespace(
        perform_inference=lambda: (dict(enumerate(target)), dict(enumerate(target))),
        in_samples=range(40), compute_kde_likelihood=score,
        shadow_model_in_trained=maps[0], shadow_model_out_trained=maps[1],
        shadow_model_unlearned_trained=maps[0], shadow_model_in_unlearned=maps[0],
        shadow_model_out_unlearned=maps[1], shadow_model_unlearned_unlearned=maps[0],
    )  # fmt: skip
    ratios = evaluate(setting)[3]
    theirs = np.concatenate([np.ravel(ratio) for ratio in ratios])
    ours = ulira_log_odds(phi, saw)[0].sigmoid()
    same = int(((ours.numpy() > 0.5) == (theirs > 0.5)).sum())
    words = (
        "ours has a Gaussian of each side, theirs a kernel density of bandwidth 1 in units of the "
        f"scaled logit; {same} of 40 answers are the same"
    )
    yield Line("RULI: probability of each row", "Ruli", *differences(ours, theirs), words)


def song_mittal(folder: Path, c: Case) -> Iterator[Line]:
    """Thresholds of the confidence by class, in a copy of the code of Song and Mittal."""
    name = "Evaluating-Inexact-Unlearning"
    with patch.dict(sys.modules, {"matplotlib.pyplot": MagicMock()}):
        script = module_of(folder / "src/PrivacyRiskScore/MIA.py")
    p = {k: x.double().softmax(1) for k, x in c.logits.items()}
    parts = {k: (p[k].numpy(), c.labels[k].numpy()) for k in ("retain", "test", "forget")}
    with on_the_cpu():
        attack = script.black_box_benchmarks(
            parts["retain"], parts["test"], parts["retain"], parts["test"], 10
        )
        theirs = [
            attack._thre_setting(attack.s_tr_conf[attack.s_tr_labels == k],
                                 attack.s_te_conf[attack.s_te_labels == k])
            for k in range(10)
        ]  # fmt: skip
        accuracy = attack._mem_inf_thre("", attack.s_tr_conf, attack.s_te_conf,
                                        attack.s_tr_conf, attack.s_te_conf)[1]  # fmt: skip
    m, o = (p[k].gather(1, c.labels[k][:, None])[:, 0] for k in ("retain", "test"))
    ours = class_thresholds(m, c.labels["retain"], o, c.labels["test"], 10)

    def balanced(k: int, t: float) -> float:
        of_class = [x[c.labels[part] == k] for x, part in ((m, "retain"), (o, "test"))]
        return 0.5 * float((of_class[0] >= t).double().mean() + (of_class[1] < t).double().mean())

    sides = ([balanced(k, float(t)) for k, t in enumerate(ours)], [score for _, score in theirs])
    what = "thresholds by class: balanced accuracy of each class"
    yield Line(what, name, *differences(*sides))
    right = [
        float((x >= t[c.labels[part]]).double().mean())
        for t, x, part in ((ours, m, "retain"), (ours, o, "test"))
    ]
    mean = 0.5 * (right[0] + 1 - right[1])
    yield Line("thresholds by class: accuracy", name, *differences(mean, accuracy))


def flower(folder: Path, c: Case) -> Iterator[Line]:
    """FedAvg's mean, and Dirichlet's partition with the same shares."""
    stubs = {"flwr": types.ModuleType("flwr")}
    for stem in ("common", "server", "server.client_proxy"):
        stubs[f"flwr.{stem}"] = MagicMock()
    path = folder / "framework/py/flwr/server/strategy/aggregate.py"
    script = module_of(path, "other_aggregate", stubs)
    generator = torch.Generator().manual_seed(0)
    states = [
        {"w": torch.randn(50, 20, generator=generator, dtype=torch.float64)} for _ in range(5)
    ]
    rows = [10, 200, 37, 55, 90]
    theirs = script.aggregate([([s["w"].numpy()], n) for s, n in zip(states, rows, strict=True)])
    sides = (average(states, rows)["w"], theirs[0])
    yield Line("FedAvg: mean of five clients", "flower", *differences(*sides))

    package = types.ModuleType("other_flower")
    package.__path__ = [str(folder / "datasets/flwr_datasets")]
    place = "other_flower.partitioner"
    base = types.ModuleType(f"{place}.partitioner")
    base.Partitioner = object  # type: ignore[attr-defined]
    common = types.ModuleType("other_flower.common.typing")
    common.NDArrayFloat = common.NDArrayInt = Any  # type: ignore[attr-defined]
    extra: dict[str, Any] = {
        "other_flower": package, place: types.ModuleType(place), f"{place}.partitioner": base,
        "other_flower.common": types.ModuleType("other_flower.common"), "datasets": MagicMock(),
        "other_flower.common.typing": common, "flwr_datasets": MagicMock(),
        "flwr_datasets.common": MagicMock(), "flwr_datasets.common.typing": common,
        "flwr_datasets.partitioner": MagicMock(), "flwr_datasets.partitioner.partitioner": base,
    }  # fmt: skip
    path = folder / "datasets/flwr_datasets/partitioner/dirichlet_partitioner.py"
    module = module_of(path, f"{place}.dirichlet_partitioner", extra)
    labels = torch.cat([torch.full((60 + 5 * k,), k) for k in range(10)])
    clients, alpha = 6, 0.5

    class Rows:
        """Their data set, of labels only."""

        num_rows = len(labels)

        def unique(self, column: str) -> list[int]:
            return list(range(10))

        def __getitem__(self, column: str) -> list[int]:
            return [int(label) for label in labels]

    shares = np.random.default_rng(0).dirichlet(np.full(clients, alpha), size=10)

    class Given:
        """A generator whose shares are given."""

        def __init__(self) -> None:
            self.rest, self.real = iter(shares), np.random.default_rng(1)

        def dirichlet(self, concentration: Any) -> np.ndarray:
            return next(self.rest)

        def permutation(self, values: Any) -> np.ndarray:
            return self.real.permutation(values)

        def shuffle(self, values: Any) -> None:
            self.real.shuffle(values)

    with patch.object(module.DirichletPartitioner, "dataset", Rows(), create=True):
        other = module.DirichletPartitioner(clients, "label", alpha, min_partition_size=0)
        other._rng = Given()
        other._determine_partition_id_to_indices_if_needed()
    partition = Partition(clients=clients, spread="dirichlet", alpha=alpha)
    ours = partition._dirichlet(labels.numpy(), Given())  # type: ignore[arg-type]
    table = np.zeros((2, clients, 10))
    for client, indices in other._partition_id_to_indices.items():
        np.add.at(table[1, client], labels.numpy()[indices], 1)
    np.add.at(table[0], (ours, labels.numpy()), 1)
    words = "of each class and client; theirs gives each client a run of the file, ours random rows"
    what = "Dirichlet partition, the same shares: numbers of rows"
    yield Line(what, "flower", *differences(*table), words)
