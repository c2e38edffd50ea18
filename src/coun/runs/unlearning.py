"""Unlearn: the function that makes a trained model forget the rows of a request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from coun.data import Data, Split, load
from coun.data.requests import Client
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError, counted, require_type
from coun.federated import Federated, FederatedMethod, Federation, federation_of
from coun.methods import Method, find, make
from coun.methods import contrast as add_contrast
from coun.methods.retrain import Retrain
from coun.models import gives_same_weights, make_like, name_of_folder
from coun.models.ensemble import Layout, Shards
from coun.plans.matching import Matching
from coun.runs.chain import accumulated, step_of
from coun.runs.choice import AUTO, FEW_HELD_OUT, SINGLE_ROWS, choose_method, kind_of
from coun.runs.choosing import request_facts
from coun.runs.cost import in_words, retrain_share, trials_share
from coun.runs.execution import execute
from coun.runs.folder import RECORD, check_place, expanded
from coun.runs.kept_epochs import with_kept_epochs
from coun.runs.label_fit import label_fit
from coun.runs.network_checks import require_trainable, warn_of_modes
from coun.runs.options import Options
from coun.runs.probing import needs_probe, probe
from coun.runs.recipes import by_family, inherited
from coun.runs.record import Kind, ParentRecord
from coun.runs.requirements import check_requirements
from coun.runs.run import Run
from coun.runs.start import RunSpec, Start
from coun.seeds import check_defaults_of_torch
from coun.trust import Trust, from_anywhere

_log = logging.getLogger(__name__)


def unlearn(
    start: Run | str | Path | nn.Module,
    split: Split | None = None,
    method: str | Method = "coun",
    *,
    data: Data | str | None = None,
    build: Callable[[], nn.Module] | None = None,
    name: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    options: Options | None = None,
    head: str | None = None,
    contrast: Mapping[str, Any] | None = None,
    retain_access: float | None = None,
    trust: Trust = False,
    **settings: Any,
) -> Run:
    """Make *start* forget the forget rows of *split*; *start* itself is not changed.

    Args:
        start: a `Run`, a run folder, a folder of a Hugging Face model, or any trained nn.Module
            (the last two need *data*). A run that was trained in a federation is unlearned in
            the same federation.
        split: which rows to forget. Rows that *start* or a run before it has forgotten stay
            forgotten: they are added to it. Only a Retrain of *start* needs no split: it forgets
            what *start* forgot.
        method: a name that `coun methods` lists, or `package.module:Class` or
            `./file.py:Class`, with *settings*; or a `Method`. "auto" takes the one that
            `coun.runs.choice.choose_method` chooses, and records why.
        data: the data of a bare module; for a run folder, the data, or the source where it is
            now (see `Run.open`).
        build: makes a fresh model, for methods that need one from a bare module.
        name: what the record calls a bare module, if it can be built by that name again.
        seed: fixes order, views and whatever the method draws.
        out: a run folder to write; an interrupted run in it is resumed, a finished one
            returned.
        options: device, precision and whatever else says how to compute.
        head: the name of the model's last linear layer, where it cannot be found.
        contrast: arguments of `coun.contrast`, to add the contrastive module to the method.
        retain_access: the share of the retain rows that the method may read, for a method whose
            user does not have all of them any more: above 0, below 1. The rows are drawn by
            *seed*, the same share of each class, so all methods of one seed read the same rows.
            None lets it read all of them. A Retrain reads them all.
        trust: run code that the record of a run folder names (see `Run.open`).
        settings: of the method, such as epochs=5, when *method* is a name.

    Returns: the unlearned run. Its model is a new object.

    Raises: CounError for bad settings, a missing split, or a folder that holds another run.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> split = coun.Split.random(data, 0.1)
    >>> run = unlearn(coun.train(data, "mlp", epochs=1), split, "finetune", epochs=1)
    >>> run.record.kind, run.record.parent.method
    ('unlearned', 'retrain')
    """
    check_defaults_of_torch()
    options = Options.of(options, head, settings)
    check_place(out)
    require_type(split, (Split, type(None)), "split", "a coun.Split")
    require_type(method, (str, Method), "method", "a name that coun methods lists, or a Method")
    if contrast is not None:
        arguments = "arguments of coun.contrast, such as {'loss': 'info_nce'}"
        require_type(contrast, Mapping, "contrast", arguments)
    start = _opened(start, data, build, name, options.head, trust)
    require_trainable(start.model)
    split = _whole_request(start, split, method)
    work = _Unlearning(start, split, _start_of(start, options.head), seed, options)
    if method == AUTO:
        method, settings = work.choose(settings)
    made = work.make(method, settings)
    if contrast is not None:
        made = add_contrast(made, **contrast)
    spec = work.prepare(work.in_federation(made), retain_access)
    run = execute(spec, out, options)
    run.start = None if spec.kind == "retrain" else start
    return run


def _whole_request(start: Run, split: Split | None, method: str | Method) -> Split:
    """The rows of *split* and those that *start* has forgotten already.

    Raises: CounError if there is nothing to forget.
    """
    is_retrain = (method if isinstance(method, str) else method.name) == Retrain.name
    if split is None and start.split is not None and not is_retrain:
        raise CounError(
            f"{start.where} has forgotten its {len(start.split.forget):,} rows already; name "
            "new rows to forget, or the same rows again to work on them further with another method"
        )
    split = accumulated(split, start.split, start.data)
    if split is None:
        raise CounError(
            "no forget request: name the rows to forget with split=..., or with an option such "
            "as --forget-class"
        )
    return split


@dataclass
class _Unlearning:
    """The steps from a request to the run that carries it out.

    Each step completes *origin*, which the run starts from and records.
    """

    start: Run
    split: Split
    origin: Start
    seed: int
    options: Options

    def choose(self, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Choose a method for the request; the reason goes into the record of the run.

        Returns: its name and settings; those that the user gave come first.

        Raises: CounError for settings of the user's where the choice is a Retrain.
        """
        start, split = self.start, self.split
        choice = choose_method(**request_facts(start, split, self.origin.original))
        if choice.name == Retrain.name and settings:
            raise CounError(
                f"auto chooses a Retrain ({choice.reason}), which has the recipe of the Original; "
                f"leave out {', '.join(settings)}, or name a method"
            )
        self.origin.chosen_because = choice.reason
        reads_forget = "forget" in find(choice.name, trust=False).reads
        if start.record.kind == "unlearned" and not reads_forget and choice.name != Retrain.name:
            _log.warning(
                "%s trains on retained rows only, after which the model may know again what "
                "earlier requests forgot; expected forget rows that can be read: name rows before "
                "they are deleted, or take --method retrain",
                choice.name,
            )
        self._announce(f"method: {choice.name}, because {choice.reason}")
        return choice.name, {**choice.settings, **settings}

    def make(self, method: str | Method, settings: Mapping[str, Any]) -> Method:
        """The method that a name with *settings* stands for, or *method* itself."""
        if federation_of(self.origin.original) is None:  # a federation refuses in words of its own
            kind = find(method, trust=True) if isinstance(method, str) else method
            check_requirements(kind, self.start)
        if isinstance(method, str):
            return self._make_by_name(method, settings)
        if settings:
            raise CounError("settings go into the Method object, or pass the method by name")
        return method

    def _make_by_name(self, name: str, settings: Mapping[str, Any]) -> Method:
        """Make the method *name*, with a learning rate from trials where no recipe gives one."""
        start, origin = self.start, self.origin
        defaults = inherited(name, start.record)
        if find(name, trust=True).trains_from_scratch and not origin.original:
            defaults = by_family(start.model)
        settings = {**defaults, **settings}
        method = make(name, settings, trust=True)
        if isinstance(method, Matching) and "lr" not in settings:
            share = method.share_of_rate(origin.original)
            if share < 1:
                rate = float(f"{share * method.lr:.3g}")
                method = make(name, {**settings, "lr": rate}, trust=True)
        method.check(start.classifier, start.data, self.split)
        if not needs_probe(method, settings, origin.original):
            return method
        origin.probe = probe(
            method, settings, start.data, self.split, origin, self.seed, self.options
        )
        if ProcessGroup.current().is_main:
            _log.warning("%s", origin.probe.in_words())
        return make(name, {**settings, **origin.probe.settings}, trust=True)

    def in_federation(self, method: Method) -> Method:
        """The method as it is carried out where the model was trained."""
        federation = federation_of(self.origin.original)
        if federation is not None:
            self._check_clients(federation)
            return Federated(method, federation.bound_to(self.start.data))
        if isinstance(method, FederatedMethod):
            raise CounError(
                f"{method.name} works in a federation only, and {self.start.where} was not trained "
                "in one; train the Original with clients (--clients), or choose another method"
            )
        return method

    def _check_clients(self, federation: Federation) -> None:
        """Refuse a client of another division of the rows, who holds other rows."""
        data = self.start.data
        for request in self.split.request:
            if not isinstance(request, Client) or request.partition is None:
                continue
            partition = request.partition
            if partition.digest(data) != federation.digest(data):
                raise CounError(
                    f"the request names client {request.client} of {partition.describe()} (seed "
                    f"{partition.partition_seed}), but {self.start.where} was trained with "
                    f"{federation.partition.describe()} (seed {federation.partition_seed}), whose "
                    "clients hold other rows; take the partition of that federation"
                )

    def prepare(self, method: Method, retain_access: float | None) -> RunSpec:
        """The run of *method*, with all that it reads, and its expected cost announced."""
        origin, split, data = self.origin, self.split, self.start.data
        is_retrain = method.name == Retrain.name
        if is_retrain:
            origin.parent = None  # it starts afresh
        origin.retain_access = checked_access(retain_access, method)
        method = method.with_defaults_from(origin.original)
        for doubt in method.doubts(split):
            _log.warning("%s", doubt)
        if "held_out" in method.reads:
            rows = split.calibration_rows(data)
            origin.held_out = data.test.take(rows)
            if len(rows) < FEW_HELD_OUT:
                _log.warning(
                    "%s learns from %s how sure a model may be, which is too few to rely on; "
                    "expected at least %d (half of the test rows)",
                    method.name,
                    counted(len(rows), "held-out row"),
                    FEW_HELD_OUT,
                )
            self._check_labels(method)
            split = split.leaving_out(data.test.numbers[rows])
        if method.needs_kept_epochs:
            origin = with_kept_epochs(origin, self.start)
        expected = retrain_share(method, split, origin.original)
        origin.retrain_share = expected and expected * (origin.retain_access or 1.0)
        if origin.retrain_share and origin.probe:
            origin.retrain_share += trials_share(origin.probe.cost, split, origin.original)
        if origin.retrain_share:
            self._announce(in_words(origin.retrain_share))
        kind: Kind = "retrain" if is_retrain else "unlearned"
        return RunSpec(kind, method, data, split, origin, self.seed)

    def _check_labels(self, method: Method) -> None:
        """Warn of a method that makes the model as sure of labels as of held-out rows'."""
        start, split = self.start, self.split
        single = kind_of(split, start.data) in SINGLE_ROWS
        if self.origin.chosen_because or not single:  # `auto` has looked at the labels itself
            return
        fit = label_fit(start, split)
        if fit != "usual" and ProcessGroup.current().is_main:
            _log.warning(
                "the labels of the forget rows %s, and %s may leave them as the model's answers; "
                "expected rows like held-out rows: take class_matching for wrong labels, or auto, "
                "which looks at them",
                "look wrong" if fit == "wrong" else "fit less often than those of held-out rows",
                method.name,
            )

    def _announce(self, line: str) -> None:
        """Say before the work what will be done, where a person watches."""
        options = self.options
        if options.progress and options.announce and ProcessGroup.current().is_main:
            print(line, file=sys.stderr)


def checked_access(share: float | None, method: Method) -> float | None:
    """Refuse a share of the retain rows outside 0 to 1, or one that *method* cannot work with."""
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise CounError(
            f"retain_access is {share!r}; expected a share of the retain rows above 0 and below 1, "
            "or leave it out for all of them"
        )
    if method.exact:
        raise CounError(
            f"{method.name} is exact, which needs all retain rows; leave retain_access "
            "(--retain-share) out, or use another method"
        )
    if isinstance(method, Federated):
        raise CounError("the clients of a federation read their own rows; leave retain_access out")
    if "retain" not in method.reads:
        raise CounError(f"{method.name} reads no retain rows; leave retain_access out")
    return float(share)


def _opened(
    start: Run | str | Path | nn.Module,
    data: Data | str | None,
    build: Callable[[], nn.Module] | None,
    name: str | None,
    head: str | None,
    trust: Trust,
) -> Run:
    """The run that a caller of `unlearn` names, or a run of the weights that it gives."""
    require_type(data, (Data, str, type(None)), "data", "data, or the source of them as text")
    if isinstance(start, Run):
        return start
    if isinstance(start, str | Path):
        trained = name_of_folder(expanded(start))
        if trained is None or (expanded(start) / RECORD).exists():
            return Run.open(start, data=data, build=build, allow_missing=True, trust=trust)
    elif not isinstance(start, nn.Module):
        raise CounError(
            f"start is a {type(start).__name__}; expected a run, a run folder, a folder of a "
            "Hugging Face model, or a trained torch.nn.Module"
        )
    if data is None:
        raise CounError("a bare model does not know its data; pass data=...")
    data = load(data) if isinstance(data, str) else data
    run = Run.from_weights(start, data, head=head)
    warn_of_modes(run.model)
    if build is not None:
        run.build = partial(make_like, run.model, build, run.data.input_shape)
        if gives_same_weights(run.build, run.model):
            raise CounError(
                "build makes a model with the weights of the model to unlearn from; expected fresh "
                "weights, with which a Retrain begins"
            )
    if name is not None:
        model = run.record.model.model_copy(update={"name": from_anywhere(name)})
        run.record = run.record.model_copy(update={"model": model})
    return run


def _start_of(run: Run, head: str | None) -> Start:
    """What a run that begins with *run*'s model starts from."""
    record, is_given = run.record, run.record.kind == "given"
    parent = ParentRecord(
        folder=str(run.folder) if run.folder else None,
        method=None if is_given else record.method.name,
        weights_sha256=record.weights_sha256,
    )
    name = record.model.name
    if name and isinstance(run.model, Shards):  # its number of rows is less after deletions
        parsed = Layout.parse(name)
        name = run.model.layout.name(parsed[1]) if parsed else name
    return Start(
        run.model,
        name,
        run.build,
        record.original,
        record.original_seed,
        parent,
        [*record.ancestors, *([] if is_given else [step_of(record, run.folder)])],
        head or record.model.head,
        out_of_fold=run.out_of_fold,
        out_of_fold_record=record.out_of_fold,
        config=record.model.config,
    )
