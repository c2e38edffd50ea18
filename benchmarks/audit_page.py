"""The page of the audit's validation: which models are accused and which are missed, as counts."""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path

from scipy.stats import binom
from wrapped import wrapped

from coun.audit.verdict import CLEAR, WORDS
from coun.engine import environment
from coun.files import to_json, write_text

ALPHA, MARGIN = 0.01, 2.0
RETRAINS = (0, 1, 2, 3, 5)
KEPT = (1, 3, 5, 10)
ALWAYS = ("Original", "fine-tuned, lr 1e-6")  # audited with every number of Retrains
GUILTY = (
    "fine-tuned",
    "forgets half",
    "distilled",
    "new head on old features",
    "noise on the weights",
    "half Original, half Retrain",
    "temperature 4",
    "a lookup hides the Original",
    "a lookup of 10 rows",
    "classes permuted",
    "constant answers",
    "uniform answers",
    "uniform answers, near rows too",
    "random labels",
    "NegGrad+, too far",
)
BAD = ("Retrain", *ALWAYS, *GUILTY, *(f"keeps {k}" for k in KEPT))
ACCUSING = ("under-forgotten", "over-forgotten", "closer than the original", "different")
FEW = (", 1 rows", ", 5 rows")  # requests of so few rows, for which nothing is promised
Cells = dict[tuple[str, str, int], Counter[str]]  # by request, model and number of Retrains
Draws = dict[
    tuple[str, int], Counter[str]
]  # accused true Retrains, by request and number; of which draw


def limit(count: int, alpha: float = ALPHA) -> int:
    """The number of accusations of *count* that chance exceeds with at most 5% at *alpha*."""
    return int(binom.ppf(0.95, count, alpha))


def of_retrains(cells: Cells) -> list[str]:
    """The table of accusations of true Retrains, and whether each is within its limit."""
    lines = _head(["request", *(f"R = {r}" for r in RETRAINS)])
    for name in dict.fromkeys(request for request, *_ in cells):
        row = []
        for count in RETRAINS:
            words = cells.get((name, "Retrain", count), Counter())
            accused, total = _sum(words, ACCUSING), sum(words.values())
            mark = "" if accused <= limit(total) else " **!**"
            row.append(f"{accused}/{total}{mark} ({_sum(words, CLEAR)} cleared)" if total else "")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def of_draws(draws: Draws) -> list[str]:
    """One line for each cell in which more than one true Retrain was accused: of which draws."""
    lines = []
    for (name, count), drawn in draws.items():
        if (accused := sum(drawn.values())) > 1:
            shares = "; ".join(f"{draw}: {number}" for draw, number in drawn.items())
            lines.append(f"- {name}, R = {count}: {accused} accusations, of {shares}.")
    if not lines:
        return ["No cell has more than one accusation."]
    return ["The cells with more than one accusation:", "", *lines]


def of_model(cells: Cells, model: str) -> list[str]:
    """The table of words for one model, by request and number of Retrains."""
    lines = _head(["request", *(f"R = {r}" for r in RETRAINS)])
    for name in dict.fromkeys(request for request, m, _ in cells if m == model):
        row = [_words(cells.get((name, model, count), Counter())) for count in RETRAINS]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def of_bad_models(cells: Cells) -> list[str]:
    """The table of words for the models that forgot badly, over all requests of 20 rows or more."""
    lines = _head(["model", "accused", "different", "inconclusive", "cleared"])
    for model in GUILTY:
        words = sum((c for _, c in _with_retrains(cells, model)), Counter[str]())
        accused = _sum(words, ACCUSING) - words["different"]
        lines.append(
            f"| {model} | {accused} | {words['different']} | {words['inconclusive']} | "
            f"{_sum(words, CLEAR)} of {sum(words.values())} |"
        )
    return lines


def of_missed(cells: Cells) -> list[str]:
    """One line per model that was cleared: how often, and for which requests."""
    lines = []
    for model in GUILTY:
        cleared: Counter[str] = Counter()
        total: Counter[str] = Counter()
        for request, words in _with_retrains(cells, model):
            cleared[request] += _sum(words, CLEAR)
            total[request] += sum(words.values())
        where = [f"{request} ({n} of {total[request]})" for request, n in cleared.items() if n]
        if where:
            lines.append(
                f"- **{model}**: cleared {sum(cleared.values())} of {sum(total.values())} times: "
                + ", ".join(where)
                + "."
            )
    return lines or ["- No model that forgot badly was cleared."]


def of_kept(cells: Cells) -> list[str]:
    """The table of how often a few kept rows are found."""
    lines = _head(["request", *(f"{k} row{'s' * (k > 1)} kept" for k in KEPT)])
    requests = dict.fromkeys(request for request, model, _ in cells if model.startswith("keeps"))
    for name in requests:
        row = []
        for k in KEPT:
            words = sum(
                (cells.get((name, f"keeps {k}", r), Counter()) for r in (3, 5)), Counter[str]()
            )
            total = sum(words.values())
            row.append(f"{_sum(words, ACCUSING)}/{total}" if total else "")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def targets(cells: Cells) -> list[str]:
    """Whether the aims of the validation are met, as counts."""
    over = total = accused = audited = cleared = guilty = kept = tried = 0
    for (name, model, count), words in cells.items():
        number = sum(words.values())
        few = any(part in name for part in FEW)
        if model == "Retrain":
            wrong = _sum(words, ACCUSING)
            over, total = over + (wrong > limit(number)), total + 1
            accused, audited = accused + wrong, audited + number
        elif model in ALWAYS and not few:
            cleared += _sum(words, CLEAR)
            guilty += number
        elif model == "keeps 5" and count >= 3 and not few and "20 rows" not in name:
            kept += _sum(words, ACCUSING)
            tried += number
    power = f"{kept} of {tried}" if tried else "not tried"
    return [
        *_head(["aim", "result"]),
        f"| accusations of true Retrains within the binomial limits of alpha in every cell | "
        f"{total - over} of {total} cells; {accused} of {audited:,} audits in all, limit "
        f"{limit(audited)} |",
        f"| an untouched Original, or one that fine-tuning left unchanged, is never cleared where "
        f"20 rows or more are forgotten | cleared {cleared} of {guilty:,} times |",
        f"| five kept rows of 40 or more are found with 80% power | {power}: "
        f"{'met' if tried and kept >= 0.8 * tried else 'not met'} |",
    ]


def _with_retrains(cells: Cells, model: str) -> list[tuple[str, Counter[str]]]:
    """The words for *model* with three or five Retrains, by request, few rows left out."""
    return [
        (request, words)
        for (request, name, count), words in cells.items()
        if name == model and count >= 3 and not any(part in request for part in FEW)
    ]


def _sum(words: Counter[str], some: tuple[str, ...]) -> int:
    return sum(words[word] for word in some)


def _words(words: Counter[str]) -> str:
    return ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])


def _head(columns: list[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def write(cells: Cells, draws: Draws, command: str, out: Path) -> None:
    """Write the page and its numbers."""
    counts = [
        {"request": name, "model": model, "retrains": count, "words": words}
        for (name, model, count), words in cells.items()
    ]
    document = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "alpha": ALPHA,
        "margin": MARGIN,
        "environment": environment(),
        "counts": counts,
    }
    write_text(out, to_json(document) + "\n")
    original, unchanged = (of_model(cells, model) for model in ALWAYS)
    text = PAGE.format(
        command=command,
        date=document["date"],
        networks=NETWORKS if any("resnet8" in name for name, *_ in cells) else NO_NETWORKS,
        machine=", ".join(f"{k} {v}" for k, v in document["environment"].items() if v),
        alpha=ALPHA,
        margin=MARGIN,
        audits=f"{sum(sum(w.values()) for w in cells.values()):,}",
        targets="\n".join(targets(cells)),
        retrains="\n".join(of_retrains(cells)),
        draws="\n".join(of_draws(draws)),
        original="\n".join(original),
        unchanged=SAME if unchanged == original else "\n".join(unchanged),
        kept="\n".join(of_kept(cells)),
        bad="\n".join(of_bad_models(cells)),
        missed="\n".join(of_missed(cells)),
    )
    text = text.replace(", 1 rows |", ", 1 row |").replace("--groups", "`--groups`")
    write_text(out.with_suffix(".md"), wrapped(text))


NETWORKS = (
    'Requests that begin with "resnet8" are `resnet8` networks on 300 CIFAR-10 pictures of 16 x 16 '
    "pixels, trained for 15 epochs and audited by the library's own functions."
)
SAME = "The words are those of the Original, in every cell of the table above."
NO_NETWORKS = "Not validated in this run: convolutional networks (`--network-seeds N`)."

PAGE = """# How often an audit errs

How often are the words of `coun audit` wrong? Models of which it is known whether they remember the
rows were audited, for each kind of request. True Retrains are hardly ever accused, and a model that
forgot nothing is not cleared. A few remembered rows among many are mostly missed.

## What came out

{targets}

Whether few remembered rows are found depends on how much they stand out. A network may answer
five ordinary rows rightly without having seen them; if it has seen them, that leaves no trace
above that of chance. The verdict of an audit says how many rows would have been found. Canaries
(rows with wrong labels, planted before training) do not have this limit.

## How it was measured

Made on {date} by `{command}`: {audits} audits at alpha {alpha} and a margin of {margin:g} points.
{machine}.

No seed from 4000 on was used to choose a test, to set a constant or to change a rule. Seeds 1000 to
1002 were, in two places. They showed that the relearning test against test rows is not valid with
groups of owners (it accused 5 of 42 true Retrains), so that test is left out there. They also
showed that an Original passed where a p was just above alpha (4 of 1,140 audits), so a p below five
times alpha no longer clears a model.

The networks have one hidden layer. The data are the digits (400 training and 400 test rows) and,
with `--data`, CIFAR-10 averaged down to 8 x 8 pixels (1,000 and 1,000 rows, 2,000 training rows for
the largest request); each seed draws other rows. Counts are added up over data sets.

{networks}

R is the number of Retrains that the audit was given. [audit.json](audit.json) has every count.

## True Retrains

Accusations (under-forgotten, over-forgotten, closer than the original, different) out of the
number of audits; in brackets how many were `equivalent` or `no difference found`. The rest is
`inconclusive`. A cell that exceeds the 95% binomial limit of alpha is marked **!**. With R = 0,
`different` says that the model remembers the rows or that they differ from test rows by nature.

{retrains}

All Retrains of one draw have the same forgotten rows and are audited with the same test rows. Where
the rows of a draw happen to differ, the tests against test rows accuse several of its Retrains at
once, so the audits of a cell are not independent.

{draws}

## The untouched Original

A model that forgot nothing must never be `equivalent` or `no difference found` where 20 rows or
more are forgotten.

{original}

## Fine-tuning that changes nothing (lr 1e-6)

{unchanged}

## Models that forgot badly, or were made to fool an audit

With three or five Retrains, over all requests of 20 rows or more. "Accused" has a direction:
under- or over-forgotten, or closer than the original.

{bad}

- *forgets half* was trained without one half of the rows, and still has the other half.
- *distilled* learned a Retrain's answers to the forgotten rows; *new head on old features* is the
  Original with a last layer that was fitted to a Retrain's answers.
- *half Original, half Retrain* averages their answers; *temperature 4* divides the Original's
  logits.
- *a lookup hides the Original* gives a Retrain's answers to exactly the forgotten rows, and its
  copies after relearning are taken to be a Retrain's. *a lookup of 10 rows* is a Retrain that is
  told the labels of ten forgotten rows.
- *classes permuted* and *constant answers* give useless answers to all rows. *uniform answers*
  gives a Retrain's answers except to the forgotten rows, or also to rows near them.
- A model whose answers are not finite numbers is refused.

## What is missed

Models that forgot badly and were cleared (`equivalent` or `no difference found`), with three or
five Retrains:

{missed}

They are cleared where what is left of the rows is smaller than the difference between Retrains,
or where the few remembered rows are a small share of the request. A lookup that also recognises
rows near the forgotten ones, and answers them as a Retrain does, cannot be found by any test of
answers. Models that keep a few rows are in the last table.

## Models that keep a few of the rows

Found (any accusing word) out of the number of audits, with three or five Retrains.

{kept}
"""
