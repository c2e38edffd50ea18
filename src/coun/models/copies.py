"""Copies of models, and models with lazy layers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coun.errors import CounError, one_line
from coun.models.inputs import run
from coun.models.modes import in_eval_mode
from coun.models.weights import weights_digest
from coun.seeds import restored_generator

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model) -> Model:
    """Copy *model* with all its weights, as `copy.deepcopy`, also after a forward with weight_norm.

    `torch.nn.utils.weight_norm` keeps the weight that it computed in the last forward as a plain
    attribute, which belongs to a graph and which deepcopy refuses. The copy gets its values; the
    next forward computes it anew. Embeddings of the copy make dense gradients.

    Raises: CounError if the model holds something that cannot be copied.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> copy_model(layer) is layer
    False
    """
    computed: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        copied = copy.deepcopy(model, computed)
    except (TypeError, RuntimeError, pickle.PicklingError) as error:
        raise CounError(
            f"{type(model).__name__} cannot be copied ({' '.join(str(error).split())}); keep what "
            "is not part of the network, such as a lock, a file or a loader, outside of it"
        ) from error
    for layer in copied.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            layer.sparse = False  # most optimizers, and masks of gradients, refuse sparse ones
    return copied


def inner_network(model: nn.Module, example: Tensor | None = None) -> nn.Module:
    """Return the network inside a compiled model, or inside a LightningModule; else *model* itself.

    A compiled model runs its graph and not the layers that coun observes; it has the same weights
    as the module inside it. A LightningModule that was trained refers to its trainer, with loaders
    and loggers, which training by coun does not need. Of several networks in it, none is chosen;
    and it stays whole if its `forward` changes the inputs, for example normalises them, because
    the network alone would then compute something else.

    Args: example: a batch of two inputs, with which the forward of a LightningModule is compared;
        without it, the network is taken to get the batch as it is.

    >>> layer = nn.Linear(2, 2)
    >>> inner_network(layer) is layer
    True
    """
    model = getattr(model, "_orig_mod", model)
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if not packages & {"lightning", "pytorch_lightning"}:
        return model
    networks = [child for child in model.children() if any(True for _ in child.parameters())]
    alone = len(networks) == 1 and len(list(model.parameters())) == len(
        list(networks[0].parameters())
    )
    if not alone or (example is not None and _changes_inputs(model, networks[0], example)):
        return model
    return networks[0]


def _changes_inputs(model: nn.Module, network: nn.Module, example: Tensor) -> bool:
    """Whether the forward of *model* gives *network* something else than the batch itself."""
    if example.is_floating_point():  # a blank image may stay the same when it is scaled
        example = example + torch.rand(example.shape, generator=torch.Generator().manual_seed(0))
    example = example.to(next(network.parameters()).device)
    inputs: list[Any] = []
    hook = network.register_forward_pre_hook(
        lambda _, args, kwargs: inputs.extend([*args, *kwargs.values()][:1]), with_kwargs=True
    )
    try:
        with torch.no_grad(), restored_generator(), in_eval_mode(model):
            run(model, example)
    except Exception:  # it has no forward, or one that takes a batch of another form
        return False
    finally:
        hook.remove()
    return not (
        len(inputs) == 1
        and isinstance(inputs[0], Tensor)
        and inputs[0].dtype == example.dtype
        and torch.equal(inputs[0], example)
    )


def to_be_filled(factory: Callable[[], Model]) -> Model:
    """Make a model whose weights are replaced next, and leave the global generator as it was.

    >>> before = torch.random.get_rng_state()
    >>> _ = to_be_filled(lambda: nn.Linear(2, 2))
    >>> torch.equal(torch.random.get_rng_state(), before)
    True
    """
    with restored_generator():
        return factory()


def gives_same_weights(factory: Callable[[], nn.Module], model: nn.Module) -> bool:
    """Say whether *factory* makes a new module with the weights of *model*.

    A Retrain begins with a model from a factory. If that gives one module at every call, the
    Retrain would begin with weights that have seen the rows to forget.

    Args:
        factory: makes models; it is called once.
        model: what it made before, under a seed, or a trained model.

    Raises: CounError if it returns *model* itself.

    >>> gives_same_weights(lambda: nn.Linear(2, 2), nn.Linear(2, 2))
    False
    """
    other = to_be_filled(factory)
    if other is model:
        raise CounError(
            "the function that makes the model returns the same module at every call; expected a "
            "new one, such as lambda: Net() in place of lambda: net"
        )
    return weights_digest(other) == weights_digest(model)


def make_model(factory: Callable[[], nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """Call *factory*, and give lazy layers their weights, by a forward of two blank inputs.

    The weights come from the global generator, like those of all other layers. Of a compiled model
    the module inside it is returned.

    Args: shape: of one input.

    Raises: CounError if *factory* fails, whose own error is the cause, or returns no module; or if
        a model with lazy layers cannot run.

    >>> make_model(lambda: nn.LazyLinear(3), (5,)).weight.shape
    torch.Size([3, 5])
    """
    try:
        model = factory()
    except CounError:
        raise
    except Exception as error:  # whatever the user's own code raises
        reason = one_line(error)
        raise CounError(
            f"the function that makes the model failed ({reason}); expected one that takes no "
            "argument and returns an nn.Module"
        ) from error
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, nn.Module):
        raise CounError(
            "the function that makes the model returned an object of type "
            f"{type(model).__name__}; expected an nn.Module"
        )
    if any(map(is_lazy, model.state_dict().values())):
        training = model.training
        with torch.no_grad():
            try:
                model.eval()
                model(torch.zeros(2, *shape))
            except Exception as error:
                reason = one_line(error)
                raise CounError(
                    f"{type(model).__name__} has lazy layers and cannot run a batch of shape "
                    f"{(2, *shape)}: {reason}"
                ) from error
        model.train(training)
    return model


def make_like(
    model: nn.Module, factory: Callable[[], nn.Module], shape: tuple[int, ...]
) -> nn.Module:
    """Call *factory* as `make_model`, for a model of the same architecture as *model*.

    Where *factory* makes the LightningModule that *model* was inside, its network is returned.

    Args: shape: of one input, without the batch.

    Raises: CounError as `make_model`, or if the weights have other names or shapes.

    >>> make_like(nn.Linear(5, 3), lambda: nn.Linear(5, 3), (5,)).weight.shape
    torch.Size([3, 5])
    """
    made = make_model(factory, shape)
    wanted = _shapes(model)
    for network in (made, inner_network(made)):
        if _shapes(network) == wanted:
            return network
    shapes = _shapes(made)
    name = next(n for n in (*wanted, *shapes) if shapes.get(n) != wanted.get(n))
    raise CounError(
        f"build makes a {type(made).__name__} of another architecture than the model: '{name}' is "
        f"{list(shapes[name]) if name in shapes else 'missing'}, not "
        f"{list(wanted[name]) if name in wanted else 'there'}; expected fresh weights of one kind"
    )


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}
