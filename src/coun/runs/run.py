"""A run: a model with the record of how it was made, in memory or opened from its folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from coun.data import Data, OutOfFold, Split, Views
from coun.data.data_set import blank_inputs
from coun.data.row_table import deleted_test_rows
from coun.data.sources import require_trusted_source
from coun.errors import CounError
from coun.models import (
    Classifier,
    copy_model,
    gives_same_weights,
    inner_network,
    load_trained,
    load_weights,
    make_model,
    name_of_folder,
    recorded_config,
    to_be_filled,
    weights_digest,
)
from coun.models.ensemble import Shards
from coun.models.weights import tensors
from coun.models.zoo import code_name
from coun.runs.answers import check_answers
from coun.runs.chain import parent_folder, with_memory_of_parents
from coun.runs.folder import (
    RECORD,
    WEIGHTS,
    expanded,
    read_record,
    refuse_weights_of_run,
    warn_unverified,
)
from coun.runs.kept_epochs import KeptEpoch, kept_in
from coun.runs.network_checks import warn_of_random_answers
from coun.runs.new_records import given_record
from coun.runs.prepared import carried
from coun.runs.preprocessing import (
    as_recorded,
    check_trust,
    for_model,
    for_network,
    in_order_of_model,
    with_channels,
)
from coun.runs.record import RunRecord
from coun.runs.recorded_data import recorded_data
from coun.runs.start import builder, wrap
from coun.seeds import check_defaults_of_torch
from coun.trust import Trust, from_anywhere, require_trust

_log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False)
class Run:
    """A model, and everything needed to say where it came from.

    Attributes:
        model: the trained or unlearned module, in eval mode.
        data, split: what it was made with; split is None for an Original.
        record: the content of `run.json`: settings, seed, cost, environment, parent.
        folder: where the run is written; None for a run in memory.
        build: makes the model afresh; None where that is not known.
        start: the run that this one was unlearned from, while both are in memory.
        out_of_fold: predictions by models that had not seen the rows (`coun.prepare`), if any.
        kept_epochs: what fills a module with the weights after an earlier epoch, by epoch.
        weights_file: what given weights were read from; None for a run of coun's.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=20), "mlp", epochs=1)
    >>> run.record.kind, run.split, run.folder
    ('original', None, None)
    """

    model: nn.Module
    data: Data
    split: Split | None
    record: RunRecord
    folder: Path | None = None
    build: Callable[[], nn.Module] | None = None
    start: Run | None = None
    out_of_fold: OutOfFold | None = None
    kept_epochs: dict[int, KeptEpoch] = field(default_factory=dict)
    weights_file: Path | None = None

    def __repr__(self) -> str:
        """A few lines for people: kind, model, method, where it is, data and request."""
        record = self.record
        settings = ", ".join(f"{k}={v}" for k, v in list(record.method.settings.items())[:6])
        lines = [
            f"Run: {record.kind}, {record.method.name}, seed {record.seed}"
            + (f", in {self.folder}" if self.folder else ", in memory"),
            f"  model: {record.model.name or type(self.model).__name__}, "
            f"{record.model.parameters:,} weights",
            f"  settings: {settings}",
            *(f"  {line}" for line in repr(self.data).splitlines()),
        ]
        if self.split is not None:
            lines += [f"  {line}" for line in repr(self.split).splitlines()]
        return "\n".join(lines)

    @property
    def classifier(self) -> Classifier:
        """The model wrapped to give logits and features."""
        return wrap(self.model, self.data, self.record.model.head)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        data: Data | str | None = None,
        build: Callable[[], nn.Module] | nn.Module | None = None,
        allow_missing: bool = False,
        predictions: bool = True,
        trust: Trust = False,
    ) -> Run:
        """Open the finished run in *folder*.

        Args:
            data: the data of the run, or the source where it is now, such as
                "folder:elsewhere"; by default it is loaded from the recorded source. Its rows
                get the numbers that the run recorded. Rows that the run had to forget may be
                deleted from it.
            build: for a run of a module that was passed in Python: the function that makes
                the module, or such a module, whose weights are then replaced.
            allow_missing: accept that other training rows are deleted, because the next
                request names them.
            predictions: read the out-of-fold predictions of a run that was prepared.
            trust: run the code that the record names, such as a model `package.module:factory`:
                True, or the set of names to run. By default a folder runs nothing, because it
                may be a stranger's.

        Raises: CounError if the folder holds no finished run, names code that is not trusted,
            the data changed in any other way, or the weights do not fit the model.

        >>> import tempfile
        >>> import coun
        >>> folder = Path(tempfile.mkdtemp(), "original")
        >>> _ = coun.train(coun.load("digits", limit=50), "mlp", epochs=1, out=folder)
        >>> run = Run.open(folder)  # the model, its data, and how it was made
        >>> run.record.kind, len(run.data.train)
        ('original', 50)
        """
        check_defaults_of_torch()
        folder = expanded(folder)
        record = read_record(folder)
        if record.split is None and record.kind not in ("original", "given"):
            raise CounError(
                f"{folder / RECORD} says that the run is of kind '{record.kind}' but not which "
                "rows it forgot; restore the file from a copy"
            )
        _check_trust(folder, record, data, build, trust)
        warn_unverified(folder, record)
        is_loaded = isinstance(data, Data)
        data, numbers = recorded_data(folder, record, data, allow_missing=allow_missing)
        data = as_recorded(folder, record.data, data, is_loaded=is_loaded, trust=trust)
        maker = _maker(folder, record, data, build, trust)
        model = to_be_filled(maker)
        if build is not None and not isinstance(build, nn.Module):
            gives_same_weights(maker, model)
        load_weights(model, folder / WEIGHTS)
        check_weights(folder, record, model)
        check_finite(model, str(folder / WEIGHTS))
        if isinstance(model, Shards) and numbers is not None and data.absent is not None:
            # Rows that were deleted before the run was made are last; the model never had them.
            model.drop_deleted_rows(torch.isin(numbers[: len(model.place)], data.train.numbers))
        if missing := deleted_test_rows(data):
            _log.warning("%s: %s", folder, missing)
        split = None
        if record.split is not None:
            split = Split.from_json(data, record.split, allow_missing=allow_missing)
            if "request" not in record.split:  # of version 0.1
                split, warning = with_memory_of_parents(folder, record, split, data)
                if warning:
                    _log.warning("%s", warning)
        # Retrain must not begin with the weights that a given module has.
        fresh = None if isinstance(build, nn.Module) else maker
        model.eval()
        run = cls(model, data, split, record, folder, fresh)
        run.out_of_fold = carried(folder, record, data) if predictions else None
        run.kept_epochs = kept_in(folder, record)
        return run

    @classmethod
    def from_weights(
        cls,
        weights: str | Path | nn.Module,
        data: Data,
        model: str | Callable[[], nn.Module] | None = None,
        *,
        head: str | None = None,
    ) -> Run:
        """Make a run of weights that coun did not train, to evaluate, audit or unlearn them.

        Args:
            weights: a weights file, a folder of a Hugging Face model, or the module itself.
            data: the data that the model classifies. Classes that a folder names in another
                order are taken in that order, and default mean, deviation and size are
                replaced by those that the model expects.
            model: a name (`coun.MODELS`, or "package.module:factory"), or the function that
                makes a fresh module; a weights file needs it.
            head: the name of the last linear layer, where it cannot be found.

        Returns: a run in memory, of kind "given".

        Raises: CounError if the weights do not fit the model, or the model the data.

        >>> import coun
        >>> data = coun.load("digits", limit=50)
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))  # trained by another program
        >>> run = Run.from_weights(network, data)
        >>> run.record.kind, sorted(coun.evaluate(run)["counts"])
        ('given', ['retain', 'test'])
        """
        check_defaults_of_torch()
        model = from_anywhere(model) if isinstance(model, str) else model
        name = model if isinstance(model, str) else None
        module = weights if isinstance(weights, nn.Module) else None
        file = None if isinstance(weights, nn.Module) else expanded(weights)
        if file is not None and model is None:
            name = name_of_folder(file)
            if name is None:
                raise CounError(
                    f"{weights} is a weights file; say which model has these weights as "
                    "well, such as 'resnet18'"
                )
            module, names = load_trained(name)
            data = in_order_of_model(data, names, str(weights))
        data = for_model(data, name)
        config = recorded_config(name)

        def maker_for(data: Data) -> Callable[[], nn.Module] | None:
            if name is not None:
                return builder(name, data, trust=True, config=config)
            if model is None or isinstance(model, str):
                return None
            return partial(make_model, model, data.input_shape)

        if module is None:
            assert file is not None
            refuse_weights_of_run(file)
            module, data = _with_weights(file, data, maker_for, name)
        else:
            data = for_network(data, module)
            module = inner_network(module, blank_inputs(data))
        maker = maker_for(data)
        check_finite(module, "the model" if file is None else str(weights))
        warn_of_random_answers(module, blank_inputs(data))
        record = given_record(module, data, name, head, config)
        return cls(module, data, None, record, None, maker, weights_file=file)

    def opened_start(self) -> Run | None:
        """Return the run that this one was unlearned from, if it is in memory or on disk."""
        parent = self.record.parent
        if self.start is not None or parent is None or parent.folder is None:
            return self.start
        with contextlib.suppress(CounError):
            folder = parent_folder(self.record, self.folder)
            if folder is not None:
                # A parent whose record names other code than this run's is left out.
                build = self.build or (self.model if self.record.model.name is None else None)
                return Run.open(folder, data=self.data, build=build, allow_missing=True)
        return None

    @property
    def where(self) -> str:
        """How messages name this run: its folder or file, or its method for a run in memory."""
        return str(self.folder or self.weights_file or f"a run of {self.record.method.name}")


def _with_weights(
    path: Path,
    data: Data,
    maker_for: Callable[[Data], Callable[[], nn.Module] | None],
    name: str | None,
) -> tuple[nn.Module, Data]:
    """Make the network of the weights in *path*, which may take other channels than the images.

    Args: name: of the network, for errors.

    Returns: the network with its weights, and the data with the channels that it takes.
    """
    make = maker_for(data)
    assert make is not None
    module = to_be_filled(make)
    adapted = for_network(data, module)
    try:
        load_weights(module, path, called=name)
    except CounError as problem:
        saved = f"; give '{path.parent}' without a model for the model that it was saved with"
        hint = saved * (name_of_folder(path) is not None)
        error = CounError(f"{problem}{hint}")
        # A network that is built for grey images has no place for weights of colour, and inversely.
        if adapted is not data:
            raise error from None
        channels = 4 - data.input_shape[0]
        try:
            make = maker_for(_with_any_numbers(data, channels))
            assert make is not None
            load_weights(module := to_be_filled(make), path)
        except CounError:
            raise error from None
        adapted = with_channels(data, channels)
    return module.eval(), adapted


def _with_any_numbers(data: Data, channels: int) -> Data:
    """Return *data* with other channels, whatever its mean and deviation, to build a network."""
    if isinstance(data.views, Views):
        data = replace(data, views=replace(data.views, mean=(0.5,), std=(0.5,)))
    return with_channels(data, channels, quiet=True)


def check_weights(folder: Path, record: RunRecord, model: nn.Module) -> None:
    """Refuse weights other than those that the run gave, and a network that uses them otherwise."""
    if record.weights_sha256 and weights_digest(model) != record.weights_sha256:
        raise CounError(
            f"{folder / WEIGHTS} does not hold the weights that the run recorded; restore it "
            "from a copy, or copy it out of the folder and open it as a weights file with "
            "--data and --model"
        )
    check_answers(folder, record, model)


def check_finite(model: nn.Module, where: str) -> None:
    """Refuse weights that are not numbers: every measurement of such a model is meaningless."""
    for name, tensor in tensors(model).items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CounError(
                f"{where} holds NaN or infinite values in '{name}'; expected finite weights, "
                "train the model again with a lower learning rate"
            )


def _check_trust(
    folder: Path,
    record: RunRecord,
    data: Data | str | None,
    build: Callable[[], nn.Module] | nn.Module | None,
    trust: Trust,
) -> None:
    """Refuse a record that names code before any of its data is read."""
    if data is None:
        require_trusted_source(record.data.source or "", str(folder / RECORD), trust)
    code = code_name(record.model.name or "")
    if build is None and code is not None:
        require_trust(code, f"{folder / RECORD}: model", trust)
    check_trust(folder, record.data, trust)


def _maker(
    folder: Path,
    record: RunRecord,
    data: Data,
    build: Callable[[], nn.Module] | nn.Module | None,
    trust: Trust,
) -> Callable[[], nn.Module]:
    """Return what makes the model of *record* afresh."""
    if isinstance(build, nn.Module):
        return partial(copy_model, build)
    if build is not None:
        return partial(make_model, build, data.input_shape)
    if record.model.name is None:
        raise CounError(
            f"{folder} holds a module passed in Python; pass build=..., the function that makes it"
        )
    return builder(
        record.model.name,
        data,
        vocabulary=record.data.vocabulary,
        trust=trust,
        config=record.model.config,
    )
