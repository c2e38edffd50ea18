"""The comparisons of parity.py with methods of 2023 to 2025, and with parts of them."""

from __future__ import annotations

import ast
import contextlib
import io
import types
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from parity_common import Case, Line, cuda_is_cpu, differences, module_of
from parity_methods import CONTIGUOUS, Meter, Pixels
from torch import Tensor, nn
from torch.nn import functional as F

import coun
from coun.methods.amun import attack
from coun.metrics import zero_retrain_forgetting
from coun.metrics.divergence import activation_distance
from coun.metrics.rf_jsd import rf_jsd
from coun.objectives import BatchContext
from coun.objectives.contrastive.repulsion import contrastive_unlearning_loss
from coun.objectives.contrastive.supcon import supcon_loss
from coun.objectives.distillation import kl_loss


class Batches(list[tuple[Tensor, Tensor]]):
    """The batches of one role, which stand for a loader."""

    dataset = None


# What their training loops print or save on the way; nothing of it is compared.
SILENT = types.SimpleNamespace(AverageMeter=Meter, accuracy=lambda output, target: [torch.zeros(1)])


class Steps:
    """What the steps of a run read, by role and in order: inputs and labels."""

    def __init__(self) -> None:
        self.contexts: list[BatchContext] = []

    def of(self, role: str) -> Batches:
        """The batches of *role*."""
        contexts = [context for context in self.contexts if role in context.batches]
        return Batches((context.inputs(role), context.labels(role)) for context in contexts)


def unlearned(c: Case, method: str, **settings: Any) -> tuple[coun.Run, Steps]:
    """Run *method*, and keep what its steps read."""
    steps, begin = Steps(), BatchContext.__init__

    def start(self: BatchContext, *values: Any, **options: Any) -> None:
        begin(self, *values, **options)
        steps.contexts.append(self)

    with patch.object(BatchContext, "__init__", start):
        return coun.unlearn(c.run, c.split, method, options=CONTIGUOUS, **settings), steps


@contextlib.contextmanager
def on_the_cpu() -> Iterator[None]:
    """Let scripts that name CUDA devices run on the CPU, without a word."""
    tensor_to, module_to, device, randint = Tensor.to, nn.Module.to, torch.device, torch.randint

    def here(call: Any) -> Any:
        def wrapped(self: Any, *where: Any, **options: Any) -> Any:
            return call(self, *("cpu" if w == "cuda" else w for w in where), **options)

        return wrapped

    with (
        patch.object(Tensor, "to", here(tensor_to)),
        patch.object(nn.Module, "to", here(module_to)),
        patch.object(torch, "device", lambda name: device("cpu" if "cuda" in name else name)),
        patch.object(torch, "randint", randint),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        cuda_is_cpu(),
    ):
        warnings.simplefilter("ignore")
        yield


def state(model: nn.Module) -> Tensor:
    """All weights and BatchNorm statistics as one vector."""
    return torch.cat([v.flatten() for v in model.state_dict().values() if v.is_floating_point()])


def weights(c: Case, what: str, name: str, ours: coun.Run, model: nn.Module, words: str) -> Line:
    """Compare two models, and say how far the run went."""
    step = float((state(model) - state(c.run.model)).abs().max())
    words = f"the largest change of a weight is {step:.2g}" + (f"; {words}" if words else "")
    return Line(what, name, *differences(state(ours.model), state(model)), words)


def part_of(path: Path, names: Mapping[str, Any], *wanted: str) -> Any:
    """The functions *wanted* of a file whose imports are not at hand, with *names* to use."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in wanted]
    scope = dict(names)
    exec(compile(ast.Module(list(body), []), path.name, "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in wanted})


def amun(folder: Path, c: Case) -> Iterator[Line]:
    """The attack, row by row, on pixels in 0..1 in float64."""
    base = module_of(folder / "attack.py")
    script = module_of(folder / "pgdl2_modified.py", extra={"attack": base})
    data, model = c.run.data, Pixels(c).double()
    rows = data.train.take(c.split.rows(data, "forget")[:40])
    pixels = rows.fetch(torch.arange(len(rows))).double() / 255
    bounds = torch.tensor(0.0), torch.tensor(1.0)
    ours, classes = attack(model, pixels, rows.labels, radius=0.04, steps=50, bounds=bounds)
    try:
        torch.set_default_dtype(torch.float64)  # of the lengths in their code
        theirs = [
            script.PGDL2(model).forward(pixels[k : k + 1].clone(), rows.labels[k : k + 1].clone())
            for k in range(len(rows))
        ]
    finally:
        torch.set_default_dtype(torch.float32)
    near = torch.cat([result[0].detach() for result in theirs])
    other = int((torch.cat([result[2] for result in theirs]) != classes).sum())
    words = f"of {len(rows)} rows; {other} of their new labels differ"
    yield Line("AMUN: adversarial examples", "AMUN", *differences(ours, near), words)


class Symbol:
    """A variable of an optimisation problem that is stated and never solved."""

    def __getattr__(self, name: str) -> Symbol:
        return self

    def __call__(self, *values: Any, **options: Any) -> Symbol:
        return self

    __add__ = __sub__ = __mul__ = __truediv__ = __matmul__ = __getitem__ = __call__
    __radd__ = __rmul__ = __rtruediv__ = __neg__ = __le__ = __call__


def munba(folder: Path, c: Case) -> Iterator[Line]:
    drawn: list[Tensor] = []
    draw = torch.randint

    def remember(*values: Any, **options: Any) -> Tensor:
        result = draw(*values, **options)
        if values[0] == 10:  # a class for each row, and no offset of a view
            drawn.append(result)
        return result

    with patch.object(torch, "randint", remember):
        ours, steps = unlearned(c, "munba", epochs=1, batch_size=32)
    package = types.ModuleType("other_munba")
    package.__path__ = [str(folder / "Classification/unlearn")]
    extra: dict[str, Any] = {"other_munba": package, "utils": SILENT, "cvxpy": Symbol()}
    extra |= {f"other_munba.{name}": MagicMock() for name in ("impl", "sam")}
    path = folder / "Classification/unlearn/MUNBa.py"
    script = module_of(path, "other_munba.MUNBa", extra)
    arguments = types.SimpleNamespace(
        gpu=0, decreasing_lr="91,136", sam=False, unlearn_lr=0.01, momentum=0.9, weight_decay=5e-4,
        unlearn_epochs=1, with_l1=False, num_classes=10, print_freq=10**9, lam=1.0,
    )  # fmt: skip
    model = coun.models.copy_model(c.run.model)
    loaders = {role: steps.of(role) for role in ("forget", "retain")}
    labels = iter(drawn)
    with on_the_cpu(), patch.object(torch, "randint", lambda *a, **k: next(labels)):
        script.munba(loaders, model, nn.CrossEntropyLoss(), arguments)
    what, words = "MUNBa: weights after an epoch", "theirs has 1e-8 against division by 0"
    yield weights(c, what, "MUNBa", ours, model, words)


def sfron(folder: Path, c: Case) -> Iterator[Line]:
    name = "Unified-Unlearning-w-Remain-Geometry"
    # Theirs lowers the learning rate by retain steps, ours by all steps; here it is constant.
    ours, steps = unlearned(c, "sfron", epochs=1, batch_size=32, schedule="constant")
    package = types.ModuleType("other_sfron")
    package.__path__ = [str(folder / "Classification/unlearn")]
    trainer = types.SimpleNamespace(validate=lambda *values: None)
    extra: dict[str, Any] = {"other_sfron": package, "utils": SILENT, "trainer": trainer}
    base = module_of(package_file := folder / "Classification/unlearn/unlearn_method.py")
    extra["other_sfron.unlearn_method"] = base
    script = module_of(package_file.with_name("sfron.py"), "other_sfron.sfron", extra)
    model = coun.models.copy_model(c.run.model)
    method = script.SFRon(
        model, nn.CrossEntropyLoss(), "", types.SimpleNamespace(num_classes=10, seed=0)
    )
    read = {role: steps.of(role) for role in ("forget", "retain")}
    method.n_iters = len(read["retain"])
    plain = {role: in_order(c, role, 32) for role in read}
    schedule = patch.object(torch.optim.lr_scheduler, "CosineAnnealingLR")
    with on_the_cpu(), patch.object(torch, "save"), schedule:
        method.prepare_unlearn({f"{role}_train": plain[role] for role in read})
        method.unlearn_dataloaders = {f"{role}_train": read[role] for role in read}
        method.unlearn_dataloaders |= {"retain_valid": None, "forget_valid": None}
        method.get_unlearned_model()
    what = "SFR-on, constant learning rate: weights after an epoch"
    yield weights(c, what, name, ours, model, "")


def in_order(c: Case, role: str, size: int) -> Batches:
    """All rows of *role* in plain batches, in the order of the data."""
    data = c.run.data
    rows = data.train.take(c.split.rows(data, role))
    images = data.views.evaluate(rows.fetch(torch.arange(len(rows))))
    return Batches(zip(images.split(size), rows.labels.split(size), strict=True))


def delete(folder: Path, c: Case) -> Iterator[Line]:
    ours, steps = unlearned(c, "delete", epochs=1, batch_size=32)
    package = types.ModuleType("other_delete")
    package.__path__ = [str(folder / "method")]
    helpers = types.SimpleNamespace(
        keys=[], eval_opt=None, plot_unlearn_remain_acc_figure=lambda *values: None,
        evaluate_model_on_all_loaders=lambda *values: {},
    )  # fmt: skip
    timer = types.ModuleType("utils")
    timer.timer = lambda function: function  # type: ignore[attr-defined]
    extra: dict[str, Any] = {"other_delete": package, "other_delete.utils": helpers, "utils": timer}
    extra |= {"trainer": types.ModuleType("trainer"), "log_utils": MagicMock()}
    script = module_of(folder / "method/delete.py", "other_delete.delete", extra)
    with on_the_cpu():
        model = script.delete(
            c.run.model, steps.of("forget"), 1, 0.01, MagicMock(), None, None, "", "inf"
        )
    yield weights(c, "DELETE: weights after an epoch", "DELETE", ours, model, "")


def dualoptim(folder: Path, c: Case) -> Iterator[Line]:
    """SCRUB with an optimizer for each loss."""
    ours, steps = unlearned(
        c, "scrub", epochs=1, batch_size=32, max_steps=1, temperature=1.0, lr=0.01, forget_lr=1e-4,
        gamma=0.99, alpha=0.5,
    )  # fmt: skip
    package = types.ModuleType("other_dual")
    package.__path__ = [str(folder / "ImageClassification/unlearn")]
    implementation = types.SimpleNamespace(iterative_scrub=lambda function: function)
    extra: dict[str, Any] = {"other_dual": package, "other_dual.impl": implementation}
    path = folder / "ImageClassification/unlearn/scrub.py"
    script = module_of(path, "other_dual.scrub", {**extra, "utils": SILENT})
    arguments = types.SimpleNamespace(
        optim="dual", warmup=0, print_freq=10**9, scrub_gamma=0.99, scrub_alpha=0.5
    )
    model, teacher = (coun.models.copy_model(c.run.model) for _ in range(2))
    loaders = {role: steps.of(role) for role in ("forget", "retain")}
    retain = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    forget = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)
    with on_the_cpu():
        script.SCRUB(
            loaders, model, teacher.eval(), nn.CrossEntropyLoss(), retain, 0, arguments,
            optimizer_ul=forget,
        )  # fmt: skip
    yield weights(c, "SCRUB with DualOptim: weights after an epoch", "DualOptim", ours, model, "")


def embeddings() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two views of 64 embeddings, and two lists of labels."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 32, dtype=torch.float64, generator=generator)
    return a, a + 0.5 * b, *torch.randint(4, (2, 64), generator=generator)


def supcon(folder: Path, c: Case) -> Iterator[Line]:
    a, b, labels, _ = embeddings()
    loss = module_of(folder / "losses.py").SupConLoss(0.1, base_temperature=0.07)
    theirs = loss(torch.stack([F.normalize(x, dim=1) for x in (a, b)], 1), labels)
    ours = supcon_loss(a, b, labels, temperature=0.1, base_temperature=0.07)
    yield Line("SupCon loss, `base_temperature=0.07`", "SupContrast", *differences(ours, theirs))


def contrastive_unlearning(folder: Path, c: Case) -> Iterator[Line]:
    name = "Contrastive-Unlearning"
    u, r, of_u, of_r = embeddings()
    script = part_of(
        folder / "core/trainer/unlearn/unlearn.py", {"torch": torch, "F": F}, "Loss_v1"
    )
    setting = types.SimpleNamespace(
        temperature=0.7, base_temperature=0.7, unlearn_type="random_sample"
    )
    unit = [F.normalize(x, dim=1) for x in (u, r)]
    theirs = script.Loss_v1(setting, None, None, *unit, of_u, of_r)
    for weighting in ("reference", "correct"):
        ours = contrastive_unlearning_loss(
            u, r, of_u, of_r, temperature=0.7, weighting=weighting  # type: ignore[arg-type]
        )  # fmt: skip
        words = "theirs subtracts the logarithm once for each column" * (weighting == "correct")
        yield Line(
            f"Contrastive Unlearning: loss, `{weighting}`", name, *differences(ours, theirs), words
        )


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


SIDES = {
    "AMUN": amun,
    "MUNBa": munba,
    "Unified-Unlearning-w-Remain-Geometry": sfron,
    "DELETE": delete,
    "DualOptim": dualoptim,
    "SupContrast": supcon,
    "Contrastive-Unlearning": contrastive_unlearning,
    "bad-teaching-unlearning": bad_teaching,
    "LoTUS": lotus,
}
COMMITS = {
    "AMUN": ("Ali-E", "9e341a98a88abe9592e70fe2660eed27ba1204c0"),
    "MUNBa": ("JingWu321", "70387727e864f998c03dcdaa6a147412506a9a26"),
    "Unified-Unlearning-w-Remain-Geometry": ("K1nght", "36bb7f6f897a2db751877f00071042c44709a89c"),
    "DELETE": ("shaaaaron", "60018a1605fb94bb1f502a8af6669c9ef784f96e"),
    "DualOptim": ("CityU-MLO", "a95ef74213d8b283eb1bbcab32a64910e3752bdc"),
    "SupContrast": ("HobbitLong", "66a8fe53880d6a1084b2e4e0db0a019024d6d41a"),
    "Contrastive-Unlearning": ("Hongkyu-Lee", "33ce9a6ee3a630ae0bfaa7777cbecae0701b92ee"),
    "bad-teaching-unlearning": ("vikram2000b", "f1aa988f71cccf1be6d50e0c6f7b2b905e4c9126"),
    "LoTUS": ("cspartalis", "35ae25e342121e919fb026aa8db0c206eabbe025"),
}
