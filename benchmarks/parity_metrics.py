"""The comparisons of parity.py with metrics and attacks."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity_common import Case, Line, differences, module_of, notebook, part_of
from torch import Tensor, nn
from torch.nn import functional as F

from coun.attacks import lira_offline, lira_online, rmia_ratio, rmia_score
from coun.attacks.logistic import entropy_attack_members, loss_attack_accuracy
from coun.attacks.signals import entropy, features, modified_entropy
from coun.attacks.svc import svc_efficacy
from coun.metrics import zero_retrain_forgetting
from coun.metrics.divergence import activation_distance
from coun.metrics.ensembles import klom
from coun.metrics.representation import linear_cka
from coun.metrics.rf_jsd import rf_jsd
from coun.metrics.tradeoff import tow
from coun.objectives.distillation import kl_loss


def salun(folder: Path, c: Case) -> Iterator[Line]:
    name = "Unlearn-Saliency"
    svc = module_of(folder / "Classification/evaluation/SVC_MIA.py")
    conf = {k: x.softmax(1).gather(1, c.labels[k][:, None]) for k, x in c.logits.items()}
    size = min(len(conf["retain"]), len(conf["test"]))
    members, others = conf["retain"][:size], conf["test"][:size]
    theirs = 100 * svc.SVC_fit_predict(members, others, torch.empty(0, 1), conf["forget"])
    ours = svc_efficacy(
        members.ravel().double(), others.ravel().double(), conf["forget"].ravel().double()
    )
    yield Line("MIA efficacy, SVC on the confidence, %", name, *differences(ours, theirs))
    p, labels = c.logits["forget"].double().softmax(1), c.labels["forget"]
    yield Line("entropy", name, *differences(entropy(c.logits["forget"]), svc.entropy(p)))
    theirs = svc.m_entropy(p, labels)
    same = modified_entropy(c.logits["forget"], labels, "reference")
    yield Line("modified entropy, `reference`", name, *differences(same, theirs))
    right = modified_entropy(c.logits["forget"], labels)
    yield Line(
        "modified entropy", name, *differences(right, theirs),
        "theirs writes ln p for ln(1 - p) and replaces the columns of all labels of the batch",
    )  # fmt: skip


def salun_attack(folder: Path, c: Case) -> Iterator[Line]:
    """The whole attack, with its five features, on the logits as data."""
    script = module_of(folder / "Classification/evaluation/SVC_MIA.py")
    size = min(len(c.labels["retain"]), len(c.labels["test"]))
    parts = {k: (c.logits[k].double()[:size], c.labels[k][:size]) for k in c.logits}
    loaders = {k: [part] for k, part in parts.items()}

    class Given(nn.Module):
        """Answers with its input."""

        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return x

    theirs = script.SVC_MIA(loaders["retain"], None, loaders["forget"], loaders["test"], Given())
    groups = [features(*parts[k]) for k in ("retain", "test", "forget")]
    for group, k in zip(groups, ("retain", "test", "forget"), strict=True):
        group["m_entropy"] = modified_entropy(*parts[k], "reference")
    names = {"prob": "probabilities"}
    ours = [svc_efficacy(*(g[names.get(k, k)] for g in groups)) for k in theirs]
    words = "correctness, confidence, entropy, modified entropy (`reference`) and probabilities"
    reference = [100 * value for value in theirs.values()]
    what = "MIA efficacy on each of five features, %"
    yield Line(what, "Unlearn-Saliency", *differences(ours, reference), words)


def scrub_attack(folder: Path, c: Case) -> Iterator[Line]:
    """The attack on the loss, by the function of SCRUB's notebook, on the same splits."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import confusion_matrix
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    losses = [
        F.cross_entropy(c.logits[k].double(), c.labels[k], reduction="none")
        for k in ("forget", "test")
    ]
    size = min(len(x) for x in losses)
    generator = np.random.default_rng(0)
    rows = [x.numpy()[generator.permutation(len(x))[:size]] for x in losses]
    names: dict[str, Any] = {
        "np": np, "LogisticRegression": LogisticRegression, "confusion_matrix": confusion_matrix,
        "StratifiedShuffleSplit": StratifiedShuffleSplit, "cross_val_score": cross_val_score,
        "print": lambda *values: None,
    }  # fmt: skip
    cells = notebook(folder / "MIA_experiments.ipynb")
    attack = part_of(cells, names, "cm_score", "evaluate_attack_model").evaluate_attack_model
    joined = np.concatenate(rows).reshape(-1, 1)
    theirs = attack(joined, np.repeat([1, 0], size), n_splits=5, random_state=0)
    ours = loss_attack_accuracy(*losses, splits=5, seed=0)
    yield Line("attack on the loss, %", "SCRUB", *differences(ours, 100 * theirs.mean()))


def ssd_attack(folder: Path, c: Case) -> Iterator[Line]:
    """The attack on the entropy, on the logits as data."""
    script = module_of(folder / "src/metrics.py")
    loaders = [[(c.logits[k].double(), None, c.labels[k])] for k in ("retain", "forget", "test")]
    entropies = {k: script.entropy(c.logits[k].double().softmax(1)) for k in c.logits}
    script.collect_prob = lambda loader, model: loader[0][0].softmax(1)
    regression = script.LogisticRegression
    script.LogisticRegression = lambda multi_class, **options: regression(**options)
    theirs = 100 * script.get_membership_attack_prob(*loaders, None)
    ours = entropy_attack_members(*(entropies[k] for k in ("retain", "test", "forget")))
    name = "selective-synaptic-dampening"
    words = "without `multi_class`, which scikit-learn no longer has"
    yield Line("attack on the entropy, %", name, *differences(ours, theirs), words)


def cka(folder: Path, c: Case) -> Iterator[Line]:
    script = module_of(folder / "CKA.py")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 80, 12))
    y = x + y
    name = "CKA-Centered-Kernel-Alignment"
    yield Line("linear CKA", name, *differences(linear_cka(x, y), script.linear_CKA(x, y)))


def shadows(seed: int, rows: int, models: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Signals of one attacked model (N,) and of shadow models (M, N), and who trained on what."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(models, rows, generator=generator).argsort(0) < models // 2
    phi = torch.randn(models, rows, generator=generator).double() + 2.0 * half
    return torch.randn(rows, generator=generator).double() + 1.0, phi, half


def lira(folder: Path, c: Case) -> Iterator[Line]:
    other = module_of(folder / "research/mi_lira_2021/plot.py")
    import scipy.stats  # their file uses it as an attribute of scipy

    other.os, other.scipy = __import__("os"), scipy
    target, phi, member = shadows(0, 200)
    given = (
        member.numpy(),
        phi[:, :, None].numpy(),
        member[:1].numpy(),
        target[None, :, None].numpy(),
    )
    for name, ours, reference, fixed in (
        ("online", lira_online, other.generate_ours, False),
        ("offline, `two_sided`", lira_offline, other.generate_ours_offline, False),
        ("online, fixed variance", lira_online, other.generate_ours, True),
    ):
        options: dict[str, Any] = {"fixed_variance": fixed}
        options |= {"variant": "two_sided"} if ours is lira_offline else {}
        score = ours(target, phi, member, **options)
        values, _ = reference(*given, fix_variance=fixed)
        sign = -1.0  # their scores are low for members
        words = ""
        if fixed:
            words = ("theirs uses the spread of the IN scores on both sides, and counts the "
                     "differences between samples as spread")  # fmt: skip
        yield Line(f"LiRA, {name}", "privacy", *differences(score, sign * np.array(values)), words)


def rmia(folder: Path, c: Case) -> Iterator[Line]:
    other = module_of(folder / "modules/mia/attacks/rmia.py")
    target, phi, member = shadows(1, 200)
    z_target, z_phi, _ = shadows(2, 300)
    target, phi, z_target, z_phi = (torch.sigmoid(x) for x in (target, phi, z_target, z_phi))
    nobody = torch.zeros(z_phi.shape, dtype=torch.bool)
    theirs = other.run_rmia(
        target.numpy(), phi.T.numpy(), member.T.numpy(), z_target.numpy(), z_phi.T.numpy(), 0.3
    )
    for variant in ("reference", "correct"):
        ratios = (
            rmia_ratio(target, phi, member, variant=variant),
            rmia_ratio(z_target, z_phi, nobody, variant=variant),
        )
        score = rmia_score(*ratios)
        words = ""
        if variant == "correct":
            up = float((score - torch.from_numpy(theirs)).mean())
            words = ("for population rows theirs averages the K largest of 2K models, so their "
                     f"scores are {-up:.3f} higher on average")  # fmt: skip
        yield Line(
            f"RMIA score, `{variant}`", "ml_privacy_meter", *differences(score, theirs), words
        )


def rum(folder: Path, c: Case) -> Iterator[Line]:
    """ToW, by the statements of their analysis script that compute it."""
    import pandas as pd  # they compute in its tables

    tree = ast.parse((folder / "surgical_plugins/analysis.py").read_text(encoding="utf-8"))
    loops = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and "df[ratio_col_name] = 1 -" in ast.unparse(node)
    ]
    # The innermost loop over accuracies, and the product that follows it.
    loop = min(loops, key=lambda node: len(ast.unparse(node)))
    product = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "df['tow']"
    )
    sides = [
        {"retain": 99.1, "forget": 93.4, "test": 91.7, "val": 92.0},
        {"retain": 98.2, "forget": 90.9, "test": 92.3, "val": 91.0},
    ]
    names = {"columns_to_compare": list(sides[0])}
    names |= {k: pd.DataFrame([v]) for k, v in zip(("df", "df_rt"), sides, strict=True)}
    module = ast.Module([loop, product], [])
    exec(compile(module, "analysis.py", "exec"), names)
    ours = [
        {
            "retain_accuracy": side["retain"],
            "unlearn_accuracy": 100 - side["forget"],
            "test_accuracy": side["test"],
        }
        for side in sides
    ]
    reference = float(names["df"]["tow"].iloc[0])
    yield Line("ToW", "RUM", *differences(tow(*ours), reference))


def data_unlearning_bench(folder: Path, c: Case) -> Iterator[Line]:
    """KLOM, as their code counts margins, and with the largest margin of a sample counted."""
    name = "data-unlearning-bench"
    other = module_of(folder / "unlearning_bench/eval.py")
    generator = np.random.default_rng(0)
    p, q = generator.normal(3, 1, (100, 50)), generator.normal(3.5, 1.5, (100, 50))
    ours = klom(p, q)
    pairs = list(zip(p.T, q.T, strict=True))
    reference = np.array([other.compute_binned_KL_div(a, b) for a, b in pairs])
    yield Line(
        "KLOM", name, *differences(ours, reference),
        "theirs leaves the largest margin of each sample out, because it lies on the last edge "
        "of the bins",
    )  # fmt: skip
    # One more margin, just above all others, takes the place of the one that is left out.
    completed = [
        other.compute_binned_KL_div(np.append(a, max(a.max(), b.max()) * (1 + 1e-12)), b)
        for a, b in pairs
    ]
    yield Line(
        "KLOM, the largest margin counted", name, *differences(ours, completed),
        "theirs raises the share of Retrain to 1e-5 only where the unlearned models have one",
    )  # fmt: skip


def bad_teaching(folder: Path, c: Case) -> Iterator[Line]:
    name = "bad-teaching-unlearning"
    names = {"torch": torch, "F": F, "nn": nn}
    student, full, bad = (c.logits["forget"].roll(k, 0).double() for k in range(3))
    flags = (torch.arange(len(student)) % 2).double()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, that "mean" divides by the classes as well
        loss = part_of(folder / "unlearn.py", names, "UnlearnerLoss").UnlearnerLoss
        theirs = loss(student, flags, full, bad, 2.0)
        divergence = part_of(folder / "metrics.py", names, "JSDiv").JSDiv
        p, q = student.softmax(1), full.softmax(1)
        zrf = float(1 - divergence(p, q))
    teacher = torch.where(flags[:, None] == 1, bad, full)
    ours = kl_loss(student, teacher, temperature=2.0, reduction="mean")
    yield Line("BadT: loss, `reduction=mean`", name, *differences(ours, theirs))
    ours = zero_retrain_forgetting(p, q, "reference")
    yield Line("zero-retrain forgetting, `reference`", name, *differences(ours, zrf))
    metric = part_of(folder / "metrics.py", names, "actv_dist").actv_dist
    rows = [(x, None, None) for x in student.split(10)]
    theirs = metric(lambda x: x, lambda x: 2 * x, rows, device="cpu")
    ours = activation_distance(p, (2 * student).softmax(1))
    yield Line("activation distance", name, *differences(ours, theirs))


def lotus(folder: Path, c: Case) -> Iterator[Line]:
    """RF-JSD of logits that are known by class."""
    divergence = part_of(folder / "src/helpers/eval.py", {"torch": torch, "F": F}, "JSDiv").JSDiv
    sides = [(c.logits[part].double(), c.labels[part]) for part in ("forget", "test")]
    means = [
        torch.stack([logits.softmax(1)[labels == k].mean(0) for k in range(10)])
        for logits, labels in sides
    ]
    theirs = float(divergence(*means))
    given = [x for side in sides for x in side]
    ours = rf_jsd(*given, "reference")
    yield Line("RF-JSD, `reference`", "LoTUS", *differences(ours, theirs))
    words = "theirs computes KL(m, p) in the place of KL(p, m), and divides by the classes twice"
    yield Line("RF-JSD", "LoTUS", *differences(rf_jsd(*given), theirs), words)
