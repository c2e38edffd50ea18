"""Fulfil requests: plan and price, unlearn beside the served version, gate, and switch."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coun.certificates import Check
from coun.data import Data, Split
from coun.data.row_table import RowTable
from coun.errors import CounError, listed
from coun.federated.federation import federation_of
from coun.methods import Method, federated, make
from coun.registry.baseline import Baseline
from coun.registry.costs import Estimate, estimate, retrain_settings
from coun.registry.evidence import certify
from coun.registry.gates import Expected, Outcome, examine
from coun.registry.layout import WORK, version_folder
from coun.registry.planning import Fulfilled, Plan
from coun.registry.state import State
from coun.registry.switching import switch
from coun.registry.versions import digests, left_out_test_rows, move, nameless_table, write_table
from coun.runs import Options, Run, unlearn
from coun.runs.choice import AUTO, Choice
from coun.runs.comparison import check_comparable
from coun.runs.folder import WEIGHTS
from coun.runs.kept_epochs import kept_before
from coun.runs.requirements import check_requirements

if TYPE_CHECKING:
    from coun.registry.registry import Registry

METRICS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")


class Fulfilment:
    """One fulfilment, from the plan to the switch.

    Every step can be interrupted. What was finished is found again in the ledger and in the work
    folder, and is not repeated.

    Args:
        registry: it is locked by the caller.
        requests: numbers of open requests.
        say: prints a line for the person who waits.
    """

    def __init__(
        self,
        registry: Registry,
        requests: Sequence[int],
        plan: Plan,
        *,
        data: Data | str | None = None,
        options: Options | None = None,
        say: Callable[[str], None],
    ) -> None:
        self.registry, self.requests, self.plan = registry, tuple(requests), plan
        # Costs and reasons are said here, with minutes.
        self.options, self.say = replace(options or Options(), announce=False), say
        self.state = registry.state()
        self.baseline = Baseline(registry, self.requests, data)
        self.data, self.split = self.baseline.served.data, self.baseline.split
        self.retrains = [self._as_retrain(run) for run in plan.retrains]
        if plan.gates.max_remembered is not None and not len(
            self.split.rows(self.data, "forgotten")
        ):
            raise CounError(
                "--max-remembered needs the forgotten rows, and they are deleted from the data; "
                "leave it out, or say with --data where a copy of them is"
            )
        self.choices = plan.choices(self.baseline)
        self._check_methods()
        self.estimate: Estimate | None = None

    def _check_methods(self) -> None:
        """Refuse methods that need something that the version to start from does not have."""
        clients = federation_of(self.baseline.run.record.original)
        for choice in self.choices:
            if choice.name in federated() and clients is None:
                raise CounError(
                    f"{choice.name} works in a federation only, and the model was not trained in "
                    "one; choose another method"
                )
            kind, (start, split) = self.plan.kind(choice.name), self._start(choice)
            if kind.needs_kept_epochs and not kept_before(start):
                raise CounError(
                    f"{choice.name} returns to an earlier epoch of the Original, and the registry "
                    "has none; begin it with a run folder of coun train --keep-every, or choose "
                    "another method, such as finetune"
                )
            check_requirements(kind, start)
            if self.plan.method != AUTO:  # else one that does not fit is a failed attempt
                self._made(choice).check(start.classifier, start.data, split)

    def run(self) -> Fulfilled:
        """Try the methods in order until one passes the gates, and serve its model."""
        self.estimate = self._announce(self.choices[0], "method")
        number = self._begin()
        work = self.registry.folder / WORK / str(number)
        failed = {attempt["attempt"]: attempt for attempt in self._attempts()}
        tried: list[str] = []
        outcome: Outcome | None = None
        said: set[str] = set()
        for place, choice in enumerate(self.choices):
            tried.append(choice.name)
            if place in failed and not failed[place]["passed"]:
                self.say(f"{choice.name} failed before: {failed[place]['why']}")
                continue
            if place:
                self._announce(choice, "next method")
            try:
                run, why = self._attempt(choice, work / f"{place}-{choice.name}")
            except CounError as error:
                if not place and not isinstance(error.__cause__, OSError):
                    self._end(number, "ABANDONED")  # the input was wrong; nothing was begun
                raise
            if run is not None:
                outcome = self._examine(run)
                for note in outcome.notes:
                    if note not in said:  # of several methods, audits often say the same
                        self.say(note)
                said.update(outcome.notes)
                wrong = [_in_words(check) for check in outcome.checks if check.result == "FAILED"]
                why = f"gate failed: {'; '.join(wrong)}" if wrong else ""
            with self.registry.ledger.transaction():
                body = {"fulfilment": number, "attempt": place, "method": choice.name}
                self.registry.append("attempt", {**body, "passed": not why, "why": why})
            if not why and run is not None and outcome is not None:
                return self._release(run, choice, outcome, tried)
            self.say(f"{choice.name} is not served: {why}")
            if run is not None:
                self.baseline.shared.drop(run.classifier)
        self._end(number, "FAILED")
        last = self.choices[-1]
        return Fulfilled(
            requests=self.requests,
            result="FAILED",
            version=self.state.served,
            method=last.name,
            settings=last.settings,
            reason=last.reason,
            checks=outcome.checks if outcome else (),
            attempts=tuple(tried),
        )

    def _announce(self, choice: Choice, noun: str) -> Estimate:
        """Say which method comes, why, and at what cost."""
        start, split = self._start(choice)
        self.say(f"{noun}: {choice.name}, because {choice.reason}")
        expected = estimate(start, split, self._made(choice), self.options)
        self.say(expected.in_words())
        return expected

    def _made(self, choice: Choice) -> Method:
        return make(self.plan.spelled(choice.name), choice.settings, trust=True)

    def _end(self, number: int, result: str) -> None:
        """Enter that a fulfilment ended without a new version, and delete its work."""
        with self.registry.ledger.transaction():
            self.registry.append("ended", {"fulfilment": number, "result": result})
        shutil.rmtree(self.registry.folder / WORK / str(number), ignore_errors=True)

    def _begin(self) -> int:
        """Continue the fulfilment that was interrupted, if it is this one, or begin another."""
        running = self.state.running
        body = {
            "requests": list(self.requests),
            "parent": self.state.served,
            "start": self.baseline.number,
            "plan": self.plan.to_json(),
            "choices": [[choice.name, choice.settings] for choice in self.choices],
            "split": self.split.digest,
        }
        if running is not None:
            if {key: running.body.get(key) for key in body} == body:
                self.say(f"fulfilment {running.number} was interrupted; it goes on")
                return running.number
            self.say(f"fulfilment {running.number} was interrupted and is another one; it is ended")
        number = self.state.fulfilments + 1
        with self.registry.ledger.transaction():
            if running is not None:
                ended = {"fulfilment": running.number, "result": "ABANDONED"}
                self.registry.append("ended", ended)
            self.registry.append("started", {"fulfilment": number, **body})
        if running is not None:
            shutil.rmtree(self.registry.folder / WORK / str(running.number), ignore_errors=True)
        return number

    def _attempts(self) -> list[dict[str, Any]]:
        running = self.registry.state().running
        return running.attempts if running else []

    def _attempt(self, choice: Choice, out: Path) -> tuple[Run | None, str]:
        """Unlearn, or find the finished run; a training that diverges is a failed attempt."""
        settings: dict[str, Any] = dict(choice.settings)
        start, split = self._start(choice)
        if choice.name == "retrain":
            settings = {**retrain_settings(start), **settings}
        try:
            return unlearn(
                start,
                split,
                self.plan.spelled(choice.name),
                seed=self.plan.seed,
                out=out,
                options=self.options,
                **settings,
            ), ""
        except CounError as error:
            if not out.exists() or isinstance(error.__cause__, OSError):
                raise
            return None, str(error)

    def _start(self, choice: Choice) -> tuple[Run, Split]:
        """The model that a method starts from, and what it has to make it forget."""
        kind = self.plan.kind(choice.name)
        return self.baseline.start(needs_kept_epochs=kind.needs_kept_epochs)

    def _reads_forget_rows(self, choice: Choice) -> bool:
        return "forget" in self.plan.kind(choice.name).reads

    def _number_of_start(self, run: Run, choice: Choice) -> int | None:
        """The version that *run* was made from; None for a Retrain."""
        if run.record.kind == "retrain":
            return None
        start, _ = self._start(choice)
        return self.baseline.number if start is self.baseline.run else self.state.served

    def _examine(self, run: Run) -> Outcome:
        """Measure and audit *run*, and apply the gates."""
        assert run.split is not None
        expected = Expected(self.baseline.test_accuracy(run.split), self.baseline.retain_accuracy)
        return examine(
            run,
            self.plan.gates,
            expected=expected,
            against=self.retrains,
            original=self._original(),
            seed=self.plan.seed,
            shared=self.baseline.shared,
        )

    def _as_retrain(self, folder: Path) -> Run:
        """Open a Retrain of the user's. Raises: CounError if it is none of these requests."""
        run = Run.open(folder, data=self.data, allow_missing=True, trust=self.registry.trust)
        check_comparable(run, self.data, self.split, as_retrain=True)
        return run

    def _original(self) -> Run | None:
        """A version that had not forgotten anything yet, as control of the audit."""
        if self.baseline.run.split is None:
            return self.baseline.run
        first = self.state.kept_ancestry(self.state.served)[-1]
        original = self.registry.open_version(first, self.data)
        return original if original.split is None else None

    def _release(
        self, run: Run, choice: Choice, outcome: Outcome, tried: Sequence[str]
    ) -> Fulfilled:
        """Remove names, sign, and switch."""
        registry, state = self.registry, self.registry.state()
        assert run.folder is not None
        version = max(state.versions) + 1
        target = version_folder(registry.folder, version)
        nameless = self._remove_names(run, run.folder, state)
        shutil.rmtree(run.folder / "checkpoint", ignore_errors=True)
        files = digests(run.folder)
        start = self._number_of_start(run, choice)
        if outcome.audit is not None:  # its page names the folder in which the version will be
            outcome.audit.unlearned[0].run = replace(run, folder=target)
        models = {"model before": state.versions[state.served].files[WEIGHTS]}
        if start is not None and start != state.served:
            models["model that it was made from"] = state.versions[start].files[WEIGHTS]
        certificates = certify(
            registry,
            self.requests,
            run,
            weights=files[WEIGHTS],
            page=outcome.audit if self.plan.page else None,
            models=models,
            checks=outcome.checks,
            retrain_flops=self._retrain_flops(run, choice),
            exact=self._is_exact(choice),
            reads_forget_rows=self._reads_forget_rows(choice),
        )
        move(run.folder, target)
        entry = {
            "version": version,
            "parent": state.served,
            "start": start,
            **self._origin_of(run, choice),
            "files": files,
            "requests": list(self.requests),
            "nameless": sorted(nameless),
            **self._numbers_of(run, choice, outcome),
        }
        result = "FULFILLED_BY_RETRAINING" if self._is_exact(choice) else "FULFILLED"
        switch(registry, self.requests, entry, certificates, state.fulfilments, result)
        return Fulfilled(
            requests=self.requests,
            result=result,
            version=version,
            method=choice.name,
            settings=run.record.method.settings,
            reason=choice.reason,
            checks=outcome.checks,
            attempts=tuple(tried),
            certificates=tuple(str(registry.folder / c["path"]) for c in certificates.values()),
            next_step=self._next_step(),
        )

    def _is_exact(self, choice: Choice) -> bool:
        return self.plan.kind(choice.name).exact

    def _retrain_flops(self, run: Run, choice: Choice) -> float | None:
        """What a Retrain costs: measured where *run* is one, else estimated."""
        if choice.name == "retrain":
            return run.record.cost.flops
        return self.estimate.retrain_flops if self.estimate else None

    def _remove_names(self, run: Run, folder: Path, state: State) -> set[int]:
        """Write the row table of *run* without the names of rows that are forgotten by now.

        Returns: the requests that named these rows, those that are being fulfilled included.
        """
        fulfilled = {r.number for r in state.requests.values() if r.versions and not r.shredded}
        fulfilled.update(self.requests)
        rows = self.registry.rows_by_key(fulfilled)
        write_table(folder, folder, nameless_table(RowTable.of(run.data, run.split), rows))
        return fulfilled

    def _origin_of(self, run: Run, choice: Choice) -> dict[str, Any]:
        """What the ledger says of how a version was made, and why so."""
        return {
            "kind": run.record.kind,
            "method": choice.name,
            "settings": run.record.method.settings,
            "seed": run.record.seed,
            "reason": choice.reason,
        }

    def _numbers_of(self, run: Run, choice: Choice, outcome: Outcome) -> dict[str, Any]:
        """What the ledger says of the size, the costs and the measurements of a version."""
        exact = self._is_exact(choice)
        return {
            "forgotten_rows": len(self.split.forget),
            "flops": run.record.cost.flops,
            "retrain_flops": self._retrain_flops(run, choice),
            "seconds": run.record.cost.seconds,
            "metrics": {n: outcome.metrics[n] for n in METRICS if outcome.metrics[n] is not None},
            "test_rows_left_out": left_out_test_rows(run),
            "expected_retain_accuracy": self.baseline.retain_accuracy,
            "drift": 0.0 if exact else self.baseline.drift(run),
            "exact": exact,
            "split": self.split.digest,
        }

    def _next_step(self) -> str:
        """What is to be done with forgotten rows that are still in the source."""
        if not len(self.split.rows(self.data, "forget")):
            return ""
        folder = shlex.quote(str(self.registry.folder))
        keys = " and ".join(f"coun request shred {folder} {n}" for n in self.requests)
        return (
            f"delete the rows of {listed('request', self.requests)} from {self.data.source}, and "
            f"then destroy the {'key' if len(self.requests) == 1 else 'keys'} with {keys}"
        )


def _in_words(check: Check) -> str:
    """A check that failed, with its value."""
    return f"{check.name}, but it is {check.shown}" if check.shown else check.name
