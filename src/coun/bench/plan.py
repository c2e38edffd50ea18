"""From a config to experiments: what each row of the table is made of, and what it will cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coun.bench.beds import Facts, look, material, protocol_of
from coun.bench.config import Bed, Config, MethodConfig, Scenario
from coun.bench.experiment import (
    AGAIN,
    Cut,
    Evaluate,
    Experiment,
    Score,
    Train,
    Unlearn,
    World,
    closure,
    describe,
)
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError, nearest
from coun.methods import catalogue
from coun.runs.recipes import inherited, recipe

ORIGINAL, RETRAIN, FLOOR = "Original", "Retrain", "Retrain again"
METHOD, CANDIDATE = "method", "candidate"  # the other roles
SHADOW = 500_000  # seeds of the models that memorisation is estimated from, counted up
Tuned = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by bed and method, as `tune` returns it


@dataclass(frozen=True)
class Entry:
    """One model in one row of one table, for one seed.

    Args:
        bed, scenario: which table; *stage* of a sequential request, from 1.
        row: the label; *base* the same without what varies, *varied* what does.
        module: whether the contrastive module is on it.
        retrain: the same seed's Retrain, measured.
    """

    bed: str
    scenario: str
    stage: int
    row: str
    base: str
    role: str
    method: str
    reads: tuple[str, ...]
    module: bool
    varied: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    model: Train | Unlearn
    measured: Evaluate
    retrain: Evaluate


@dataclass
class Plan:
    """Everything a bench will compute: *entries* of its tables, and what is known of its beds."""

    config: Config
    entries: list[Entry]
    facts: dict[str, Facts] = field(default_factory=dict)

    @property
    def experiments(self) -> list[Experiment]:
        """All of them, each once, needs first; seed by seed."""
        ordered = sorted(self.entries, key=lambda entry: entry.seed)
        return closure(one for entry in ordered for one in (entry.retrain, entry.measured))

    def only(self, words: Iterable[str]) -> Plan:
        """The part that *words* name: `key=value,value`, or a bare value for a row's label.

        Keys are row, bed, scenario and seed. Raises: CounError for one that names nothing.
        """
        entries = self.entries
        for word in words:
            key, equals, values = word.partition("=")
            if not equals or word in {entry.row for entry in self.entries}:
                key, values = "row", word
            if key not in ("row", "bed", "scenario", "seed"):
                raise CounError(
                    f"--only {word}: unknown key '{key}'; known: row, bed, scenario, seed"
                )
            known = {str(getattr(entry, key)) for entry in self.entries}
            known |= {entry.base for entry in self.entries} if key == "row" else set()
            wanted = set(values.split(","))
            for value in sorted(wanted - known):
                raise CounError(
                    f"--only {word}: no {key} '{value}'{nearest(value, known)}; "
                    f"known: {', '.join(sorted(known))}"
                )
            entries = [
                e for e in entries if {str(getattr(e, key)), *([e.base] * (key == "row"))} & wanted
            ]
        return Plan(self.config, entries, self.facts)


def make_plan(
    config: Config,
    *,
    dry: bool = False,
    tuned: Tuned | None = None,
    seeds: Iterable[int] | None = None,
    holdout: float = 0.0,
    methods: Iterable[MethodConfig] | None = None,
    floor: bool = True,
) -> Plan:
    """All entries of *config*.

    Args:
        dry: make do with `expect` where data cannot be loaded; such a plan cannot be run.
        tuned: what tuning found, by bed and by method title. The settings it chose are used;
            with `oracle` so many of the runners-up are run as candidates too.
        seeds, holdout, methods, floor: what tuning asks for in place of the config's.
    """
    plan = Plan(config, [])
    for bed in config.bed:
        facts = look(config, bed, holdout=holdout, dry=dry)
        plan.facts[bed.name] = facts
        world = _world(config, bed, facts, holdout)
        for scenario in config.scenario:
            for seed in config.seeds if seeds is None else seeds:
                plan.entries += _Block(config, bed, world, scenario, seed).entries(
                    config.method if methods is None else methods,
                    (tuned or {}).get(bed.name, {}),
                    floor and (config.floor is None or seed in config.floor),
                )
    return plan


def _world(config: Config, bed: Bed, facts: Facts, holdout: float) -> World:
    compute = config.compute
    return World(
        bed.name,
        material(config, bed, holdout=holdout),
        facts.fingerprint,
        facts.views,
        bed.model,
        bed.train,
        recipe(bed.model, bed.train).settings(),
        facts.device,
        facts.precision,
        compute.threads,
        compute.compile,
        ProcessGroup.current().count,
    )


@dataclass
class _Block:
    """One bed, one scenario, one seed."""

    config: Config
    bed: Bed
    world: World
    scenario: Scenario
    seed: int

    def entries(
        self, methods: Iterable[MethodConfig], tuned: Mapping[str, Any], floor: bool
    ) -> list[Entry]:
        original = Train(self.world, self.seed)
        found: list[Entry] = []
        starts: dict[str, Train | Unlearn] = {}
        before: Cut | None = None
        for stage, cut in enumerate(self.cuts(original), 1):
            exact = Train(self.world, self.seed, cut)
            retrain = self.measure(exact, cut)
            found.append(self.entry(ORIGINAL, original, retrain, stage, reads=("forget", "retain")))
            found.append(self.entry(RETRAIN, exact, retrain, stage))
            if floor:
                again = Train(self.world, self.seed + AGAIN, cut)
                found.append(self.entry(FLOOR, again, retrain, stage))
            for method in methods:
                for row, values, role in self.runs(method, tuned.get(method.title, {})):
                    start = starts.get(row, original)
                    starts[row] = done = self.unlearn(method, values, start, cut, before)
                    takes_module = method.contrast is not None or method.name == "coun"
                    own = done.resolved.get("contrast") or done.resolved
                    about = {
                        "base": method.title,
                        "role": role,
                        "method": method.name,
                        "reads": tuple(sorted(catalogue()[method.name].reads)),
                        "module": takes_module and own["weight"] > 0,
                        "varied": {key: values[key] for key in method.vary},
                        "settings": done.resolved,
                    }
                    found.append(self.entry(row, done, retrain, stage, **about))
            before = cut
        return found

    def runs(
        self, method: MethodConfig, tuned: Mapping[str, Any]
    ) -> list[tuple[str, dict[str, Any], str]]:
        """What is run of a method: label, chosen values, and whether it is only a candidate."""
        best = dict(tuned.get("chosen", {}))
        found = []
        for varied in method.variants():
            words = (f" {key.removeprefix('contrast.')}={v}" for key, v in varied.items())
            found.append((method.title + "".join(words), {**best, **varied}, METHOD))
        oracle = self.config.tune.oracle if self.config.tune else 0
        for one in tuned.get("trials", [])[1 : 1 + oracle]:
            if one["gap"] is not None:
                label = f"{method.title} candidate {one['trial']}"
                values = {**one["settings"], **{k: v[0] for k, v in method.vary.items()}}
                found.append((label, values, CANDIDATE))
        return found

    def entry(
        self, row: str, model: Train | Unlearn, retrain: Evaluate, stage: int, **about: Any
    ) -> Entry:
        reference = {
            "base": row,
            "role": row,
            "method": "retrain",
            "reads": ("retain",),
            "module": False,
            "varied": {},
            "settings": {},
        }
        return Entry(
            bed=self.bed.name,
            scenario=label(self.scenario),
            stage=stage,
            row=row,
            seed=self.seed,
            model=model,
            measured=self.measure(model, retrain.cut),
            retrain=retrain,
            **{**reference, **about},
        )

    def unlearn(
        self,
        method: MethodConfig,
        values: Mapping[str, Any],
        start: Train | Unlearn,
        cut: Cut,
        before: Cut | None,
    ) -> Unlearn:
        # A protocol's own settings come first, the config's override them.
        preset = protocol_of(self.config).methods.get(method.name, {})
        settings, module = method.arguments(self.bed.name, values, preset)
        # What the run will take over from the model it starts from.
        name = start.method if isinstance(start, Unlearn) else RETRAIN
        own = start.resolved if isinstance(start, Unlearn) else {}
        record = {"method": {"name": name, "settings": own}, "original": self.world.recipe}
        full = method.build(self.bed.name, values, {**inherited(method.name, record), **preset})
        resolved = full.with_defaults_from(self.world.recipe).settings()
        return Unlearn(
            self.world, start, cut, method.name, settings, module, resolved, self.seed, before
        )

    def measure(self, model: Train | Unlearn, cut: Cut) -> Evaluate:
        return Evaluate(self.world, model, cut, protocol_of(self.config).mia)

    def cuts(self, original: Train) -> list[Cut]:
        """The request as a series of growing forget sets: one, or one a stage."""
        request, draw = self.scenario.model_dump(), protocol_of(self.config).draw
        kind = request["kind"]
        if kind in ("class", "subclass"):
            return [Cut(request)]
        if kind in ("random", "sequential"):
            # Stage k is the first k shares of one permutation: a random request of k shares.
            shares = [
                round(request["fraction"] * (k + 1), 10) for k in range(request.get("stages", 1))
            ]
            return [Cut({"kind": "random", "fraction": f}, draw, self.seed) for f in shares]
        if kind == "worst":
            return [Cut(request, scores=Score(self.world, "self-influence", (original,)))]
        half = {"kind": "random", "fraction": 0.5}
        shadows = [
            Train(self.world, SHADOW + n, Cut(half, seed=SHADOW + n))
            for n in range(request["models"])
        ]
        return [Cut(request, scores=Score(self.world, "memorisation", tuple(shadows)))]


def label(scenario: Scenario) -> str:
    """A scenario in a few words, as tables head it."""
    request = scenario.model_dump()
    if request["kind"] == "sequential":
        return f"sequential {request['stages']} x {request['fraction']:.0%}"
    return describe(Cut(request))
