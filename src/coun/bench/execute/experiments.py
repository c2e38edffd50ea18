"""Computing one experiment: train, unlearn, evaluate or score."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from coun.attacks.vulnerable import RULI, vulnerable_rows
from coun.bench.execute.attacks import attack
from coun.bench.execute.store import RUN, Store
from coun.bench.spec.experiment import (
    Compare,
    Ensemble,
    Evaluate,
    Experiment,
    ExperimentSetting,
    ForgetSpec,
    Score,
    Semantics,
    Train,
    Unlearn,
    keeping_interval,
)
from coun.bench.spec.method_config import PreparationConfig
from coun.data import Data, Split
from coun.data.requests import ModelPredictions
from coun.data.requests.whole_class import class_label
from coun.data.split_rows import without
from coun.engine import predict
from coun.engine.device import threads
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import locked
from coun.methods import find
from coun.metrics import Measurements, centroid_distances, centroids, prediction_rows
from coun.metrics.registry import with_named
from coun.runs import Options, Run, measure, predictions, prepare, train, unlearn
from coun.runs.kept_epochs import KeptEpoch
from coun.runs.measuring import measurements

# Parts of a run's record that the tables need.
RECORDED = ("weights_sha256", "cost", "preparation_cost", "kind", "method", "environment")


@dataclass(frozen=True)
class ComputeOptions:
    """How experiments compute, without influence on their results."""

    checkpoint_every: float = 60.0
    progress: bool = False


def execute(experiment: Experiment, store: Store, options: ComputeOptions, worker: int = 0) -> None:
    """Compute *experiment* and save its result; everything it needs must be in *store*."""
    is_main = ProcessGroup.current().is_main
    if is_main:
        store.begin(experiment)
    with threads(experiment.setting.threads):
        run_options = _run_options(experiment.setting, options, worker)
        if isinstance(experiment, Train):
            result = _summary(_train(experiment, store, run_options))
        elif isinstance(experiment, Unlearn):
            result = _summary(_unlearn(experiment, store, run_options))
        elif not is_main:
            return
        elif isinstance(experiment, Evaluate):
            result = _evaluate(experiment, store)
        elif isinstance(experiment, Compare):
            result = _compare(experiment, store)
        elif isinstance(experiment, Ensemble):
            result = _ensemble(experiment, store)
        elif isinstance(experiment, Semantics):
            result = _semantics(experiment, store)
        else:
            assert isinstance(experiment, Score)
            result = {"scores": _score(experiment, store)}
    if is_main:
        store.finish(experiment, result)


def _train(experiment: Train, store: Store, options: Options) -> Run:
    setting, forget = experiment.setting, experiment.forget
    data = _data(setting)
    return train(
        data,
        setting.model,
        split=_split(forget, data, store) if forget else None,
        seed=experiment.seed,
        out=store.place(experiment) / RUN,
        options=options,
        federation=setting.federation,
        **setting.recipe,
    )


def _unlearn(experiment: Unlearn, store: Store, options: Options) -> Run:
    setting = experiment.setting
    data = _data(setting)
    start = _open(experiment.start, store, data)
    if experiment.earlier is None:
        split = _split(experiment.forget, data, store)
    else:
        data, split = _without_earlier(experiment, data, store)
        start = replace(start, data=data, split=None)
    if (how := experiment.preparation) is not None:
        start = _prepared(experiment, start, how, store, options)
    if find(experiment.method, trust=True).needs_kept_epochs:
        start = replace(start, kept_epochs=_kept_epochs(experiment, store, options))
    return unlearn(
        start,
        split,
        experiment.method,
        seed=experiment.seed,
        out=store.place(experiment) / RUN,
        options=options,
        contrast=experiment.contrast,
        retain_access=experiment.retain_access,
        **experiment.settings,
    )


def _prepared(
    experiment: Unlearn, start: Run, how: PreparationConfig, store: Store, options: Options
) -> Run:
    """Give *start* its out-of-fold predictions, which all rows of one Original share.

    They are in a copy of the Original's folder, which other experiments read meanwhile. The
    process that comes first makes them, and the others wait. Where processes train together, or
    rows of earlier stages are gone, each experiment makes its own.
    """
    arguments = {**how.model_dump(), "seed": experiment.seed, "options": options}
    if experiment.earlier is not None or experiment.setting.processes > 1:
        return prepare(replace(start, folder=None), **arguments)
    name = f"prepared-{how.folds}-{how.repeats}-{experiment.seed}"
    place = store.place(experiment.start) / name
    with locked(place, wait=-1):
        if not (place / RUN).exists():
            shutil.rmtree(place / "copy", ignore_errors=True)  # of a process that was killed
            shutil.copytree(store.place(experiment.start) / RUN, place / "copy")
            (place / "copy").rename(place / RUN)
        run = Run.open(place / RUN, data=start.data, trust=frozenset({experiment.setting.model}))
        if run.out_of_fold is None:
            run = prepare(run, **arguments)
    return replace(run, folder=None)


def _kept_epochs(experiment: Unlearn, store: Store, options: Options) -> dict[int, KeptEpoch]:
    """Train the Original once more, to the same bits, and keep about ten of its epochs.

    Keeping them would have cost nothing, so this training is charged to no row.
    """
    original: Train | Unlearn = experiment.start
    while isinstance(original, Unlearn):
        original = original.start
    setting, place = original.setting, store.place(original) / "kept"
    keeping = replace(options, keep_every=keeping_interval(setting.recipe))
    with locked(place, wait=-1):
        run = train(
            _data(setting),
            setting.model,
            seed=original.seed,
            out=place / RUN,
            options=keeping,
            **setting.recipe,
        )
    return run.kept_epochs


def _evaluate(experiment: Evaluate, store: Store) -> dict[str, Any]:
    data = _data(experiment.setting)
    split = _measured(experiment, data, store)
    run = _open(experiment.subject, store, data)
    outputs = predictions(run.classifier, data, split)
    result = measure(outputs, split)
    if experiment.mia != "svc":
        result["mia_efficacy"] = attack(experiment.mia, outputs, split)
    return result


def _compare(experiment: Compare, store: Store) -> dict[str, Any]:
    """Compute registered metrics; None where a metric has no value, such as one per class.

    Returns: `metrics` by name; and, where the model is measured on a part of the test rows,
        `of_retrain`, what Retrain has on the same rows, of metrics in which it is the aim.
    """
    data = _data(experiment.setting)
    split = _measured(experiment, data, store)
    metrics = with_named(experiment.metrics)
    measured, of_original, begun = list[Measurements](), dict[str, Any](), None
    if experiment.original is not None:
        original = _open(experiment.original, store, data)
        of_original["original.model"] = original
        begun = predictions(original.classifier, data, split, with_features=False).outputs["test"]
    for model in (experiment.retrain, experiment.subject):
        run = _open(model, store, data)
        outputs = predictions(run.classifier, data, split)
        usual = measurements(outputs, split, cost=run.record["cost"], start=begun)
        inputs = {**usual.inputs, **of_original, "on_request": True, "model": run, "split": split}
        beside = measured[0] if measured else None
        measured.append(Measurements(inputs, retrain=beside, metrics=metrics))
    of_retrain, of_model = measured
    result = {"metrics": of_model.values_or_none(experiment.metrics)}
    if experiment.unread:
        aims = [name for name in experiment.metrics if metrics[name].direction == "nearer"]
        result["of_retrain"] = of_retrain.values_or_none(aims)
    return result


def _ensemble(experiment: Ensemble, store: Store) -> dict[str, Any]:
    """Compute metrics over the models of all seeds, and attack the most vulnerable rows."""
    data = _data(experiment.setting)
    split = _split(experiment.forget, data, store)
    rows = split.rows(data, "forgotten")
    examples = data.train.take(rows)

    def logits(models: Iterable[Train | Unlearn]) -> list[torch.Tensor]:
        runs = (_open(model, store, data) for model in models)
        return [predict(run.classifier, data, examples, anywhere=True).logits for run in runs]

    unlearned, retrained, originals = (
        logits(group) for group in (experiment.subjects, experiment.retrains, experiment.originals)
    )
    labels, name = examples.labels.cpu(), "runs.forget.logits"
    inputs = {name: unlearned, f"original.{name}": originals, "forget.labels": labels}
    of_retrain = Measurements({name: retrained})
    metrics = with_named(experiment.metrics)
    measured = Measurements(inputs, retrain=of_retrain, metrics=metrics)
    result: dict[str, Any] = {"metrics": measured.values_or_none(experiment.metrics)}
    if RULI.name in experiment.metrics and result["metrics"][RULI.name] is not None:
        attacked = vulnerable_rows(unlearned, retrained, originals, labels)
        numbers = data.train.numbers[rows[torch.tensor(attacked.slots)]].tolist()
        values = zip(numbers, attacked.vulnerability, attacked.accuracy, strict=True)
        result["rows"] = [
            {"number": number, "vulnerability": apart, "accuracy": accuracy}
            for number, apart, accuracy in values
        ]
    return result


def _semantics(experiment: Semantics, store: Store) -> dict[str, Any]:
    """Which classes the forget rows of one class are predicted as, and how far centroids are.

    Source: CoUn, Tables 1, 5 and 6 (predictions, percent) and Table 4 (distances to the
        centroids of the retain rows, divided by the largest). A class without retain rows, or
        forget rows, has no distance (None).
    """
    data = _data(experiment.setting)
    split = _split(experiment.forget, data, store)
    run = _open(experiment.subject, store, data)
    outputs = predictions(run.classifier, data, split)
    of, classes = class_label(data, experiment.of), len(data.classes)
    forget, labels = outputs.outputs["forget"], outputs.labels["forget"]
    rows = labels == of
    if not rows.any():
        return {"of": experiment.of, "rows": 0, "predicted": {}, "distance": {}}
    shares = prediction_rows(forget.logits[rows], labels[rows])[of]
    retain = outputs.outputs["retain"].features
    centres = centroids(retain, outputs.labels["retain"], classes)
    present = [k for k in range(classes) if not np.isnan(centres[k]).any()]
    distances = centroid_distances(forget.features[rows], centres[present])
    return {
        "of": experiment.of,
        "rows": int(rows.sum()),
        "predicted": dict(zip(data.classes, map(float, shares), strict=True)),
        "distance": {data.classes[k]: float(x) for k, x in zip(present, distances, strict=True)},
    }


def _score(experiment: Score, store: Store) -> list[float]:
    data = _data(experiment.setting)
    answers = []
    for model in experiment.models:
        outputs = predictions(store.open(model, data).classifier, data, None).outputs["retain"]
        trained_on = torch.ones(len(data.train), dtype=torch.bool)
        if model.forget is not None:
            retain = _split(model.forget, data, store).retain
            trained_on = torch.isin(data.train.numbers, retain)
        answers.append(ModelPredictions(outputs.logits, outputs.features, trained_on))
    return [float(score) for score in experiment.request.score(answers, data)]


def open_model(
    experiment: Train | Unlearn, forget: ForgetSpec, store: Store
) -> tuple[Run, Data, Split]:
    """Open a finished model with the whole data of its setting, and the rows of *forget*."""
    data = _data(experiment.setting)
    return _open(experiment, store, data), data, _split(forget, data, store)


def _open(experiment: Train | Unlearn, store: Store, data: Data) -> Run:
    """Open a model; after an earlier stage its own data is smaller than *data*."""
    if isinstance(experiment, Unlearn) and experiment.earlier is not None:
        data, _ = _without_earlier(experiment, data, store)
    return store.open(experiment, data)


def _split(forget: ForgetSpec, data: Data, store: Store) -> Split:
    """Choose the rows that *forget* forgets and retains."""
    scores = np.array(store.result(forget.scores)["scores"]) if forget.scores else None
    return Split.of(data, forget.request, seed=forget.seed or 0, scores=scores)


def _measured(experiment: Evaluate | Compare, data: Data, store: Store) -> Split:
    """The rows of the request, without the half of the test rows that some methods read."""
    split = _split(experiment.forget, data, store)
    if experiment.unread:
        split = split.leaving_out(data.test.numbers[split.calibration_rows(data)])
    return split


def _without_earlier(experiment: Unlearn, data: Data, store: Store) -> tuple[Data, Split]:
    """The data without the rows of earlier stages, and the new rows of this stage.

    A method never sees rows again that an earlier stage removed.
    """
    assert experiment.earlier is not None
    whole, earlier = (_split(f, data, store) for f in (experiment.forget, experiment.earlier))
    rest = replace(data, train=data.train.take(earlier.rows(data, "retain")), source="")
    return rest, Split.by_index(rest, without(whole.forget, earlier.forget))


def _data(setting: ExperimentSetting) -> Data:
    data = setting.data.load()
    if data.fingerprint != setting.fingerprint:
        raise CounError(
            f"the data of {setting.name} changed during the bench: its fingerprint was "
            f"{setting.fingerprint[:12]} and is now {data.fingerprint[:12]}; start the bench again"
        )
    return data


def _summary(run: Run) -> dict[str, Any]:
    """What tables need to know about a model."""
    split, prepared = run.split, run.record.out_of_fold
    return {
        **{name: run.record[name] for name in RECORDED if name in run.record},
        **({"preparation_cost": prepared.cost.to_json()} if prepared else {}),
        "split_sha256": split.digest if split else None,
        "retained": len(split.retain if split else run.data.train),
    }


def _run_options(setting: ExperimentSetting, options: ComputeOptions, worker: int) -> Options:
    device = setting.device
    if device == "cuda":
        # Under torchrun, "auto" is the GPU of the process; otherwise workers share the GPUs.
        count = max(1, torch.cuda.device_count())
        device = "auto" if setting.processes > 1 else f"cuda:{worker % count}"
    return Options(
        device,
        "bf16" if setting.precision == "bf16" else "fp32",
        checkpoint_every=options.checkpoint_every,
        compile=setting.compile,
        memory_format=setting.memory_format,
        progress=options.progress,
        announce=False,
        keep_freed_memory=True,
    )
