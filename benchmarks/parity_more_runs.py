"""The comparisons of parity.py with methods that edit weights, or train a part of the network."""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from parity_common import (
    CONTIGUOUS,
    Case,
    Line,
    differences,
    flat_weights,
    forget_rows,
    module_of,
    on_the_cpu,
    part_of,
    unlearned,
    weights,
)
from parity_methods import method_module
from parity_runs import ARGUMENTS, SAME, drawn_labels, run_sparse, sgd
from torch import Tensor, nn

import coun
from coun.data.requests.by_score import Level, rows_by_score
from coun.methods import negmerge as negmerge_module
from coun.methods import rl_proximal as proximal_module
from coun.methods.cf_k import tail
from coun.methods.mu_mis import sensitivity
from coun.methods.prune import prunable, unpruned
from coun.models import copy_model

ONE = {**SAME, "epochs": 1}


def rl_proximal(folder: Path, c: Case) -> Iterator[Line]:
    """The soft form of SalUn, for one epoch, with its branch for SVHN, which mixes no sets."""
    name, share = "Unlearn-Saliency", 0.5
    script = method_module(folder, "RL_pro").RL_proximal
    shrink, counts = proximal_module.shrink, iter(())

    def as_theirs(model: nn.Module, start: Any, _: float) -> None:
        # Half a weight more, so that rounding down gives their number.
        shrink(model, start, (next(counts) + 0.5) / sum(p.numel() for p in model.parameters()))

    size = sum(p.numel() for p in c.run.model.parameters())
    rows = {role: len(c.split.rows(c.run.data, role)) for role in ("forget", "retain")}
    # Few steps: after some more, a ReLU switches because of rounding.
    settings = {**ONE, "batch_size": 64}
    steps_of = {role: -(-n // 64) for role, n in rows.items()}
    total = sum(steps_of.values())
    left = [total - 1] * steps_of["forget"] + [total - 1 - k for k in range(steps_of["retain"])]
    counts = iter([int(share * (n / total * size)) for n in left])
    arguments = types.SimpleNamespace(**vars(ARGUMENTS) | {"dataset": "svhn", "unlearn_epochs": 1})
    arguments.mask_ratio = share
    for same in (True, False):
        drawn, remember = drawn_labels()
        with remember, patch.object(proximal_module, "shrink", as_theirs if same else shrink):
            ours, steps = unlearned(c, "rl_proximal", fraction=share, **settings)
        model, labels = copy_model(c.run.model), iter(drawn)
        loaders = {role: steps.of(role) for role in rows}
        with on_the_cpu(), patch.object(torch, "randint", lambda *a, **k: next(labels)):  # noqa: B023
            script(loaders, model, nn.CrossEntropyLoss(), sgd(model), 0, arguments)
        what = "RL-proximal: weights after an epoch"
        words = (
            "" if same else "theirs holds the share still for the forget rows, and begins to count "
            "again with the retain rows, so that it does not reach 0"
        )  # fmt: skip
        yield weights(c, what + ", their shares" * same, name, ours, model, words)


def convolutions(model: nn.Module, head: nn.Module) -> dict[str, Tensor]:
    """What `prunable` returns, of convolutions only, as their code prunes."""
    return {name: w for name, w in prunable(model, head).items() if w.ndim == 4}


def prune(folder: Path, c: Case) -> Iterator[Line]:
    """Prune first, then unlearn."""
    name = "Unlearn-Sparse"
    with on_the_cpu():
        tools = module_of(folder / "pruner/utils.py")
        model = copy_model(c.run.model)
        tools.pruning_model(model, 0.95)
    masks = unpruned(convolutions(c.run.model, c.run.model.get_submodule("head")), 0.95)
    theirs = tools.extract_mask(model.state_dict())
    other = sum(int((mask != theirs[f"{key}_mask"].bool()).sum()) for key, mask in masks.items())
    count = sum(mask.numel() for mask in masks.values())
    what = "prune: masks at 95%, entries that differ"
    yield Line(what, name, float(other), other / count, f"of {count:,} weights of convolutions")
    with patch("coun.methods.prune.prunable", convolutions):
        ours, steps = unlearned(c, "prune", sparsity=0.95, **SAME)
    script = method_module(folder, "FT", "unlearn").FT
    pruned = Case(c.logits, c.labels, types.SimpleNamespace(model=model), c.split)  # type: ignore[arg-type]
    with patch.object(coun.models, "copy_model", lambda given: given):
        result = run_sparse(pruned, script, steps, ("retain",))
    with on_the_cpu():
        tools.remove_prune(result)
    plain = copy_model(c.run.model)
    plain.load_state_dict({key: result.state_dict()[key] for key in plain.state_dict()})
    yield weights(c, "prune: weights after 2 epochs", name, ours, plain, "convolutions only")


class Log:
    """Their logger, which says nothing."""

    def info(self, text: str) -> None:
        """Forget *text*."""


def last_layers(folder: Path, c: Case) -> Iterator[Line]:
    """CF-k and EU-k: which layers are trained, and the weights after the same steps."""
    name, k = "Evaluating-Inexact-Unlearning", 2
    reset = part_of(
        folder / "src/models.py", {"nn": nn, "init": nn.init}, "_reinit"
    )._reinit  # fmt: skip
    names = {"nn": nn, "copy": None, "load_pretrained": None, "_reinit": reset}
    script = part_of(folder / "src/methods.py", names, "getRetrainLayers", "resetFinalResnet")

    def frozen(*, reinit: bool) -> nn.Module:
        model = copy_model(c.run.model)
        script.resetFinalResnet(model, k + 1, "", Log(), reinit=reinit)  # theirs counts the head
        return model

    prefixes = tail(c.run.model, c.run.model.get_submodule("head"), k)
    model = frozen(reinit=False)
    other = sum(p.requires_grad != key.startswith(prefixes) for key, p in model.named_parameters())
    total = sum(1 for _ in model.parameters())
    what = "CF-k, k = 2: parameters frozen by one side only"
    yield Line(what, name, float(other), other / total, f"of {total}; their K is 3")
    ours, steps = unlearned(c, "cf_k", k=k, **SAME)
    for still in (True, False):
        model = frozen(reinit=False)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, 0.01, momentum=0.9, weight_decay=5e-4)
        model.train()
        for layer in model.modules():
            if still and isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
                layer.eval()
        for images, labels in steps.of("retain"):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        what = "CF-k: weights after 2 epochs" + ", frozen BatchNorm in evaluation mode" * still
        words = "" if still else "theirs lets the statistics of frozen BatchNorm layers move"
        yield weights(c, what, name, ours, model, words)
    again = frozen(reinit=True)
    before = dict(c.run.model.named_parameters())
    fresh = {key for key, p in again.named_parameters() if not torch.equal(p, before[key])}
    drawn, first = unlearned(c, "eu_k", k=k, epochs=1, batch_size=32)
    del drawn
    mine = {
        key for key, p in before.items() if not torch.equal(first.initial[key], p.detach())
    }  # fmt: skip
    words = f"of {total}; theirs keeps BatchNorm: {', '.join(sorted(mine - fresh))}"
    what = "EU-k, k = 2: parameters drawn anew by one side only"
    yield Line(what, name, float(len(mine ^ fresh)), len(mine ^ fresh) / total, words)


def unrolling(folder: Path, c: Case) -> Iterator[Line]:
    """Single-gradient unlearning: their statements, which take the gradient at given weights."""
    name, lr, epochs = "unrolling-sgd", 0.01, 3
    data, size = c.run.data, len(c.split.rows(c.run.data, "forget"))
    start = copy_model(c.run.model)
    # A rate this small moves no weight, so that the weights at the start are those at the end.
    original = coun.train(data, start, epochs=1, lr=1e-30, momentum=0, options=CONTIGUOUS)
    ours = coun.unlearn(
        original, c.split, "unrolling", epochs=epochs, lr=lr, batch_size=size, options=CONTIGUOUS
    )
    path = folder / "Unlearning/cumulative_verification.py"
    whole = next(
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.For) and "optimizer_unlearned" in ast.unparse(node)
    )
    texts = [ast.unparse(node) for node in whole.body]
    first = next(k for k, text in enumerate(texts) if text.startswith("M_unlearned ="))
    last = next(k for k, text in enumerate(texts) if text.startswith("M_unlearned_tensor"))
    scope: dict[str, Any] = {
        "torch": torch, "optim": torch.optim, "copy": types.SimpleNamespace(deepcopy=copy_model),
        "M": copy_model(original.model), "criterion": nn.CrossEntropyLoss(),
        "unlearned_loader": [forget_rows(c)],
        "args": types.SimpleNamespace(lr=lr, finetune_epochs=epochs),
    }  # fmt: skip
    with on_the_cpu():
        exec(compile(ast.Module(whole.body[first:last], []), path.name, "exec"), scope)
    sides = [flat_weights(m) for m in (ours.model, scope["M_unlearned"])]
    moved = float((sides[1] - flat_weights(original.model)).abs().max())
    words = f"the largest change of a weight is {moved:.2g}; both with the gradient at one point"
    yield Line("unrolling: weights", name, *differences(*sides), words)


def mu_mis(folder: Path, c: Case) -> Iterator[Line]:
    """The loss of each row, with the same other class; theirs is a library's reconstruction."""
    name = "machine-unlearning-pytorch"
    package = types.ModuleType("other_mumis")
    base = types.ModuleType("other_mumis.unlearner")
    base.Unlearner = object  # type: ignore[attr-defined]
    extra = {"other_mumis": package, "other_mumis.unlearner": base}
    path = folder / "torchunlearn/unlearn/trainers/mumis.py"
    script = module_of(path, "other_mumis.mumis", extra)
    images, labels = forget_rows(c)
    model = copy_model(c.run.model).double().eval()
    shift = torch.randint(1, 10, (len(labels), 1), generator=torch.Generator().manual_seed(0))
    theirs = types.SimpleNamespace(
        device="cpu", rmodel=model, n_other=1, other_lambda=1.0,
        add_record_item=lambda *values: None, _sensitivity_sq=script.MUMis._sensitivity_sq,
    )  # fmt: skip
    with patch.object(torch, "randint", lambda *a, **k: shift):
        reference = script.MUMis.calculate_cost(theirs, (images.double(), labels), reduction="")
    x = images.double().requires_grad_()
    logits = model(x)
    parts = [sensitivity(logits, x, y) for y in (labels, (labels + shift[:, 0]) % 10)]
    value = parts[0] - parts[1]
    yield Line("MU-Mis: loss of each row", name, *differences(value.detach(), reference.detach()))
    gradients = []
    for loss in (value, reference):
        used = [p for p in model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss.clamp(min=0).mean(), used, retain_graph=True,
                                    materialize_grads=True)  # fmt: skip
        gradients.append(torch.cat([g.flatten() for g in grads]))
    below = int((reference < 0).sum())
    what = "MU-Mis, both bounded at 0: gradient"
    words = f"theirs has no bound, which would count for {below} of {len(labels)} rows here"
    yield Line(what, name, *differences(*gradients), words)


def negmerge(folder: Path, c: Case) -> Iterator[Line]:
    """Their statements that merge vectors, on the copies that were trained here."""
    name = "negmerge"
    merged: list[list[Tensor]] = []
    agreed = negmerge_module.agreed

    def remember(vectors: Any) -> Tensor:
        merged.append(list(vectors))
        return agreed(vectors)

    with patch.object(negmerge_module, "agreed", remember):
        ours, _ = unlearned(c, "negmerge", epochs=2, batch_size=32, copies=3, lr=0.05)
    before = {key: p.detach() for key, p in c.run.model.named_parameters()}
    copies = [
        {key: p + vectors[number] for (key, p), vectors in zip(before.items(), merged, strict=True)}
        for number in range(3)
    ]
    stub = types.ModuleType("src.linearize")
    stub.LinearizedImageEncoder = object  # type: ignore[attr-defined]
    extra = {"src": types.ModuleType("src"), "src.linearize": stub}
    vectors = module_of(folder / "CLIP_MU/src/task_vectors.py", "other_vectors", extra)
    path = folder / "CLIP_MU/src/negmerge.py"
    outer = next(n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.For))
    loops = [
        node
        for node in outer.body
        if isinstance(node, ast.For)
        and ast.unparse(node.target) in ("(idx, checkpoint_path)", "key")
    ]
    given = {key: getattr(torch, key) for key in ("zeros_like", "sign", "abs", "where")}
    load = lambda stored, **_: types.SimpleNamespace(state_dict=lambda: stored)  # noqa: E731
    scope: dict[str, Any] = {
        "torch": types.SimpleNamespace(**given, load=load), "checkpoint_paths": copies,
        "pretrained_checkpoint": before, "NonLinearTaskVector": vectors.NonLinearTaskVector,
        "args": types.SimpleNamespace(finetuning_mode="standard"),
    }  # fmt: skip
    exec(compile(ast.Module(list(loops), []), path.name, "exec"), scope)
    model = copy_model(c.run.model)
    model.load_state_dict({**model.state_dict(), **{
        key: before[key] - change for key, change in scope["task_vector"].vector.items()
    }})  # fmt: skip
    share = sum(int((v != 0).sum()) for v in scope["task_vector"].vector.values())
    words = f"{share:,} of {len(flat_weights(model)):,} entries agree in sign"
    yield weights(c, "NegMerge: weights", name, ours, model, words)


def selection(folder: Path, c: Case) -> Iterator[Line]:
    """RUM's forget sets of high, low and middle scores, and of a third of each."""
    script = part_of(folder / "main_forget.py", {"np": __import__("numpy")}, "select_fs").select_fs
    p = c.logits["retain"].double().log_softmax(1)
    scores = p.gather(1, c.labels["retain"][:, None])[:, 0].numpy()
    levels: dict[Level, str] = {"high": "high", "low": "low", "mix": "mix", "middle": "mid"}
    for level, theirs in levels.items():
        arguments = types.SimpleNamespace(
            sequential=False, num_indexes_to_replace=90, mem=theirs, shuffle=False
        )
        with on_the_cpu():
            chosen = script(scores, range(len(scores)), arguments)[0]
        other = len(set(chosen) ^ set(rows_by_score(scores, 90, level).tolist())) // 2
        words = {
            "middle": "theirs takes the rows whose scores are nearest to the median in value, "
            "here those nearest in rank",
            "mix": "the middle third differs in the same way",
        }.get(level, "")  # fmt: skip
        what = f"forget rows by score, {level}: rows that differ"
        yield Line(what, "RUM", float(other), other / 90, f"of 90; {words}" if words else "of 90")
