"""The comparisons of parity.py with parts of methods: importances, autoencoders and an attack."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from parity_common import (
    Case,
    Line,
    differences,
    forget_rows,
    method_of,
    module_of,
    on_the_cpu,
    part_of,
    task_of,
)
from parity_methods import Pixels
from torch import Tensor, nn
from torch.nn import functional as F

from coun.methods.boundary_shrink import nearest_labels
from coun.methods.ssd import SSD
from coun.models import copy_model
from coun.objectives.laf import VAE


def label_free(folder: Path, c: Case) -> Iterator[Line]:
    """The importances of LFSSD, as a library of others rebuilt it."""
    task, size = task_of(c), 20
    rows = task.indices("forget")
    ours = SSD(importance="label_free")._importance(task, "forget", rows, size)
    order = torch.randperm(len(rows), generator=task.seeds.torch("ssd", "forget"))
    images, labels = (x[order] for x in forget_rows(c))
    batches = [(x, None, y) for x, y in zip(images.split(size), labels.split(size), strict=True)]
    path = folder / "src/supreme/methods/unlearning_methods/lfssd.py"
    names: dict[str, Any] = {"torch": torch, "nn": nn, "Dict": dict, "DataLoader": list}
    model = copy_model(c.run.model).eval()
    theirs = types.SimpleNamespace(
        model=model, opt=torch.optim.SGD(model.parameters(), 0.1),
        zerolike_params_dict=lambda m: {k: torch.zeros_like(p) for k, p in m.named_parameters()},
        fabric=types.SimpleNamespace(all_reduce=lambda value: value),
    )  # fmt: skip
    reference = method_of(path, "ParameterPerturber", "calc_importance", names)(theirs, batches)
    sides = [torch.cat([x.flatten() for x in side.values()]) for side in (ours, reference)]
    what = "SSD, `importance=label_free`: importances"
    yield Line(what, "supreme-unlearning", *differences(*sides))


def autoencoders(folder: Path, c: Case) -> Iterator[Line]:
    """The losses of LAF's autoencoders, on the same outputs of the same autoencoder."""
    torch.manual_seed(0)
    vae, x = VAE(64, 8).double(), torch.randn(40, 64, dtype=torch.float64)
    used = list(vae.parameters())
    context: Any = types.SimpleNamespace(
        outputs=lambda role, model=None: types.SimpleNamespace(features=x),
        generator=lambda purpose: torch.Generator().manual_seed(1),
    )
    training = part_of(folder / "Train.py", {"torch": torch, "F": F}, "vae_loss_function")
    forgetting = part_of(
        folder / "VUnlearning.py", {"torch": torch, "nn": nn}, "extractor_loss_functionnmse"
    )
    mean, log_var = vae.encoder(x).chunk(2, dim=1)
    noise = torch.randn(mean.shape, generator=context.generator("vae")).to(mean)
    sigma = (log_var / 2).exp()
    values = (
        (
            "loss and gradient of an autoencoder", vae.learn("all", None)(context),  # type: ignore[arg-type]
            training.vae_loss_function(vae.decoder(mean + sigma * noise), x, mean, sigma),
            "theirs adds 1e-8 to a variance",
        ),
        (
            "reconstruction score and gradient", vae.reconstruction_score("all")(context),
            forgetting.extractor_loss_functionnmse(vae.decoder(mean), x) / len(x),
            "theirs divided by the number of rows, and without its noise",
        ),
    )  # fmt: skip
    for what, ours, theirs, words in values:
        sides = []
        for loss in (ours, theirs):
            grads = torch.autograd.grad(loss, used, retain_graph=True, allow_unused=True)
            sides.append(torch.cat([loss[None], *(g.flatten() for g in grads if g is not None)]))
        yield Line(f"LAF, {what}", "LAF", *differences(*(s.detach() for s in sides)), words)


def boundary_attack(folder: Path, c: Case) -> Iterator[Line]:
    """The class that the attack of boundary shrink moves each forget row to, by its authors."""
    script = module_of(folder / "adv_generator.py")
    model, data = Pixels(c), c.run.data
    rows = data.train.take(c.split.rows(data, "forget"))
    pixels: Tensor = rows.fetch(torch.arange(len(rows))).float() / 255
    with on_the_cpu():
        attack = script.FGSM(model, 0.1, False, False, device="cpu")
        moved = attack.perturb(pixels, rows.labels, target_y=None, model=model, device="cpu")
    ours, theirs = nearest_labels(task_of(c), 0.1), model(moved).argmax(1)
    other = int((ours != theirs).sum())
    words = f"of {len(ours)} labels; its de-normalisation, in which a mean is mistyped, is left out"
    what = "boundary shrink: labels that differ"
    yield Line(what, "Boundary-Unlearning-Code", float(other), other / len(ours), words)
