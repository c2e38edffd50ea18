"""Train: the function that makes an Original or a Retrain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from coun.data import Data, Split
from coun.data.data_set import blank_inputs
from coun.errors import CounError, require_type
from coun.federated import Federated, Federation
from coun.methods import Method
from coun.methods.retrain import Retrain
from coun.models import (
    MODELS,
    copy_model,
    gives_same_weights,
    make_model,
    recorded_config,
    weights_digest,
)
from coun.runs.execution import execute
from coun.runs.folder import check_place
from coun.runs.network_checks import (
    require_trainable,
    warn_of_modes,
    warn_of_random_answers,
)
from coun.runs.options import Options
from coun.runs.preprocessing import for_model, for_network
from coun.runs.recipes import recipe
from coun.runs.record import Kind, ParentRecord
from coun.runs.run import Run
from coun.runs.start import RunSpec, Start, builder
from coun.seeds import Seeds, check_defaults_of_torch
from coun.trust import from_anywhere

_log = logging.getLogger(__name__)


def train(
    data: Data,
    model: str | nn.Module | Callable[[], nn.Module],
    *,
    method: str = Retrain.name,
    split: Split | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    options: Options | None = None,
    head: str | None = None,
    federation: Federation | Mapping[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Train an Original on all of *data*, or, with a *split*, a Retrain on its retained rows.

    Args:
        data: what `coun.load`, `from_arrays` or `from_dataset` returns.
        model: a name (`coun.MODELS`, or "package.module:factory"), a function that makes a
            fresh module, or (without *split*) a module, whose own weights are the start.
        method: "retrain", which is plain training; or "sisa" or "arcane", which prepare for
            their requests.
        split: which rows a Retrain leaves out; None trains an Original on all rows.
        seed: fixes initialisation, order and views. An Original and a Retrain of one seed
            start from different weights.
        out: a run folder to write; an interrupted run in it is resumed, a finished one
            returned.
        options: device, precision and whatever else says how to compute.
        head: the name of the model's last linear layer, where it cannot be found.
        federation: train in rounds on the rows of each client (`coun.federated.Federation`, or
            its settings); None trains on all rows together.
        settings: of the method, such as epochs=30 or lr=0.1; by default the model's recipe.

    Returns: the trained run.

    Raises: CounError for bad settings, or a folder that holds another run.

    >>> import coun
    >>> run = train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> run.record.kind, run.record.method.settings["epochs"]
    ('original', 1)
    """
    check_defaults_of_torch()
    options = Options.of(options, head, settings)
    check_place(out)
    require_type(data, Data, "data", "what coun.load, from_arrays or from_dataset returns")
    require_type(split, (Split, type(None)), "split", "a coun.Split")
    if not (isinstance(model, str) or callable(model)):
        require_type(model, nn.Module, "model", "a name, a module, or a function that makes one")
    if isinstance(model, nn.Module) and split is not None:
        raise CounError(
            "a Retrain must not start from given weights; pass the function that makes it"
        )
    data, start = _fresh_start(model, data, seed, options.head)
    how: Method = recipe(start.name, settings, method, network=start.model)
    if federation is not None:
        how = Federated(how, Federation.of(federation).bound_to(data))
    kind: Kind = "original" if split is None else "retrain"
    return execute(RunSpec(kind, how, data, split, start, seed), out, options)


def _fresh_start(
    model: str | nn.Module | Callable[[], nn.Module], data: Data, seed: int, head: str | None
) -> tuple[Data, Start]:
    """The data as *model* reads them, and the network that training starts from."""
    name = parent = config = None
    if isinstance(model, str):
        name = model = from_anywhere(model)
        data, config = for_model(data, model), recorded_config(model)
    elif isinstance(model, nn.Module):
        parent = ParentRecord(folder=None, method=None, weights_sha256=weights_digest(model))

    def maker_for(data: Data) -> Callable[[], nn.Module]:
        if isinstance(model, str):
            return builder(model, data, trust=True, config=config)
        if isinstance(model, nn.Module):
            return partial(copy_model, model)
        return partial(make_model, model, data.input_shape)

    with Seeds(seed).as_global("init", "shape"):
        network = maker_for(data)()
    if name is None:
        _warn_of_trained_weights(model, maker_for(data), network)
    require_trainable(network)
    warn_of_modes(network)
    data = for_network(data, network)
    if name not in MODELS:
        warn_of_random_answers(network, blank_inputs(data))
    return data, Start(network, name, maker_for(data), parent=parent, head=head, config=config)


def _warn_of_trained_weights(
    model: Any, make_network: Callable[[], nn.Module], network: nn.Module
) -> None:
    """Warn where a Retrain would start from weights that may have seen the rows to forget."""
    if isinstance(model, nn.Module):
        _log.warning(
            "training goes on from the given weights, and so does a Retrain of this run, which "
            "forgets rows only if these weights have not seen them"
        )
    elif gives_same_weights(make_network, network):
        _log.warning(
            "the function that makes the model gives the same weights whatever the seed; if they "
            "were trained on rows to forget, a Retrain does not forget these"
        )
