"""Gates: what a new version must show before it is served."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coun.audit import Audit
from coun.audit.auditing import audit
from coun.audit.planning import UNCLEAR, plan
from coun.certificates import Check
from coun.certificates.page import FROM_SCRATCH
from coun.errors import CounError
from coun.registry.remembered import Remembered, remembered_share
from coun.registry.summary import LEFT_OUT
from coun.registry.versions import left_out_test_rows
from coun.runs import Run, SharedOutputs, evaluate

LARGE_FALL = 5.0  # points of test accuracy
RETAIN_CHANGE = 5.0  # points of retain accuracy; Retrains differ by about one point
WIDE = 0.5  # width of the interval of the remembered share from which it says next to nothing
REMEMBERED = ("under-forgotten", "closer than the original")
CLEARED = ("equivalent", "no difference found")


@dataclass(frozen=True)
class Gates:
    """What the user demands.

    Args:
        min_test_accuracy: percent.
        max_remembered: share of the forgotten rows, 0..1.
        max_retain_change: points by which the retain accuracy may be above what a Retrain is
            expected to have; it may be twice as far below.
    """

    min_test_accuracy: float | None = None
    max_remembered: float | None = None
    max_retain_change: float = RETAIN_CHANGE

    def __post_init__(self) -> None:
        accuracy, share = self.min_test_accuracy, self.max_remembered
        if not 0 <= self.max_retain_change <= 100:
            raise CounError(
                f"--max-retain-change is {self.max_retain_change:g}; expected points of accuracy, "
                "between 0 and 100"
            )
        if accuracy is not None and not 0 <= accuracy <= 100:
            raise CounError(
                f"--min-test-accuracy is {accuracy:g}; expected percent, between 0 and 100"
            )
        if share is not None and not 0 <= share <= 1:
            raise CounError(f"--max-remembered is {share:g}; expected a share between 0 and 1")


class Expected(NamedTuple):
    """What a version should reach by the models before it, in percent; None where unknown.

    Attributes:
        test_accuracy: that of the models before.
        retain_accuracy: what a Retrain is expected to have on its own rows.
    """

    test_accuracy: float | None = None
    retain_accuracy: float | None = None


UNKNOWN = Expected()


@dataclass(frozen=True)
class Outcome:
    """What the gates found: checks for the certificate, metrics, and the audit behind them."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    metrics: dict[str, Any]
    audit: Audit | None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.result != "FAILED" for check in self.checks)


def examine(
    run: Run,
    gates: Gates,
    *,
    expected: Expected = UNKNOWN,
    against: Sequence[Run] = (),
    original: Run | None = None,
    seed: int = 0,
    shared: SharedOutputs | None = None,
) -> Outcome:
    """Measure *run*, audit it, and apply the gates.

    Args:
        expected: what the models before reach. Without a gate of the user's own, a version whose
            test accuracy falls far below it does not pass.
        against: Retrains of the same request, where there are any. Their retain accuracy counts
            in place of the expected one.
        original: a model that was trained on all rows, as control of the audit.
        shared: outputs that the caller computed, or will read as well.
    """
    shared = shared or SharedOutputs()
    metrics = evaluate(run, shared=shared)
    exact = run.record.kind == "retrain"
    usual = expected.retain_accuracy
    if against:
        usual = statistics.fmean(
            evaluate(retrain, shared=shared)["retain_accuracy"] for retrain in against
        )
    checks = [
        _accuracy(run, metrics, gates.min_test_accuracy, expected.test_accuracy, exact),
        _retained(metrics["retain_accuracy"], usual, gates.max_retain_change, exact),
    ]
    notes, result = [], None
    try:
        result = audit(run, against, original=original, relearn=False, seed=seed, shared=shared)
    except CounError as error:
        notes.append(f"not audited: {error}")
        checks.append(_check("audit: not possible", result="WARNED"))
    if result is not None:
        verdict = result.verdict
        share = remembered_share(result.unlearned[0].predictions)
        checks.append(_memory(share, gates.max_remembered, exact))
        detectable = verdict.detectable
        checks.append(
            _check(
                f"audit: {verdict.label}",
                detectable_rows=math.ceil(detectable) if math.isfinite(detectable) else None,
                result=_of_verdict(verdict.label, exact),
            )
        )
        if not exact:  # that a Retrain cannot be told from a Retrain says nothing
            notes.append(f"audit: {verdict.headline}")
            if verdict.label == "inconclusive" and not against and _retrains_would_help(result):
                notes.append("--retrain RUN gives a Retrain to the audit")
    elif gates.max_remembered is not None:
        checks.append(_memory(None, gates.max_remembered, exact))
    if exact:
        checks.append(_check(FROM_SCRATCH, result="PASSED"))
    return Outcome(tuple(checks), tuple(notes), metrics, result)


def _retrains_would_help(result: Audit) -> bool:
    """Whether an audit with more Retrains could conclude something where no test finds anything."""
    return any(row["best"] != UNCLEAR for row in plan(result) if row["retrains"])


def _check(
    name: str,
    *,
    result: str,
    value: float | None = None,
    interval: tuple[float, float] | None = None,
    detectable_rows: int | None = None,
) -> Check:
    return Check.model_validate(
        {
            "name": name,
            "result": result,
            "value": value,
            "interval": interval,
            "detectableRows": detectable_rows,
        }
    )


def _accuracy(
    run: Run, metrics: dict[str, Any], least: float | None, usual: float | None, exact: bool
) -> Check:
    """The check of the test accuracy, against the user's limit or what was usual before.

    Its name says how many test rows are left out. A Retrain fails only the user's limit: it is
    what the data that are left can give.
    """
    value, name = metrics["test_accuracy"], "test accuracy"
    only_warn = exact and least is None
    if least is None and usual is not None:
        least = max(0.0, round(usual - LARGE_FALL, 2))
    if least is not None:
        name += f" at least {least:g}%"
    if left_out := left_out_test_rows(run):
        name += f", without {left_out:,} of {len(run.data.test):,} test rows {LEFT_OUT}"
    failed = least is not None and not (value is not None and value >= least)
    result = "PASSED" if not failed else "WARNED" if only_warn else "FAILED"
    return _check(name, value=value, result=result)


def _retained(value: float, expected: float | None, change: float, exact: bool) -> Check:
    """The check that the model fits its rows about as well as a Retrain would.

    Training that comes with each request raises this accuracy, and test accuracy may rise with
    it, so that no other gate sees it. Unlearning that reads retained rows only lowers it; the
    test accuracy shows the harm of that too, and twice the change is allowed. A Retrain cannot
    fail.
    """
    if expected is None:
        return _check("retain accuracy: nothing to compare with", value=value, result="WARNED")
    low, high = max(0.0, expected - 2 * change), min(100.0, expected + change)
    passed = low <= value <= high
    result = "PASSED" if passed else "WARNED" if exact else "FAILED"
    name = f"retain accuracy between {low:.1f}% and {high:.1f}%"
    return _check(name, value=value, result=result)


def _memory(share: Remembered | None, largest: float | None, exact: bool) -> Check:
    """The check of the remembered share. A Retrain never saw the rows, whatever is estimated.

    Where no limit is demanded, it warns if memory shows, or if the interval says next to nothing.
    It also warns if the rows are harder than test rows: the estimate is 0 whatever is remembered.
    """
    limit = "" if largest is None else f" at most {largest:g}"
    name = f"remembered share{limit}"
    if share is None:
        failed = largest is not None and not exact
        return _check(f"{name}: not measurable", result="FAILED" if failed else "WARNED")
    if share.harder and not exact:
        reason = "the forgotten rows are harder than test rows, which hides memory"
        return _check(f"{name}: not shown, because {reason}", result="WARNED")
    if largest is None and not exact:
        name += ", without a limit"
    result = "PASSED"
    if largest is None:
        if not exact and (share.low > 0 or share.high - share.low > WIDE):
            result = "WARNED"
    elif share.share > largest:
        result = "WARNED" if exact else "FAILED"
    elif share.high > largest:
        result = "WARNED"
    return _check(
        name,
        value=share.share,
        interval=(share.low, share.high),
        result=result,
    )


def _of_verdict(label: str, exact: bool) -> Any:
    if label in CLEARED:
        return "PASSED"
    return "FAILED" if label in REMEMBERED and not exact else "WARNED"
