"""The options that train in a federation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from coun.cli import app
from coun.errors import CounError

if TYPE_CHECKING:
    from coun.data.partition import Partition

Settings = dict[str, Any] | None
_option = app.option_on("Federation")


def federation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it receives them as one argument, `federation`, or None."""

    @functools.wraps(command)
    def with_federation(**values: Any) -> Any:
        names = ("clients", "partition", "partition_seed", "local_epochs")
        options = {name: values.pop(name) for name in names}
        return command(federation=_settings(**options), **values)

    return app.options(
        _option(
            "--clients",
            type=int,
            metavar="N",
            help="Train in a federation: N clients with rows of their own, whose models are "
            "averaged after each round.",
        ),
        _option(
            "--partition",
            metavar="HOW",
            help="How rows are divided among clients: iid, or dirichlet:ALPHA, where each client "
            "holds other shares of the classes.  [default: iid]",
        ),
        _option(
            "--partition-seed", type=int, help="Seed of the division among clients.  [default: 0]"
        ),
        _option("--local-epochs", type=int, help="Epochs of a round.  [default: 1]"),
    )(with_federation)


def partition_of(federation: Settings) -> Partition | None:
    """Which client holds which rows, in the federation of a run or of the options."""
    if not federation:
        return None
    from coun.federated import Federation

    return Federation.of(federation).partition


def _settings(
    clients: int | None, partition: str | None, partition_seed: int | None, local_epochs: int | None
) -> Settings:
    """The settings of `coun.federated.Federation`, or None without --clients."""
    others = {"partition_seed": partition_seed, "local_epochs": local_epochs}
    settings: dict[str, Any] = {name: value for name, value in others.items() if value is not None}
    if clients is None:
        if settings or partition is not None:
            raise CounError("--partition and --local-epochs need --clients; add --clients 10")
        return None
    spread, colon, alpha = (partition or "iid").partition(":")
    if colon and spread == "iid":
        raise CounError(f"--partition is {partition!r}; iid takes no number, expected iid alone")
    settings |= {"clients": clients, "spread": spread, **({"alpha": alpha} if colon else {})}
    from coun.federated import Federation

    Federation.of(settings)  # a mistake is refused before any data is read
    return settings
