"""What a verdict says in plain language, with what was and was not shown."""

from __future__ import annotations

import math

from coun.audit.evidence import FEWEST_RETRAINS, Evidence, TestFamily
from coun.audit.verdict import Verdict
from coun.errors import counted

NO_CERTIFICATE = (
    "This is statistical evidence. It is not a certificate of removal, and not legal advice."
)
UNLIKE_TEST_ROWS = (
    "The model treats the {kind} rows unlike test rows: it remembers them, or they are unlike test "
    "rows by nature; without a Retrain the two cannot be told apart."
)
DIRECTED = {
    "under-forgotten": "Under-forgotten: the model still knows more of the forgotten rows than "
    "{others}.",
    "closer than the original": "Closer to {exact} than the Original is, but under-forgotten.",
}
OVER = {
    "forgotten": "Over-forgotten: the model knows less of the forgotten rows than {others}.",
    "kept": "Over-forgotten: of rows that it should have kept, the model answers fewer rightly "
    "than {others}.",
    "both": "Over-forgotten: the model knows less than {others}, of the forgotten rows and of rows "
    "that it should have kept.",
}
COMPARED = {  # without Retrains, the test of canaries still says in which direction a model errs
    True: {"others": "the Retrains do", "exact": "Retrain"},
    False: {
        "others": "a model does that never saw them",
        "exact": "a model that never saw the rows",
    },
}


def headline(verdict: Verdict, family: TestFamily, advice: str = "") -> str:
    """The word, as one or two sentences that are true on their own.

    Args: advice: what to add where too little could be found.
    """
    compared = COMPARED[bool(verdict.retrains)]
    if verdict.label == "over-forgotten":
        about = {e.part == "kept" for e in verdict.found if e.directed and e.direction == "over"}
        words = OVER["both" if len(about) > 1 else "kept" if about == {True} else "forgotten"]
        return words.format(**compared)
    if verdict.label in DIRECTED:
        return DIRECTED[verdict.label].format(**compared)
    if verdict.label == "different":
        return _different(verdict)
    if verdict.label == "inconclusive":
        return f"Inconclusive. {_reasons(verdict, family, advice)[0]}"
    if verdict.label == "equivalent":
        return (
            f"Equivalent to Retrain on the forgotten rows within {verdict.margin:g} points of "
            f"accuracy, and no test found a difference. {_power(verdict)}"
        )
    what = "from Retrain" if verdict.retrains else "between forgotten and test rows"
    return f"No difference {what} was found. {_power(verdict)}"


def _different(verdict: Verdict) -> str:
    answered = next((e for e in verdict.found if e.name == "answers"), None)
    if not verdict.retrains and answered is not None:
        return (
            f"Different: the model still gives {100 * answered.effect:.0f}% of the forgotten "
            "class's rows its name. A model that never saw the class would hardly do so; a Retrain "
            "would show how often."
        )
    if not verdict.retrains:
        return "Different. " + UNLIKE_TEST_ROWS.format(kind="forgotten")
    if all(e.direction == "away" for e in verdict.found):
        return (
            "Different: the model's answers are farther from the Retrains' than theirs are from "
            "each other. Whether it knows more or less of the rows than they do is not shown."
        )
    return (
        f"Different from Retrain. To call the model under- or over-forgotten, at least "
        f"{FEWEST_RETRAINS} Retrains are needed for this comparison; {verdict.retrains} "
        f"{'was' if verdict.retrains == 1 else 'were'} given."
    )


def _reasons(verdict: Verdict, family: TestFamily, advice: str = "") -> list[str]:
    """Why nothing is concluded, the gravest reason first, and what to add."""
    gap = verdict.gap
    kind, why = "listed", "The request lists rows"
    if family.parts.kind in ("random", "class"):  # which are judged like listed rows here
        kind, why = "forgotten", "Each forgotten row has a copy among the retained rows"
        if _has_drift(family):
            why = "Test rows differ from training rows of their class"
    sentences = {
        "unlike test rows": UNLIKE_TEST_ROWS.format(kind=kind),
        "no retrain": f"{why}, and without a Retrain nothing can be concluded from how the model "
        f"treats the forgotten rows. {advice}".rstrip(),
        "gap": ""
        if gap is None
        else f"No test explains it, but the average gap to Retrain is {gap.points:.1f} points"
        + (f", where two Retrains are {gap.floor:.1f} apart" if gap.floor is not None else "")
        + f"; up to {gap.allowed:.1f} would be called no difference.",
        "control": "This audit cannot tell: the Original passes it too.",
        "ruined": "The model answers no more test rows rightly than one answer to everything "
        "would, so that nothing can be said of what it remembers; check the order of its classes "
        "and the preparation of the rows.",
        "near": _near(verdict) if "near" in verdict.reasons else "",
        "power": _power_missing(verdict, advice),
    }
    return [text for key, text in sentences.items() if key in verdict.reasons]


def _has_drift(family: TestFamily) -> bool:
    """Whether test rows are unlike the others, so that no row is compared with them."""
    return family.drift is not None and family.drift < family.alpha


def _power_missing(verdict: Verdict, advice: str) -> str:
    count = verdict.detectable_of
    if not verdict.evidence:
        return f"No test could be made. {advice}".rstrip()
    missed = (
        "even if it remembered the forgotten row"
        if count == 1
        else f"if the model remembered half of the {count:,} forgotten rows"
    )
    return f"These tests would probably not have found it {missed}. {advice}".rstrip()


def _near(verdict: Verdict) -> str:
    least = min(verdict.evidence, key=lambda e: e.holm)
    return (
        f"One test came near to finding a difference ({short(least)}, {effect_text(least)}, p = "
        f"{p_text(least.holm)}). Repeat the audit with more Retrains or with a larger request; "
        "--audits-so-far then counts this one."
    )


def _power(verdict: Verdict) -> str:
    if math.isinf(verdict.detectable):
        return ""
    return (
        "It would have been found (4 times in 5) had the model remembered "
        f"{verdict.detectable:,.0f} or more of the {verdict.detectable_of:,} rows; fewer may still "
        "be remembered."
    )


def sentence(verdict: Verdict, family: TestFamily, advice: str = "") -> str:
    """The evidence behind the word, with assumptions that failed."""
    parts = []
    if family.drift is not None and _has_drift(family):
        parts.append(
            "The forgotten rows differ from test rows of their class, by inputs, by labels or to "
            f"the Retrains, which saw neither (p = {p_text(family.drift)}), so the two were not "
            "compared; only the models' levels on the forgotten rows were."
            if verdict.retrains
            else "Without any model, test rows differ from training rows of their class (p = "
            f"{p_text(family.drift)}): by their inputs, by how near retained rows are to them, or "
            "by how often these have their label. So comparing forgotten with test rows shows "
            "nothing."
        )
    if verdict.found:
        listed = "; ".join(
            f"{short(e)} ({effect_text(e)}, p = {p_text(e.holm)})" for e in verdict.found
        )
        parts.append(
            f"{len(verdict.found)} of {len(verdict.evidence)} tests found a difference: {listed}."
        )
    elif verdict.evidence:
        least = min(verdict.evidence, key=lambda e: e.holm)
        parts.append(
            f"None of {len(verdict.evidence)} tests found a difference (the smallest p after "
            f"Holm's correction is {p_text(least.holm)}, for {short(least)})."
        )
    if verdict.label == "inconclusive":
        first = _reasons(verdict, family, advice)[0]
        parts += _reasons(verdict, family, "" if advice in first else advice)[1:]
    if verdict.equivalence is not None:
        gap = verdict.equivalence
        parts.append(
            f"Equivalence within {verdict.margin:g} points of accuracy on the forgotten rows is "
            + ("shown" if verdict.equivalent else "not shown")
            + f" (90% interval {max(-100.0, gap.low):+.1f} to {min(100.0, gap.high):+.1f})."
        )
    if verdict.control is not None:
        parts.append(f'The Original, under the same tests: "{verdict.control}".')
    if verdict.remains is not None and math.isfinite(verdict.remains):
        parts.append(f"{100 * verdict.remains:.0f}% of the Original's difference is left.")
    return " ".join(parts)


def caveats(verdict: Verdict, family: TestFamily, looked_at: tuple[str, ...] = ()) -> list[str]:
    """What was looked at, what was taken on trust and what cannot be concluded."""
    ranks = [e.level.rank_p for e in verdict.evidence if e.level is not None]
    notes = [NO_CERTIFICATE]
    if verdict.evidence:
        notes.append(
            "The tests are about the group of forgotten rows. They looked at "
            + ", ".join(("answers", "last-layer features", *looked_at))
            + "; what the model may reveal in other ways was not looked at."
        )
    if verdict.retrains:
        several = verdict.retrains > 1
        notes.append(
            (f"The {verdict.retrains} Retrains are" if several else "The Retrain is")
            + " taken on trust: the audit cannot see whether forgotten rows were used to train "
            + ("them." if several else "it.")
        )
        notes.append(
            f"Among {verdict.retrains + 1} models, the exact p of a rank is "
            f"{1 / (verdict.retrains + 1):.2f} at best"
            + (f"; here the smallest is {min(ranks):.2f}" if ranks else "")
            + ". A smaller p of a level rests on two assumptions: that models of different "
            "seeds spread normally, and, as few Retrains cannot show how widely, that they spread "
            f"by {verdict.margin:g} points or more (the margin)."
        )
    else:
        notes.append(
            "Without a Retrain it is unknown what a model without these rows would answer: whether "
            "this one forgot too much, and any equivalence, stay open."
        )
    listed = len(family.parts.listed)
    if listed and verdict.retrains and verdict.retrains < FEWEST_RETRAINS:
        notes.append(
            f"{counted(listed, 'row')} {'is' if listed == 1 else 'are'} listed and may differ from "
            "test rows by nature. Levels on them are compared with the Retrains'; an "
            f"accusation with a direction needs {FEWEST_RETRAINS} Retrains."
        )
    if family.parts.copied:
        notes.append(
            f"Because retained rows have the same input, the tests leave out "
            f"{counted(family.parts.copied, 'forgotten row')}: a model that never saw such a row "
            "knows it too."
        )
    if family.alike:
        notes.append(
            "Listed rows that resemble each other, or have one owner, were compared as a group "
            "only, because the Retrains differ on many of them together. A few remembered rows "
            "among them would not be found."
        )
    if family.ruined and verdict.retrains:
        notes.append(
            "The model answers fewer than half as many kept test rows rightly as the Retrains do, "
            "or no more than one answer to everything would. "
            "It counts as knowing forgotten rows only if it gives their name to more of them than "
            "of any other class: one answer to everything, and classes in another order than that "
            "of the data, are not memory. Check the order of the classes and the preparation of "
            "the rows."
        )
    if family.other_network:
        notes.append(
            "The model is another network than the Retrains: its weights have other shapes. "
            "Features, relearning and answers to single rows differ from network to network, so "
            "such tests only say that the models differ. Retrains of the same network show more."
        )
    if family.other_recipe:
        notes.append(
            "The model was trained by another recipe than the Retrains. What it relearns, its "
            "features, its answers to single rows and its accuracy on kept rows then differ also "
            "where nothing is remembered, so such tests only say that the models differ."
        )
    if family.dropped:
        notes.append(
            f"Of a class without test rows: {counted(family.dropped, 'forgotten row')}. Such rows "
            "take part in comparisons of levels only."
        )
    return notes


def short(e: Evidence) -> str:
    """What a test compares, without how."""
    text = e.about.partition(":")[0]
    return f"{text}, level" if e.name.startswith("level_") else text


def effect_text(e: Evidence) -> str:
    """The effect with its unit."""
    if e.unit == "share":
        return f"{100 * e.effect:.1f}% of rows"
    if e.unit == "pairs":
        return f"higher for the forgotten row in {50 + 100 * e.effect:.0f}% of pairs, 50% is ideal"
    if e.unit == "rows":
        return f"{e.effect:+.1f} rows"
    if e.name.startswith("kept"):
        return f"{abs(e.effect):.1f} points {'lost' if e.effect > 0 else 'gained'}"
    return f"{e.effect:+.3f} nats" if e.unit == "nats" else f"{e.effect:+.1f} points"


def p_text(p: float) -> str:
    """p with two digits, so that a p near alpha can be told from it.

    >>> [p_text(p) for p in (0.5, 0.0123, 0.00021)]
    ['0.50', '0.012', '0.00021']
    """
    return f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"
