"""Runs of a model that are watched, and that leave no trace in it."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from dropkit.auditing.hooks import followed, strangers
from dropkit.auditing.outputs import named_outputs
from dropkit.auditing.traced import Traced
from dropkit.auditing.tracing import Tracing
from dropkit.errors import AuditError, DkError
from dropkit.sites.untouched import untouched
from dropkit.sites.watch import Run, arguments_of, watch

Loss = Callable[[Any], Tensor]


def traced(
    model: nn.Module,
    batch: Any,
    *,
    is_training: bool | None,
    backward: bool = False,
    loss: Loss | None = None,
    seed: int = 0,
    keep_gradients: bool = False,
    around: contextlib.AbstractContextManager[object] | None = None,
) -> Traced:
    """Run `model` on a copy of `batch`, under `untouched`.

    Args:
        model: Any module.
        batch: See `arguments_of`.
        is_training: The mode; None for the modes that the modules are in.
        backward: Whether to differentiate too.
        loss: From what the model returns to a scalar; else its ``.loss``, or the sum of squares
            of its first floating tensor.
        seed: Of torch's generators at the beginning of the run.
        keep_gradients: Whether to keep those of the parameters.
        around: Entered for the run, inside `untouched`.

    Raises:
        AuditError: The model or the loss raises.
        OptionError: `batch` is of another kind.
    """
    args, kwargs = arguments_of(batch)
    args, kwargs = tree_map(_copied, args), tree_map(_copied, kwargs)
    result = Traced(Run())
    stack: list[nn.Module] = []
    found: list[Tracing] = []

    def made(seen: Run, modules: Any) -> Tracing:
        found.append(Tracing(seen, modules, stack))
        return found[0]

    def then(seen: Run) -> None:
        found[0].is_forward = False
        result.n_forward = len(seen.events)
        for name, x in named_outputs(seen.output):
            result.outputs.setdefault(name, x.detach())
            found[0].reaches_output(name, x)
        if backward:
            with torch.enable_grad():
                _differentiate(model, seen.output, loss, result)
        if keep_gradients:
            named = model.named_parameters()
            result.gradients = {n: p.grad.clone() for n, p in named if p.grad is not None}

    with untouched(model), contextlib.ExitStack() as steps:
        if is_training is not None:
            model.train(is_training)
        result.modes = {module: module.training for module in model.modules()}
        _seed(model, seed)
        if around is not None:
            steps.enter_context(around)
        steps.enter_context(torch.set_grad_enabled(backward))
        steps.enter_context(followed(model, stack, result))
        steps.enter_context(strangers(model, result))
        mode = {True: " in training mode", False: " in eval mode", None: ""}[is_training]
        step = f"run on `batch`; its forward{mode}"
        with explained("model", step):
            result.run = watch(model, args or kwargs, draws=made, then=then)
        result.run.output = None
    result.drops, result.flow = found[0].drops, found[0].flow
    return result


def _seed(model: nn.Module, seed: int) -> None:
    """Only what `untouched` puts back: ``torch.manual_seed`` would reach devices of others."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - models draw from it
    torch.default_generator.manual_seed(seed)
    for device in {p.device for p in model.parameters() if p.device.type == "cuda"}:
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _copied(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().clone().requires_grad_(x.requires_grad)
    return x


@contextlib.contextmanager
def explained(parameter: str, what: str) -> Iterator[None]:
    """An error of the model's becomes one sentence."""
    try:
        yield
    except DkError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "").rstrip(".")
        said = f"{type(error).__name__}: {first}" if first else type(error).__name__
        raise AuditError(
            f"`{parameter}` must {what} raised {said}. "
            "The error above has the whole traceback; nothing in the model was changed."
        ) from error


def _differentiate(model: nn.Module, output: Any, loss: Loss | None, result: Traced) -> None:
    if not any(p.requires_grad for p in model.parameters()):
        result.why_no_backward = "No parameter of the model asks for a gradient: what differs in a backward was not seen."
        return
    with explained("loss", "take what the model returns; it"):
        value = _loss_of(output) if loss is None else loss(output)
    if not isinstance(value, Tensor) or value.numel() != 1:
        if loss is not None:
            got = (
                f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            )
            raise AuditError(f"`loss` must return a tensor of one element; got {got}.")
        result.why_no_backward = (
            "The model returns no floating tensor, and `loss` was not given: no backward was run."
        )
        return
    if not value.requires_grad:
        result.why_no_backward = (
            "No gradient flows to what the model returns: what differs in a backward was not seen."
        )
        return
    with explained("model", "be differentiable; its backward"):
        value.backward()
    result.loss = float(value.detach())


def _loss_of(output: Any) -> Tensor | None:
    own = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if isinstance(own, Tensor) and own.numel() == 1:
        return own
    first = next((x for _, x in named_outputs(output) if x.requires_grad), None)
    if first is None:
        first = next((x for _, x in named_outputs(output)), None)
    return None if first is None else first.float().square().sum()
