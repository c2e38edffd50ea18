"""What docs/results/parity.md says of each method: what of it was compared, and what was not."""

from __future__ import annotations

from coun import federated, methods

# For each method the repository of the comparison, and what it does not reach.
COMPARED = {
    "amnesiac": ("AmnesiacML", "the repair is fine-tuning"),
    "amun": ("AMUN", "the attack; what follows is fine-tuning on more rows"),
    "bad_teacher": ("bad-teaching-unlearning", ""),
    "boundary_expand": ("Unlearn-Saliency", ""),
    "boundary_shrink": ("Unlearn-Saliency, Boundary-Unlearning-Code", "without augmentation"),
    "cf_k": ("Evaluating-Inexact-Unlearning", ""),
    "contrastive_unlearning": ("Contrastive-Unlearning", ""),
    "ct": ("deepunlearn", ""),
    "delete": ("DELETE", ""),
    "eu_k": ("Evaluating-Inexact-Unlearning", "which layers are drawn anew, not their values"),
    "fed_eraser": ("FedEraser-Code", ""),
    "finetune": ("Unlearn-Saliency", ""),
    "fisher": ("SelectiveForgetting", ""),
    "influence": ("Unlearn-Saliency", "`mode=reference` only"),
    "l1_sparse": ("Unlearn-Sparse", ""),
    "laf": ("LAF", "its three losses, not a whole run"),
    "lotus": ("LoTUS", ""),
    "msg": ("deepunlearn", "on convolutions"),
    "mu_mis": ("machine-unlearning-pytorch", "not the authors' code, which could not be had"),
    "munba": ("MUNBa", ""),
    "neggrad": ("Unlearn-Sparse", "without `max_loss`"),
    "neggrad_plus": ("SCRUB", ""),
    "negmerge": ("negmerge", "the merging; their code for networks of images was not released"),
    "pgd": ("federated-unlearning", "the ascent"),
    "prune": ("Unlearn-Sparse", "on convolutions"),
    "random_label": ("Unlearn-Saliency, bad-teaching-unlearning", "not `labels=per_epoch`"),
    "rl_proximal": ("Unlearn-Saliency", "one epoch"),
    "rum": ("RUM", "the choice of rows by a score; the parts run other methods of this table"),
    "salun": ("Unlearn-Saliency", ""),
    "scrub": ("SCRUB, DualOptim", "not `rewind`"),
    "sfron": ("Unified-Unlearning-w-Remain-Geometry", "at a constant learning rate"),
    "sisa": ("machine-unlearning", ""),
    "ssd": ("selective-synaptic-dampening, supreme-unlearning", ""),
    "unrolling": ("unrolling-sgd", "the gradient at one point, which theirs takes elsewhere"),
    "unsir": ("bad-teaching-unlearning", ""),
}
# Methods that rest on the paper's text and on the naive loops of our tests alone.
ALONE = {
    "arcane": "no code of the authors is public, and details of the paper could not be read",
    "calibrated_out_of_fold": "ours",
    "class_matching": "ours, after DELETE",
    "coun": "no code of the authors is public; its loss was compared with open_clip's, and "
    "without the loss it is fine-tuning to the bit",
    "held_out": "ours",
    "not": "no code of the authors is public; the negation is one line, and fine-tuning follows",
    "oracle": "its loss is that of `out_of_fold`; data-unlearning-bench lacks it at its commit",
    "out_of_fold": "ours",
    "projection": "no code was found; the form for one task is ours",
    "regun": "no code was found",
    "retrain": "training itself: its steps are those of `finetune`, from fresh weights",
    "rewind": "the code of R2D could not be had",
    "trw": "no code was found, and only the abstract and reviews could be read",
}
HEAD = """
## What was compared of each method

| method | with | not compared, or only |
|---|---|---|
"""
MIDDLE = """
The other methods rest on the text of a paper and on the naive loops of our tests alone:

| method | why |
|---|---|
"""
END = """
Of data, networks and measures, these have no counterpart that could be compared: `resnet8`, `cnn`,
`mlp`, `text`, `vgg7` and `vgg7-wide` (networks of ours), row agreement and the gap (arithmetic of
one line), the power and the levels of an audit, `coun.multitask`, and the worst-case request (one
checkpoint of TracIn; Unlearn-WorstCase searches for a selection instead).
"""


def coverage() -> str:
    """The sections of the page; every method is in one of them.

    Raises: ValueError if a method is in none of them, or in both.
    """
    known = [*COMPARED, *ALONE]
    names = {*methods.catalogue(), *federated.catalogue()}
    if len(known) != len(set(known)) or set(known) != names:
        raise ValueError(f"not in one table exactly: {sorted(set(known) ^ names)}")
    rows = "".join(f"| `{key}` | {a} | {b} |\n" for key, (a, b) in sorted(COMPARED.items()))
    alone = "".join(f"| `{key}` | {why} |\n" for key, why in sorted(ALONE.items()))
    return HEAD + rows + MIDDLE + alone + END
