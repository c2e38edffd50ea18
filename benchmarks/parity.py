"""Compare coun with code of others on the same inputs; docs/results/parity.md has the tables.

The authors' code is read from checkouts of its repositories, at the commits in `SIDES`. None of it
is part of this repository. A checkout or package that is not there is left out, and the page says
so. The packages need no particular version; in an environment of their own:

    git clone https://github.com/OPTML-Group/Unlearn-Saliency DIR/Unlearn-Saliency   # and so on
    pip install -c constraints.txt torchvision timm torchmetrics statsmodels pandas einops pytest
    python benchmarks/parity.py DIR
"""

from __future__ import annotations

import argparse
import importlib
import platform
import subprocess
import types
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from parity_attacks import flower, ruli, song_mittal, ulira
from parity_common import Case, Line, Side, case, module_of
from parity_coverage import coverage
from parity_federated import fed_eraser, pgd, sisa
from parity_libraries import (
    scipy_metrics,
    sklearn_metrics,
    statsmodels_tests,
    timm_schedules,
    torch_schedules,
    torchmetrics_calibration,
    torchvision_views,
)
from parity_losses import (
    barlowtwins,
    contrastive_unlearning,
    debiased,
    eztorch,
    laf,
    lightly,
    open_clip,
    sce_queue,
    scrub,
    solo_learn,
    supcon,
    vicreg_code,
)
from parity_methods import boundary_shrink, finetune, influence, salun_mask, ssd
from parity_metrics import (
    bad_teaching,
    cka,
    data_unlearning_bench,
    lira,
    lotus,
    rmia,
    rum,
    salun,
    salun_attack,
    scrub_attack,
    ssd_attack,
)
from parity_models import resnet_20, spt_lsa, torchvision_networks, vit
from parity_more_runs import (
    last_layers,
    mu_mis,
    negmerge,
    prune,
    rl_proximal,
    selection,
    unrolling,
)
from parity_other_runs import amnesiac, contrastive, fisher, lotus_run, unsir, wrong_labels
from parity_parts import autoencoders, boundary_attack, label_free
from parity_recent import amun, deepunlearn, delete, dualoptim, munba, sfron
from parity_runs import bad_teaching_run, salun_runs, scrub_runs, sparse
from torch import Tensor, nn

from coun.files import write_text

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SIDES = {
    "Unlearn-Saliency": Side(
        "OPTML-Group",
        "a6e89fd17ff737c24c6aa16c9574469a234ffd91",
        (
            salun,
            salun_attack,
            salun_mask,
            boundary_shrink,
            influence,
            finetune,
            salun_runs,
            rl_proximal,
        ),
    ),
    "selective-synaptic-dampening": Side(
        "if-loops", "cdfdc0e35c1908e032a6e150d882b0fa17833f85", (ssd, ssd_attack)
    ),
    "Unlearn-Sparse": Side(
        "OPTML-Group", "80ba55d36d0871465c2d3e3896db26a98070e065", (sparse, prune, resnet_20)
    ),
    "SCRUB": Side(
        "meghdadk", "98ffb1196ffbec2665092598c13ad3b6ec3d095d", (scrub, scrub_runs, scrub_attack)
    ),
    "lightly": Side("lightly-ai", "e8d317fc5a87f4387a85a35e689869039ec249ee", (lightly,)),
    "solo-learn": Side("vturrisi", "9187ea39c2c3f43c455ab06664d2b019a9802954", (solo_learn,)),
    "open_clip": Side("mlfoundations", "89fb801f1e6087880e951fc8354b8a2077b79c6d", (open_clip,)),
    "DCL": Side("chingyaoc", "7d6345f6a2e4e2615e63f39966ad0dad3f54f954", (debiased,)),
    "SCE": Side("CEA-LIST", "07cbe636511666e0455d6270ae6d9aad5fc5937d", (sce_queue,)),
    "eztorch": Side("juliendenize", "d8354719d9a4c79419294cb3a2298fca28bbe8c3", (eztorch,)),
    "barlowtwins": Side(
        "facebookresearch", "8e8d284ca0bc02f88b92328e53f9b901e86b4a3c", (barlowtwins,)
    ),
    "vicreg": Side("facebookresearch", "4e12602fd495af83efd1631fbe82523e6db092e0", (vicreg_code,)),
    "CKA-Centered-Kernel-Alignment": Side(
        "yuanli2333", "a1cfa19bb26baf067cc8a5314becd3b8836aa08d", (cka,)
    ),
    "privacy": Side("tensorflow", "03035d5d4a271ac795dab80f5bc1cef82fc3d462", (lira,)),
    "ml_privacy_meter": Side(
        "privacytrustlab", "e384af8fd9319b8eeb1303aa82474df1441e3c59", (rmia,)
    ),
    "RUM": Side("kairanzhao", "f593c9d605ca175a6f44ac0b977a18d86f13866e", (rum, selection)),
    "data-unlearning-bench": Side(
        "RoyRin", "eb261f9c652aa1daae62c7f23f4e56286edf745c", (data_unlearning_bench,)
    ),
    "AMUN": Side("Ali-E", "9e341a98a88abe9592e70fe2660eed27ba1204c0", (amun,)),
    "MUNBa": Side("JingWu321", "70387727e864f998c03dcdaa6a147412506a9a26", (munba,)),
    "Unified-Unlearning-w-Remain-Geometry": Side(
        "K1nght", "36bb7f6f897a2db751877f00071042c44709a89c", (sfron,)
    ),
    "DELETE": Side("shaaaaron", "60018a1605fb94bb1f502a8af6669c9ef784f96e", (delete,)),
    "DualOptim": Side("CityU-MLO", "a95ef74213d8b283eb1bbcab32a64910e3752bdc", (dualoptim,)),
    "SupContrast": Side("HobbitLong", "66a8fe53880d6a1084b2e4e0db0a019024d6d41a", (supcon,)),
    "Contrastive-Unlearning": Side(
        "Hongkyu-Lee",
        "33ce9a6ee3a630ae0bfaa7777cbecae0701b92ee",
        (contrastive_unlearning, contrastive),
    ),
    "bad-teaching-unlearning": Side(
        "vikram2000b",
        "f1aa988f71cccf1be6d50e0c6f7b2b905e4c9126",
        (bad_teaching, bad_teaching_run, wrong_labels, unsir),
    ),
    "deepunlearn": Side("xcadet", "6830ff6e5fd72f4793890ee31904814892625acf", (deepunlearn, ulira)),
    "AmnesiacML": Side("lmgraves", "ae594cdd906e1343546652361c6e0c13bd44c86c", (amnesiac,)),
    "SelectiveForgetting": Side(
        "AdityaGolatkar", "4c028253c282c43693b5d8f1ee51eac2fca403f2", (fisher,)
    ),
    "FedEraser-Code": Side("Zoybzo", "43244e3bc34319845e49cf4ad660b813322c764c", (fed_eraser,)),
    "federated-unlearning": Side("IBM", "6f51bbccef3e54f55746ff0094271d26f69ce6da", (pgd,)),
    "machine-unlearning": Side(
        "cleverhans-lab", "50a3ada6c777f6882a1764d74a4978bfd61ec6f9", (sisa,)
    ),
    "LAF": Side("ShaofeiShen768", "bda3694ddcddb6d3ee01077605996d23cdbb1e50", (laf, autoencoders)),
    "LoTUS": Side("cspartalis", "35ae25e342121e919fb026aa8db0c206eabbe025", (lotus, lotus_run)),
    "Evaluating-Inexact-Unlearning": Side(
        "shash42", "a45fe023216f407e947b0c87c3ea2c8229f1d5e5", (last_layers, song_mittal)
    ),
    "unrolling-sgd": Side(
        "cleverhans-lab", "49e001f9cc77b61d65eac3bf26888b5183b73bef", (unrolling,)
    ),
    "negmerge": Side("mgradyn", "f42853b2fe552679239dfc6cd80cba77c4a2fc70", (negmerge,)),
    "machine-unlearning-pytorch": Side(
        "Harry24k", "405bab1676b8605615754a6cc6d428b35773ba61", (mu_mis,)
    ),
    "Ruli": Side("datasec-lab", "954112234dbe5fb1008033114dfcfbb1559ed308", (ruli,)),
    "Boundary-Unlearning-Code": Side(
        "TY-LEE-KR", "19f9f230d3dccbad2ffd7d65e279eb7ac0dbbca9", (boundary_attack,)
    ),
    "supreme-unlearning": Side(
        "pedroandreou", "9d776fd35fd6bf972ad9138444e1c391bfd92db7", (label_free,)
    ),
    "vit-pytorch": Side("lucidrains", "69d24fe9e3024c0d4b02761123b8583a24ebed1e", (vit,)),
    "SPT_LSA_ViT": Side("aanna0701", "54bd796acd28fa11deac21a97b14b154379b34e7", (spt_lsa,)),
    "flower": Side("adap", "fdef7afb1dca3030553be302366cfd285ed6632c", (flower,)),
}
# Libraries that are installed: the modules that are needed, and the comparisons.
PACKAGES = {
    "torchvision": (("torchvision",), (torchvision_networks, torchvision_views)),
    "torch": (("torch",), (torch_schedules,)),
    "timm": (("timm", "timm.scheduler"), (timm_schedules,)),
    "scipy": (("scipy", "scipy.stats", "scipy.spatial"), (scipy_metrics,)),
    "scikit-learn": (("sklearn", "sklearn.metrics"), (sklearn_metrics,)),
    "torchmetrics": (
        ("torchmetrics", "torchmetrics.functional.classification"),
        (torchmetrics_calibration,),
    ),
    "statsmodels": (
        (
            "statsmodels",
            *(f"statsmodels.stats.{x}" for x in ("multitest", "weightstats", "proportion")),
        ),
        (statsmodels_tests,),
    ),
}


def memory_formats() -> list[tuple[str, list[float]]]:
    """Errors of BatchNorm's gradients in float32 against float64, by memory layout.

    Each is the largest of weight, bias and input: the largest difference over the largest value.
    """

    def gradients(count: int, dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        images, weights = torch.randn(2, count, 64, 32, 32, generator=generator)
        norm = nn.BatchNorm2d(64).to(dtype).train()
        inputs = (images + 3).to(dtype).to(memory_format=layout).requires_grad_(True)
        (norm(inputs) * weights.to(dtype)).sum().backward()
        computed = (norm.weight.grad, norm.bias.grad, inputs.grad)
        return [g.double() for g in computed if g is not None]

    rows = []
    for name, layout in (
        ("contiguous", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        errors = []
        for count in (64, 256):
            exact = gradients(count, torch.float64, torch.contiguous_format)
            inexact = gradients(count, torch.float32, layout)
            pairs = zip(inexact, exact, strict=True)
            errors.append(max(float((g - e).abs().max() / e.abs().max()) for g, e in pairs))
        rows.append((name, errors))
    return rows


HEAD = """# Parity with the authors' code

Do the functions of `coun` give the numbers of the authors' code and of well-known libraries? They
do, up to rounding, except where the last column of the table says why they differ on purpose.

Both were run on the same logits, weights and signals: a small `cnn` on 600 digits (for federations
and SISA a perceptron), random embeddings of 64 x 32, 8 shadow models, and margins of 100 unlearned
models and 100 Retrains.

- **Methods** are compared by the weights and the statistics of BatchNorm that they give: where
  batches are drawn, both get the same batches in the same order, and the same initial weights,
  noise and labels.
- **Losses** are compared with their gradients, and **networks** by their logits and gradients after
  the weights were copied.
- **The table** has the largest absolute difference, and the same divided by the largest absolute
  value.
- **"Theirs"** is the authors' code, with these exceptions: lightly, solo-learn, open_clip, CKA,
  flower and vit-pytorch are libraries of others; FedEraser-Code and negmerge are public copies of
  authors' code; machine-unlearning-pytorch and supreme-unlearning are libraries that rebuilt MU-Mis
  and LFSSD.

`python benchmarks/parity.py DIR` makes this page from checkouts of the repositories and installed
packages; none of their code is part of this one.

{made}

| compared | with | largest difference | relative | why |
|---|---|---:|---:|---|
"""
TAIL = """
## Versions

| repository | commit |
|---|---|
"""
LAYOUT = """
## Memory layout on the CPU

Convolutions are computed in channels-last layout by default. In float32 on the CPU, torch's
BatchNorm is less exact in this layout. The table has the largest relative error of its gradients
against float64, for batches of 64 channels and 32x32 pixels. In a whole network the difference is
hidden: a ReLU that switches because of rounding changes gradients by more, in both layouts.
`--memory-format contiguous`, or `memory_format = "contiguous"` in the `[compute]` of a bench,
computes in the usual layout.

| layout | 64 images | 256 images |
|---|---:|---:|
"""


def row(line: Line) -> str:
    print(line, flush=True)
    return (
        f"| {line.what} | {line.repository} | {line.absolute:.2g} | "
        f"{f'{line.relative:.1e}' if line.relative else '0'} | {line.words} |\n"
    )


def with_packages(c: Case) -> Iterator[tuple[str, list[Line]]]:
    """The comparisons with each package that is installed, and its name."""
    for name, (modules, compares) in PACKAGES.items():
        try:
            first, *_ = [importlib.import_module(module) for module in modules]
        except ImportError:
            yield name, []
            continue
        yield name, [line for compare in compares for line in compare(first, c)]


def load_torchvision() -> None:
    """Import torchvision, also where its operators were built for another torch."""
    module = module_of(Path(__file__).parents[1] / "tests" / "optional_packages.py")
    package: types.FunctionType = module.package
    package("torchvision")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path, help="folder with one checkout for each repository")
    folder = parser.parse_args().checkouts
    torch.set_num_threads(1)
    load_torchvision()
    c = case()
    made = (
        f"Made on {date.today():%Y-%m-%d} on one CPU core ({platform.machine()}), Python "
        f"{platform.python_version()}, torch {version('torch')}, seed 0."
    )
    text, commits = HEAD.format(made=made), TAIL
    for name, side in SIDES.items():
        address = f"[{side.owner}/{name}](https://github.com/{side.owner}/{name})"
        if not (folder / name).is_dir():
            text += f"| | {name} | | | no checkout was at hand |\n"
            continue
        for compare in side.compares:
            text += "".join(row(line) for line in compare(folder / name, c))
        commits += f"| {address} | `{head(folder / name) or side.commit}` |\n"
    versions = "\n| package | version |\n|---|---|\n"
    for name, lines in with_packages(c):
        text += "".join(row(line) for line in lines) or f"| | {name} | | | not installed |\n"
        versions += f"| {name} | {version(name)} |\n" if lines else ""
    layouts = "".join(
        f"| {name} | {' | '.join(f'{error:.1e}' for error in errors)} |\n"
        for name, errors in memory_formats()
    )
    write_text(RESULTS / "parity.md", text + coverage() + commits + versions + LAYOUT + layouts)


def head(folder: Path) -> str:
    """The commit of a checkout; empty where it is a plain folder of files."""
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
