"""Flower as the engine of a federation: clients are processes, on one machine or on many.

This needs the package flwr (`pip install coun[federated]`), which is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from coun.errors import CounError
from coun.federated.averaging import State
from coun.federated.local import Job

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp


def client_app(job: Job) -> ClientApp:
    """Make the Flower app of a client, which trains on the rows of its `partition-id`."""
    flwr = _flwr()
    app = flwr.clientapp.ClientApp()

    @app.train()  # type: ignore[untyped-decorator, unused-ignore]
    def train(message: Any, context: Any) -> Any:
        client = int(context.node_config["partition-id"])
        round = int(message.content["config"]["server-round"]) - 1
        torch.set_num_threads(1)
        sent = message.content["arrays"].to_torch_state_dict()
        state, rows = job.train_locally(client, round, sent)
        content = {
            "arrays": flwr.app.ArrayRecord(state),
            "metrics": flwr.app.MetricRecord({"num-examples": rows}),
        }
        return flwr.app.Message(content=flwr.app.RecordDict(content), reply_to=message)

    return app


def server_app(job: Job, result: State) -> ServerApp:
    """Make the Flower app of the server, which averages by rows and fills *result* at the end."""
    flwr = _flwr()
    app = flwr.serverapp.ServerApp()

    @app.main()  # type: ignore[untyped-decorator, unused-ignore]
    def main(grid: Any, context: Any) -> None:
        state, rounds = job.start()
        clients = job.federation.clients
        strategy = flwr.serverapp.strategy.FedAvg(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            min_train_nodes=clients,
            min_available_nodes=clients,
        )
        averaged = strategy.start(
            grid=grid, initial_arrays=flwr.app.ArrayRecord(state), num_rounds=rounds
        )
        result.update(averaged.arrays.to_torch_state_dict())

    return app


def simulate(job: Job) -> State:
    """Run *job* in Flower's simulation, where every client is a process of Ray.

    Returns: weights and buffers of the final model; they equal those of one process up to the
        rounding of the average, which Flower computes in float32.

    Raises: CounError if flwr or its simulation is not installed.
    """
    flwr = _flwr()
    result: State = {}
    flwr.simulation.run_simulation(
        server_app=server_app(job, result),
        client_app=client_app(job),
        num_supernodes=job.federation.clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    if not result:
        raise CounError("Flower ended without a model; its log says why")
    return result


def _flwr() -> Any:
    try:
        import flwr.app
        import flwr.clientapp
        import flwr.serverapp.strategy
        import flwr.simulation
    except ImportError as error:
        raise CounError(
            f"Flower is not installed ({error}); install it with pip install 'coun[federated]', in "
            "an environment without the versions of constraints.txt"
        ) from error
    return flwr
