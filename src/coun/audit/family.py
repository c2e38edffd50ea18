"""Run all tests of an audit as one family, corrected together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coun.audit.evidence import ALPHA, FamilyInputs, Pending, TestFamily, strata_of
from coun.audit.level_evidence import kept_test, level_tests, rows_alike
from coun.audit.networks import (
    of_answers_only,
    of_any_recipe,
    other_network,
    other_recipe,
    unknown_recipe,
    without_relearning,
)
from coun.audit.parts import RequestParts
from coun.audit.power import Memory
from coun.audit.rank_tests import Groups, Strata, minus, rank_test
from coun.audit.row_evidence import answers_test, canary_test, given_retrains, row_tests
from coun.audit.ruined import is_ruined, without_direction
from coun.audit.scores import Subject, signed
from coun.audit.top_rows import SuspiciousRow, suspicious_rows
from coun.metrics import holm
from coun.metrics.arrays import Ints
from coun.seeds import Seeds


def run_tests(
    unlearned: Sequence[Subject],
    retrains: Sequence[Subject],
    parts: RequestParts,
    *,
    margin: float,
    alpha: float = ALPHA,
    memory: Subject | None = None,
    owners: tuple[Ints, Ints] | None = None,
    input_drift: float | None = None,
    seed: int = 0,
) -> TestFamily:
    """Test *unlearned*, together, against *retrains*, or without any against test rows alone.

    Args:
        unlearned, retrains: the models, with their predictions.
        parts: what the forgotten rows consist of.
        alpha: the chance of a false accusation, of all tests together (Holm).
        margin: points of accuracy that count as no difference, and the seed spread that is
            taken for possible where few Retrains are given.
        memory: a model that remembers the rows (the Original), for the power of the tests; by
            default the model's own retained rows show how remembered rows look.
        owners: a number for each forgotten and each test row; whole owners are permuted.
        input_drift: p of test rows being like training rows by their inputs and labels; beside
            the Retrains, which judge that as well.
        seed: of permutations.

    Returns: every test, with p before and after the correction.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> from coun.audit import RequestParts, Subject
    >>> from coun.runs import predictions
    >>> model = Subject("run", predictions(run.classifier, data, split))
    >>> family = run_tests([model], [], RequestParts.of(data, split), margin=5.0)
    >>> family.found  # of a model that hardly knows its training rows
    ()
    """
    labels = tuple(unlearned[0].labels(part).numpy() for part in Groups._fields)
    generator = Seeds(seed).numpy("permutations")
    drift = _drift(retrains, strata_of(labels, parts.exchangeable), input_drift)
    if drift is not None and drift < alpha:
        parts = parts.without_exchange()
    strata, listed = (strata_of(labels, slots) for slots in (parts.exchangeable, parts.listed))
    inputs = FamilyInputs(unlearned, retrains, Memory.of(unlearned, memory, seed), parts, margin)
    pending: list[Pending] = []
    suspicious: list[SuspiciousRow] = []
    unlike = None
    if strata is not None:
        pending += row_tests(inputs, strata, owners, generator)
        suspicious = suspicious_rows(strata, given_retrains(inputs, strata, "log_odds"))
    if parts.classes:
        pending.append(answers_test(inputs))
    canaries = canary_test(inputs)
    if canaries is not None:
        pending.append(canaries)
    alike = inputs.directed and (owners is not None or rows_alike(inputs, parts.listed))
    if retrains:
        for name, slots in (("exchangeable", parts.exchangeable), ("listed", parts.listed)):
            if len(slots):
                pending += level_tests(inputs, name, slots, generator, alike=alike)
        pending += [kept_test(inputs, part) for part in ("retain", "test")]
    if listed is not None:
        scores = minus(signed(unlearned, "log_odds"), signed(retrains, "log_odds"))
        unlike = None if retrains else rank_test(listed, scores, generator).p
        suspicious = suspicious or suspicious_rows(listed, scores)
    adjusted = holm({str(k): test.evidence.p for k, test in enumerate(pending)})
    tests = []
    for k, test in enumerate(pending):
        corrected = adjusted[str(k)]
        rows = test.power(alpha / len(pending)) if test.power else None
        tests.append(
            replace(test.evidence, holm=corrected, found=corrected < alpha, detectable=rows)
        )
    ruined = is_ruined(inputs)
    if ruined and retrains:
        tests = [without_direction(inputs, test) for test in tests]
    other = other_network(unlearned, retrains)
    if other:
        tests = [of_answers_only(test) for test in tests]
    another_recipe = other_recipe(unlearned, retrains)
    if another_recipe:
        tests = [of_any_recipe(test) for test in tests]
    elif unknown_recipe(unlearned, retrains):
        tests = [without_relearning(test) for test in tests]
    compared = sum(s.counts[0] for s in (strata, listed) if s is not None)
    return TestFamily(
        tuple(tests),
        strata,
        drift,
        parts,
        alpha,
        unlike,
        tuple(suspicious),
        len(parts.exchangeable) + len(parts.listed) - compared,
        alike and len(parts.listed) > 0,
        ruined,
        other,
        another_recipe,
    )


def _drift(
    retrains: Sequence[Subject], strata: Strata | None, input_drift: float | None
) -> float | None:
    """p, corrected, of forgotten and test rows being alike by inputs, labels and the Retrains.

    The Retrains saw neither, so that a difference says that the rows themselves differ. One of
    them shows wrong labels among the training rows too weakly; the rows' neighbours show them.
    """
    ps = {} if input_drift is None else {"inputs": input_drift}
    if retrains and strata is not None:
        ps |= {name: rank_test(strata, signed(retrains, name)).p for name in ("log_odds", "probe")}
    return min(holm(ps).values(), default=None)
