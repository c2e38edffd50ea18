"""Logits and features of any network that ends in a linear layer, without changing its code.

A convolution of 1x1 whose output is averaged over the picture counts as a linear layer, because
it is one on each position: AllCNN and SqueezeNet end so.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.errors import CounError, nearest, one_line
from coun.models.inputs import run
from coun.models.modes import in_eval_mode
from coun.models.norms import contiguous_group_norms, lone_values_by_statistics
from coun.seeds import restored_generator

Head = nn.Linear | nn.Conv2d
ONE_LOGIT = (
    "a model with one output for two classes needs two: an nn.Linear with two outputs gives the "
    "same answers, if its first row and bias are 0 and its second ones those of the one output"
)
PROBES = 8  # random images on which a named head is compared with the answers of its model
TIE = 1e-6  # a difference of two outputs that may be rounding


class Outputs(NamedTuple):
    """The outputs of a classifier for a batch: logits (B, K) and features (B, D).

    >>> import coun
    >>> network = coun.models.build("mlp", classes=10, shape=(1, 8, 8))
    >>> outputs = Classifier(network, example=torch.zeros(2, 1, 8, 8))(torch.zeros(5, 1, 8, 8))
    >>> outputs.logits.shape
    torch.Size([5, 10])
    """

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
    element of the tuple, list or dictionary that it returns. If other layers follow the head
    (log_softmax, dropout), it must be named; the logits are then still the output of the head,
    and must order the classes as what the model returns.

    Where there is none, the head is the 1x1 convolution whose output, perhaps after a ReLU,
    has the model's output as its mean over all positions. The features are the mean of the
    convolution's input over all positions.

    A head may also run on every token (B, T, D), if the model returns its outputs at one token
    of each row, as GPT-2 and Llama do. The features are those of this token.

    In training mode, a BatchNorm that gets one value per channel, as from a batch of one row,
    uses its running statistics, because one value has no variance.

    Gradients flow through both outputs. The code and weights of the model are not changed: it
    gets one forward hook, which does nothing outside the classifier's own forward and keeps
    nothing between calls. Save `inner`; compile and copy the classifier, not the model. Use it
    in one thread at a time.

    Args:
        model: any nn.Module that takes a batch as its only argument, or token ids and a
            mask (`coun.models.inputs.run`).
        head: the name of the linear layer, or 1x1 convolution, as in `model.named_modules()`;
            None finds it.
        example: a batch of two inputs, (2, ...), on the model's device. It is run once, in
            eval mode without gradients; modes and generators are left as they were.

    Raises: CounError if the example does not run; if no linear head is found, or more than
        one; if *head* is not a linear layer of the model, or orders the classes otherwise than
        the model; if the head does not run exactly once in a forward, or runs on sequences
        (B, T, D) instead of one vector for each row; if the model is compiled or a TorchScript
        module, or has a BatchNorm without statistics.

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
        _check_layers(model)
        modules = dict(model.named_modules(remove_duplicate=False))
        linears = {name: m for name, m in modules.items() if _may_be_head(m)}
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
        self.head_name = _find(model, result, taps, linears) if head is None else head
        self._after: Callable[[Tensor], Tensor] = _unchanged
        runs = taps[self.head]
        if not _is_mean(result, runs, _unchanged) and _is_mean(result, runs, F.relu):
            self._after = F.relu
        self._one_token = _is_one_token(result, runs)
        logits = self._outputs(taps[self.head], len(example), result).logits
        if not self._one_token and not any(
            output is t for _, output in runs for t in candidates(result)
        ):
            _refuse_adapter(model, self.head_name)
            self._check_answers(example, logits.shape[1])
        self._has_group_norm = any(isinstance(m, nn.GroupNorm) for m in model.modules())
        self._tap = _Tap()
        handle = self.head.register_forward_hook(self._tap, with_kwargs=True)
        weakref.finalize(self, handle.remove)

    @property
    def head(self) -> Head:
        """The linear layer, or 1x1 convolution, whose inputs are the features."""
        return cast(Head, self.inner.get_submodule(self.head_name))

    @property
    def in_features(self) -> int:
        """Number of features, D."""
        head = self.head
        return head.in_features if isinstance(head, nn.Linear) else head.in_channels

    @property
    def out_features(self) -> int:
        """Number of logits, K."""
        head = self.head
        return head.out_features if isinstance(head, nn.Linear) else head.out_channels

    def forward(self, x: Tensor) -> Outputs:
        """Return logits (B, K) and features (B, D) of a batch (B, ...)."""
        calls: list[tuple[Tensor, Tensor]] = []
        self._tap.calls = calls
        try:
            if self.training and len(x) == 1:
                with lone_values_by_statistics(self.inner), contiguous_group_norms(self.inner):
                    result = run(self.inner, x)
            elif self._has_group_norm and not torch.compiler.is_compiling():
                with contiguous_group_norms(self.inner):
                    result = run(self.inner, x)
            else:
                result = run(self.inner, x)
        except CounError:
            raise
        except Exception as error:  # whatever the user's own code raises
            if torch.compiler.is_compiling():
                raise
            raise _cannot_run(self.inner, x, error) from error
        finally:
            self._tap.calls = None
        return self._outputs(calls, len(x), result)

    def _outputs(self, calls: list[tuple[Tensor, Tensor]], batch: int, result: Any) -> Outputs:
        """The outputs from the only call of the head in a forward of *batch* rows.

        Args: result: what the model returned.
        """
        if len(calls) != 1:
            raise CounError(
                f"the head '{self.head_name}' ran {len(calls)} times in one forward; it must run "
                "once: name another linear layer with head='...' (--head)"
            )
        features, logits = calls[0]
        if isinstance(self.head, nn.Conv2d):
            features, logits = features.mean((-2, -1)), self._after(logits).mean((-2, -1))
        elif self._one_token:
            features, logits = _at_token(result, features, logits)
        if features.numel() != batch * self.in_features:
            raise CounError(
                f"the head '{self.head_name}' takes {tuple(features.shape)} for {batch} rows, "
                f"expected ({batch}, {self.in_features}): pool the sequence or map before it"
            )
        return Outputs(
            logits.reshape(batch, self.out_features), features.reshape(batch, self.in_features)
        )

    def _check_answers(self, example: Tensor, classes: int) -> None:
        """Refuse a head that orders the classes otherwise than the model, as one of two heads."""
        probe = example
        if example.is_floating_point():  # blank images may give equal logits
            generator = torch.Generator().manual_seed(0)
            probe = torch.randn((PROBES, *example.shape[1:]), generator=generator).to(example)
        result, taps = _probe(self.inner, {self.head_name: self.head}, probe)
        logits = self._outputs(taps[self.head], len(probe), result).logits
        order = logits.argsort(1, descending=True)
        # Softmax may make small differences equal, so that they are no descent any more.
        answers = [
            t.gather(1, order).diff(dim=1)
            for t in candidates(result)
            if t.shape == (len(probe), classes)
        ]
        if answers and not any(bool((rises <= TIE).all()) for rises in answers):
            raise CounError(
                f"{type(self.inner).__name__} orders the classes otherwise than its layer "
                f"'{self.head_name}', whose outputs would be trained and measured; let the model "
                "end in one linear layer, of which only softmax or a positive factor may follow"
            )


def _check_layers(model: nn.Module) -> None:
    """Refuse a model whose layers cannot be observed, or whose answers depend on the batch."""
    if hasattr(model, "_orig_mod"):
        raise CounError("the model is compiled; wrap the plain one and compile the classifier")
    if isinstance(model, torch.jit.ScriptModule):
        raise CounError(
            "the model is a TorchScript module, whose layers cannot be observed; pass the "
            "nn.Module that it was made from, with its weights"
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise CounError(
                f"'{name}' of {type(model).__name__} is a BatchNorm without running statistics, so "
                "that what the model answers for a row depends on the other rows of its batch; use "
                "track_running_stats=True, or another normalisation"
            )


def _may_be_head(module: nn.Module) -> bool:
    """Whether *module* is a linear layer, or a convolution that is one on each position."""
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == module.stride == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


def _unchanged(logits: Tensor) -> Tensor:
    return logits


def _is_mean(
    result: Any, calls: list[tuple[Tensor, Tensor]], after: Callable[[Tensor], Tensor]
) -> bool:
    """Whether the *result* of a model is the mean over positions of a convolution's output."""
    if len(calls) != 1 or calls[0][1].ndim != 4:
        return False
    mean = after(calls[0][1]).mean((2, 3))
    return any(
        tensor.numel() == mean.numel()
        and len(tensor) == len(mean)
        and torch.allclose(tensor.reshape(mean.shape).to(mean.dtype), mean, rtol=1e-4, atol=1e-5)
        for tensor in candidates(result)
        if tensor.ndim > 1
    )


def _is_one_token(result: Any, calls: list[tuple[Tensor, Tensor]]) -> bool:
    """Whether the *result* of a model is the output of a layer at one token of each row."""
    if len(calls) != 1 or calls[0][1].ndim != 3:
        return False
    output = calls[0][1]
    return any(
        bool((output == tensor[:, None]).all(2).any(1).all())
        for tensor in candidates(result)
        if tensor.shape == (len(output), output.shape[2])
    )


def _at_token(result: Any, features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B, D) and logits (B, K) at the token of each row whose logits are the *result*."""
    shape = (len(logits), logits.shape[2])
    returned = next(tensor for tensor in candidates(result) if tensor.shape == shape)
    distance = (logits - returned[:, None]).detach().abs().sum(2)
    rows, token = torch.arange(len(logits), device=logits.device), distance.argmin(1)
    return features[rows, token], logits[rows, token]


def _probe(
    model: nn.Module, linears: dict[str, nn.Module], example: Tensor
) -> tuple[Any, dict[nn.Module, list[tuple[Tensor, Tensor]]]]:
    """The result of the model for *example*, and the calls of every linear layer.

    The model and the generators are left as they were.
    """
    taps = {linear: _Tap() for linear in linears.values()}
    devices = [example.device] if example.is_cuda else []
    with ExitStack() as stack:
        stack.enter_context(restored_generator(devices))
        stack.enter_context(torch.no_grad())
        for linear, tap in taps.items():
            tap.calls = []
            stack.callback(linear.register_forward_hook(tap, with_kwargs=True).remove)
        try:
            with in_eval_mode(model):
                result = run(model, example)
        except Exception as error:
            raise _cannot_run(model, example, error) from error
    return result, {linear: tap.calls or [] for linear, tap in taps.items()}


def _cannot_run(model: nn.Module, batch: Tensor, error: Exception) -> CounError:
    """The error for a model that fails on a batch."""
    if isinstance(error, torch.OutOfMemoryError):
        what = f"a batch of shape {tuple(batch.shape)}, with {type(model).__name__},"
        return out_of_memory(what, batch.device)
    reason = one_line(error)[:300]
    if "required positional argument" in reason:
        reason += "; a model gets one input: join all inputs of a row in one tensor"
    return CounError(
        f"{type(model).__name__} cannot run a batch of shape {tuple(batch.shape)}: "
        f"{reason}{_other_precision(model, batch)}{_as_texts(batch)}"
    )


def _as_texts(batch: Tensor) -> str:
    """What of texts may not fit the model; empty for a batch of numbers."""
    if batch.dtype != torch.int64 or batch.ndim != 2:
        return ""
    return (
        f"; texts have up to {batch.shape[1]:,} tokens here, which --length lowers, and token ids "
        f"up to {int(batch.max()):,}"
    )


def out_of_memory(what: str, device: torch.device) -> CounError:
    """The error for something that does not fit into the memory of an accelerator."""
    return CounError(
        f"{what} does not fit into the memory of {device}; train with a smaller batch (--set "
        "batch_size=N), end other programs that use the device, or take --device cpu"
    )


def _other_precision(model: nn.Module, example: Tensor) -> str:
    """What to do about weights of another precision than the inputs; empty where they agree."""
    kinds = {
        str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.dtype.is_floating_point
    }
    others = sorted(kinds - {"float32"}) if example.is_floating_point() else []
    return f"; it has weights of {', '.join(others)}: pass it as model.float()" if others else ""


def _refuse_adapter(model: nn.Module, layer: str) -> None:
    """Refuse a head that is part of an adapter, as of LoRA, which adds to its outputs."""
    path = layer.split(".")
    for depth in range(1, len(path)):
        name = ".".join(path[:depth])
        wrapper = model.get_submodule(name)
        if isinstance(getattr(wrapper, "base_layer", None), nn.Module):  # as peft names it
            raise CounError(
                f"the last layer '{name}' of {type(model).__name__} has an adapter "
                f"({type(wrapper).__name__}), so that no linear layer gives its outputs; merge the "
                "adapter into the layer, in peft with model.merge_and_unload()"
            )


def _find(
    model: nn.Module,
    result: Any,
    calls: dict[nn.Module, list[tuple[Tensor, Tensor]]],
    linears: dict[str, nn.Module],
) -> str:
    """The name of the only linear layer whose output is (in) the model's result."""
    kind, logits = type(model).__name__, candidates(result)
    names = {linear: name for name, linear in reversed(linears.items())}
    heads = [
        names[linear]
        for linear, runs in calls.items()
        if any(output is tensor for _, output in runs for tensor in logits)
    ]
    if not heads:
        heads = [
            names[conv]
            for conv, runs in calls.items()
            if isinstance(conv, nn.Conv2d)
            and (_is_mean(result, runs, _unchanged) or _is_mean(result, runs, F.relu))
        ] or [names[linear] for linear, runs in calls.items() if _is_one_token(result, runs)]
    if len(heads) == 1:
        return heads[0]
    if heads:
        raise CounError(
            f"{kind} returns the outputs of several linear layers ({', '.join(heads)}): "
            f"name the one that classifies with head='{heads[0]}' (--head {heads[0]})"
        )
    ran = [(n, m) for n, m in linears.items() if isinstance(m, nn.Linear) and calls[m]]
    if not ran:
        raise CounError(f"{kind} ran none of its linear layers: it must end in one")
    _refuse_adapter(model, ran[-1][0])
    last = ", ".join(
        f"'{name}' ({linear.in_features} to {linear.out_features})" for name, linear in ran[-3:]
    )
    message = f"the output of {kind} is not that of a linear layer; the last ones in it: {last}; "
    widths = {tensor.shape[-1] for tensor in logits if tensor.ndim > 1}
    fitting = [name for name, linear in ran if not widths or linear.out_features in widths]
    if ran[-1][1].out_features == 1:
        message += ONE_LOGIT
    elif fitting:
        message += (
            f"if one of them classifies, name it with head='{fitting[-1]}' (--head {fitting[-1]})"
        )
    else:
        message += "let the model end in an nn.Linear with one output per class"
    raise CounError(message)


def candidates(result: Any) -> list[Tensor]:
    """The tensors of a model's result that may be its logits."""
    if isinstance(result, Mapping) and "logits" in result:
        values = [result["logits"]]
    elif hasattr(result, "logits"):
        values = [result.logits]
    elif isinstance(result, Mapping):
        values = list(result.values())
    else:
        values = list(result) if isinstance(result, (tuple, list)) else [result]
    return [tensor for tensor in values if isinstance(tensor, Tensor)]
