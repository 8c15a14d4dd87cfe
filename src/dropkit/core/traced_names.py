"""Names of sites in a graph that is being compiled, where no module is called when the graph runs.

In eager mode the first module that is called in a block names all that is below it. In a compiled
graph the call of that module is a part of the graph, and leaves no trace when the graph runs. So
names are given while the graph is traced, and each of its draws carries its name as a constant.
"""

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar
from weakref import ref

import torch
from torch import nn

from dropkit.core.scope import current_scope

F = TypeVar("F", bound=Callable[..., Any])


def learn_if_first(module: nn.Module) -> None:
    """Let `module` name all below it, if it is the first that this trace meets."""
    if not _is_named():
        _learn(module)


def name_in_trace(site: nn.Module | None) -> str | None:
    """The name of a site as a constant of the graph; None where it will be known anyhow."""
    if site is None or not _is_named_by_traces():
        return None
    return _name_of(site)


def answered_while_tracing(function: F) -> F:
    """What torch.compiler.assume_constant_result does; that would import the whole compiler.

    A graph is bound to a module that is handed over, so none is where that can be helped: blocks
    of a model that are compiled one by one share a graph.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001
    return function


class _Trace(threading.local):
    """The trace in which this thread last gave names."""

    context: ref[Any] | None = None


_trace = _Trace()


@answered_while_tracing
def _is_named() -> bool:
    """Whether names were given: by this trace, or by a module whose call it is a part of."""
    scope, context = current_scope(), _tracing_context()
    if scope is None:
        return True
    if context is not None and _trace.context is not None and _trace.context() is context:
        return True
    call = nn.Module._wrapped_call_impl.__code__  # noqa: SLF001 - each module's
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - no public way to walk
    while frame is not None:
        if frame.f_code is call and scope.knows(frame.f_locals["self"]):
            return True
        frame = frame.f_back
    return False


@answered_while_tracing
def _learn(module: nn.Module) -> None:
    scope, context = current_scope(), _tracing_context()
    _trace.context = None if context is None else ref(context)
    if scope is not None:
        scope.learn_names(module, is_traced=True)


@answered_while_tracing
def _is_named_by_traces() -> bool:
    scope = current_scope()
    return scope is not None and scope.is_named_by_traces


@answered_while_tracing
def _name_of(site: nn.Module) -> str | None:
    scope = current_scope()
    return None if scope is None else scope.name_of(site)


def _tracing_context() -> Any:
    return torch._guards.TracingContext.try_get()  # noqa: SLF001 - no public "which trace?"
