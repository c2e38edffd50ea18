"""Logits and features of any network that ends in a linear layer, without changing its code."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from coun.errors import CounError, nearest


class Outputs(NamedTuple):
    """The outputs of a classifier for a batch: logits (B, K) and features (B, D)."""

    logits: Tensor
    features: Tensor


class _Tap:
    """A forward hook that records (input, output) of its layer while `calls` is a list.

    It is an object and not a closure, so that deepcopy gives a copied layer its own hook.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor]] | None = None

    def __call__(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> None:
        if self.calls is not None:
            self.calls.append((args[0] if args else kwargs["input"], output))


class Classifier(nn.Module):
    """A network that returns `Outputs`: the output and the input of its head.

    The head is the last linear layer. It is found by running *example* and looking for the
    nn.Linear whose output tensor is the model's output, its `.logits` or ["logits"], or an
    element of the tuple or list that it returns. If other layers follow the head (log_softmax,
    dropout), it must be named; the logits are then still the output of the head.

    Gradients flow through both outputs. The code and weights of the model are not changed: it
    gets one forward hook, which does nothing outside the classifier's own forward and keeps
    nothing between calls. Save `inner`; compile and copy the classifier, not the model. Use it
    in one thread at a time.

    Args:
        model: any nn.Module that takes a batch as its only argument.
        head: the name of the linear layer, as in `model.named_modules()`; None finds it.
        example: a batch of two inputs, (2, ...), on the model's device. It is run once, in
            eval mode without gradients; modes and generators are left as they were.

    Raises: CounError if the example does not run; if no linear head is found, or more than
        one; if *head* is not a linear layer of the model; if the head does not run exactly
        once in a forward, or runs on sequences (B, T, D) instead of one row for each sample.

    Source: CoUn (Khalil et al., NeurIPS 2025): its contrastive loss acts on the
        representations that feed the linear classifier.

    >>> network = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    >>> classifier = Classifier(network, example=torch.zeros(2, 8))
    >>> classifier.head_name, classifier(torch.zeros(5, 8)).features.shape
    ('2', torch.Size([5, 4]))
    """

    def __init__(self, model: nn.Module, head: str | None = None, *, example: Tensor) -> None:
        super().__init__()
        kind = type(model).__name__
        if hasattr(model, "_orig_mod"):
            raise CounError("the model is compiled; wrap the plain one and compile the classifier")
        modules = dict(model.named_modules(remove_duplicate=False))
        linears = {name: m for name, m in modules.items() if isinstance(m, nn.Linear)}
        if not linears:
            raise CounError(f"{kind} has no nn.Linear: a classifier must end in a linear layer")
        if head is not None and head not in linears:
            reason = f"{kind} has no module '{head}'"
            if head in modules:
                reason = f"'{head}' of {kind} is {type(modules[head]).__name__}, not nn.Linear"
            raise CounError(
                f"{reason}{nearest(head, linears)}; linear layers: {', '.join(linears)}"
            )
        result, taps = _probe(model, linears, example)
        self.inner = model
        self.head_name = _find(kind, result, taps, linears) if head is None else head
        self._outputs(taps[self.head], len(example))
        self._tap = _Tap()
        handle = self.head.register_forward_hook(self._tap, with_kwargs=True)
        weakref.finalize(self, handle.remove)

    @property
    def head(self) -> nn.Linear:
        """The linear layer whose inputs are the features."""
        return cast(nn.Linear, self.inner.get_submodule(self.head_name))

    def forward(self, x: Tensor) -> Outputs:
        calls: list[tuple[Tensor, Tensor]] = []
        self._tap.calls = calls
        try:
            self.inner(x)
        finally:
            self._tap.calls = None
        return self._outputs(calls, len(x))

    def _outputs(self, calls: list[tuple[Tensor, Tensor]], batch: int) -> Outputs:
        """The outputs from the only call of the head in a forward of *batch* samples."""
        if len(calls) != 1:
            raise CounError(
                f"the head '{self.head_name}' ran {len(calls)} times in one forward; it must run "
                "once: name another linear layer with head='...' (--head)"
            )
        (features, logits), head = calls[0], self.head
        if features.numel() != batch * head.in_features:
            raise CounError(
                f"the head '{self.head_name}' takes {tuple(features.shape)} for {batch} samples, "
                f"expected ({batch}, {head.in_features}): pool the sequence or map before it"
            )
        return Outputs(
            logits.reshape(batch, head.out_features), features.reshape(batch, head.in_features)
        )


def _probe(
    model: nn.Module, linears: dict[str, nn.Linear], example: Tensor
) -> tuple[Any, dict[nn.Linear, list[tuple[Tensor, Tensor]]]]:
    """The result of the model for *example*, and the calls of every linear layer.

    The model and the generators are left as they were.
    """
    modes = {module: module.training for module in model.modules()}
    taps = {linear: _Tap() for linear in linears.values()}
    devices = [example.device] if example.is_cuda else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(torch.no_grad())
        for linear, tap in taps.items():
            tap.calls = []
            stack.callback(linear.register_forward_hook(tap, with_kwargs=True).remove)
        try:
            result = model.eval()(example)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CounError(
                f"{type(model).__name__} cannot run a batch of shape {tuple(example.shape)}: "
                f"{reason}"
            ) from error
        finally:
            for module, training in modes.items():
                module.training = training
    return result, {linear: tap.calls or [] for linear, tap in taps.items()}


def _find(
    kind: str,
    result: Any,
    calls: dict[nn.Linear, list[tuple[Tensor, Tensor]]],
    linears: dict[str, nn.Linear],
) -> str:
    """The name of the only linear layer whose output is (in) the model's result."""
    logits = _candidates(result)
    names = {linear: name for name, linear in reversed(linears.items())}
    heads = [
        names[linear]
        for linear, runs in calls.items()
        if any(output is tensor for _, output in runs for tensor in logits)
    ]
    if len(heads) == 1:
        return heads[0]
    if heads:
        raise CounError(
            f"{kind} returns the outputs of several linear layers ({', '.join(heads)}): "
            f"name the one that classifies with head='{heads[0]}' (--head {heads[0]})"
        )
    ran = [name for name, linear in linears.items() if calls[linear]]
    if not ran:
        raise CounError(f"{kind} ran none of its linear layers: it must end in one")
    last = ", ".join(
        f"'{name}' ({linears[name].in_features} to {linears[name].out_features})"
        for name in ran[-3:]
    )
    raise CounError(
        f"the output of {kind} is not that of a linear layer; the last ones in it: {last}; if one "
        f"of them classifies, name it with head='{ran[-1]}' (--head {ran[-1]})"
    )


def _candidates(result: Any) -> list[Tensor]:
    """The tensors of a model's result that may be its logits."""
    if isinstance(result, Mapping) and "logits" in result:
        values = [result["logits"]]
    elif hasattr(result, "logits"):
        values = [result.logits]
    else:
        values = list(result) if isinstance(result, (tuple, list)) else [result]
    return [tensor for tensor in values if isinstance(tensor, Tensor)]
