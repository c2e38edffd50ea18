"""A model card for the Hugging Face Hub that says what the model was made to forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coun.audit import Audit
from coun.integrations.audits import Verdict, verdict_about
from coun.integrations.packages import optional_package
from coun.runs import Run
from coun.runs.cost import operations

TEXT = """# {name}

A classifier with {classes} classes that was made to forget {forgotten:,} of {rows:,} training rows with
`coun`, the library of [CoUn](https://arxiv.org/abs/2509.16391).

| | |
|---|---|
| model | {model} |
| method | {method} |
| settings | {settings} |
| request | {request} |
| cost | {cost} (floating-point operations) |
| weights, SHA-256 | `{digest}` |

## What was shown

{evidence}

## Limits

Unlearning by training gives evidence under named tests. It is not a proof that no trace of the forgotten rows
remains, and no legal advice. Retrieval, logs, copies and models that were derived from earlier weights are not
covered.
"""  # noqa: E501
NO_AUDIT = "No audit is part of this card. `coun audit` makes one."


def model_card(
    run: Run | str | Path,
    audit: Audit | str | Path | None = None,
    *,
    name: str = "An unlearned model",
    trust: bool = False,
    **metadata: Any,
) -> Any:
    """Make the model card of an unlearned run. It names no row.

    Args:
        run: a run, or its folder.
        audit: of this model, or the folder that `coun audit --out` wrote; its verdict and caveats
            become part of the card.
        name: the title of the card.
        trust: as for `Run.open`.
        metadata: of `huggingface_hub.ModelCardData`, such as license="apache-2.0".

    Returns: a `huggingface_hub.ModelCard`; `.save("README.md")` writes it, and
        `.push_to_hub("owner/name")` sends it.

    Raises: CounError if the package huggingface_hub is not installed, or the audit is of another
        model.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> run = coun.unlearn(original, coun.Split.random(data, 0.1), "finetune", epochs=1)
    >>> card = model_card(run, license="apache-2.0")
    >>> card.data.license, "An unlearned model" in card.content
    ('apache-2.0', True)
    """
    hub = optional_package("huggingface_hub", "huggingface_hub")
    if not isinstance(run, Run):
        run = Run.open(run, allow_missing=True, trust=trust)
    record = run.record
    evidence = NO_AUDIT
    if audit is not None:
        evidence = _evidence(verdict_about(record.weights_sha256, audit))
    data: dict[str, Any] = {"library_name": "coun", "tags": ["machine-unlearning"], **metadata}
    settings = ", ".join(f"{k}={v}" for k, v in record.method.settings.items())
    text = TEXT.format(
        name=name,
        classes=len(run.data.classes),
        forgotten=0 if run.split is None else len(run.split.forget),
        rows=len(run.data.train) + (0 if run.split is None else len(run.split.missing(run.data))),
        model=_cell(record.model.name or "of the user"),
        method=_cell(record.method.name),
        settings=_cell(settings or "defaults"),
        request=_cell("none" if run.split is None else f"{len(run.split.forget):,} rows"),
        cost=operations(record.cost.flops),
        digest=record.weights_sha256,
        evidence=evidence,
    )
    header = hub.ModelCardData(**data).to_yaml()
    return hub.ModelCard(f"---\n{header}\n---\n\n{text}", ignore_metadata_errors=False)


def _evidence(verdict: Verdict) -> str:
    caveats = "".join(f"- {text}\n" for text in verdict.caveats)
    return f"**{verdict.headline}**\n\n{verdict.sentence}\n\n{caveats}"


def _cell(text: str) -> str:
    """*text* as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
