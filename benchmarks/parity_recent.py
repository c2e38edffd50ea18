"""The comparisons of parity.py with methods of 2023 to 2025, and with parts of them."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from parity_common import (
    SILENT,
    Batches,
    Case,
    Line,
    differences,
    in_order,
    method_of,
    module_of,
    on_the_cpu,
    part_of,
    unlearned,
    weights,
)
from parity_methods import Pixels
from torch import Tensor, nn
from torch.nn import functional as F

import coun
from coun.methods.amun import attack
from coun.methods.prune import prunable
from coun.seeds import Seeds


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


def deepunlearn(folder: Path, c: Case) -> Iterator[Line]:
    """CT and MSG, two winners of the competition of NeurIPS 2023, at a constant learning rate."""
    name, epochs = "deepunlearn", 2
    constant = {"epochs": epochs, "batch_size": 32, "lr": 0.01, "schedule": "constant"}
    optimizer = types.SimpleNamespace(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
    settings = types.SimpleNamespace(
        device="cpu",
        cfg=types.SimpleNamespace(num_epochs=epochs, optimizer=optimizer, init_rate=0.3),
    )
    idle = MagicMock()
    names: dict[str, Any] = {
        "torch": torch, "nn": nn, "F": F, "optim": torch.optim,
        "LinearAnnealingLR": lambda *values, **options: idle,
    }  # fmt: skip
    unlearning = folder / "munl/unlearning"

    ours, steps = unlearned(c, "ct", **constant)
    transpose = method_of(unlearning / "kgltop5.py", "KGLTop5", "unlearn", dict(names))
    model = coun.models.copy_model(c.run.model)
    whole = ByEpochs(steps.of("retain"), epochs)
    schedule = patch.object(torch.optim.lr_scheduler, "CosineAnnealingLR", lambda *v, **k: idle)
    with on_the_cpu(), schedule:
        transpose(settings, model, whole, None, None)
    yield weights(c, "CT: weights after 2 epochs", name, ours, model, "")

    # Of convolutions only; both draw the same new weights.
    drawn: list[Tensor] = []
    draw = nn.init.kaiming_normal_

    def remember(tensor: Tensor, **options: Any) -> Tensor:
        result = draw(tensor, **options)
        if options.get("mode") == "fan_out":
            drawn.append(result.clone())
        return result

    def convolutions(model: nn.Module, head: nn.Module) -> dict[str, Tensor]:
        return {name: w for name, w in prunable(model, head).items() if w.ndim == 4}

    with (
        patch.object(nn.init, "kaiming_normal_", remember),
        patch("coun.methods.msg.prunable", convolutions),
    ):
        ours, steps = unlearned(c, "msg", warmup=0.0, **constant)
    path = unlearning / "kgltop2.py"
    scope = dict(names)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.startswith("Mask")]
    exec(compile(ast.Module(list(kinds), []), path.name, "exec"), scope)
    retain = c.split.rows(c.run.data, "retain")
    order = torch.randperm(len(retain), generator=Seeds(0).fork("unlearned").torch("retain rows"))
    forget = in_order(c, "forget", 32)
    rows = c.run.data.train.take(retain[order[: len(c.split.rows(c.run.data, "forget"))]])
    images = c.run.data.views.evaluate(rows.fetch(torch.arange(len(rows))))
    part = list(zip(images.split(32), rows.labels.split(32), strict=True))
    scope |= {"Subset": lambda *values: None, "DataLoader": lambda *values, **options: part}
    wanted = (
        "set_layer", "replace_maskconv", "re_init_model_snip_ver2_little_grad",
        "get_grads_for_snip",
    )  # fmt: skip
    scope |= vars(part_of(path, scope, *wanted))
    unlearn = method_of(path, "KGLTop2", "unlearn", scope)
    model = coun.models.copy_model(c.run.model).eval()
    whole = ByEpochs(steps.of("retain"), epochs)
    whole.dataset = retain  # type: ignore[assignment]
    forget.dataset = range(len(rows))  # type: ignore[assignment]
    waiting = iter(drawn)

    def again(tensor: Tensor, **options: Any) -> Tensor:
        return tensor.copy_(next(waiting)) if options.get("mode") == "fan_out" else tensor

    with on_the_cpu(), patch.object(nn.init, "kaiming_normal_", again):
        unlearn(settings, model, whole, forget, None)
    result = coun.models.copy_model(c.run.model)
    result.load_state_dict(model.state_dict())
    words = "of convolutions only, as theirs"
    yield weights(c, "MSG: weights after 2 epochs", name, ours, result, words)


class ByEpochs(Batches):
    """Retain batches of several epochs, of which each new iterator gives those of the next one."""

    def __init__(self, batches: Batches, epochs: int) -> None:
        super().__init__(batches)
        self.size = len(batches) // epochs
        self.at = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.at += self.size
        return iter(self[self.at - self.size : self.at])
