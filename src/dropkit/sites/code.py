"""What the code of a module says of dropout, read without running it."""

import dis
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

from dropkit.sites.replaced import name_of_replaced

#: How far functions that call functions are followed.
_DEPTH = 3
_OF_TENSORS = ("bernoulli", "bernoulli_", "uniform_")  # methods: no global name leads to them
_PREPARES = re.compile("init|reset")  # methods that give parameters their first values
_NOT_THE_MODELS = ("torch", "dropkit", "numpy")


def functions_called(cls: type) -> frozenset[str]:
    """The functions that drop that the methods of a class call, by name."""
    return _functions_called(cls)


def reads(cls: type, attribute: str) -> bool:
    """Whether the methods of a class read an attribute of this name, of whatever object."""
    return _reads(cls, attribute)


@functools.cache
def _functions_called(cls: type) -> frozenset[str]:
    found: set[str] = set()
    for function in _methods(cls):
        found.update(_called(function, _DEPTH))
    return frozenset(found | {name for name in _OF_TENSORS if reads(cls, name)})


@functools.cache
def _reads(cls: type, attribute: str) -> bool:
    return any(attribute in code.co_names for f in _methods(cls) for code in _codes(f.__code__))


def _methods(cls: type) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        if base is not nn.Module and base is not object:
            for value in vars(base).values():
                function = inspect.unwrap(value) if callable(value) else value
                if isinstance(function, FunctionType) and not _PREPARES.search(function.__name__):
                    yield function


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


@functools.cache
def _called(function: FunctionType, depth: int) -> frozenset[str]:
    return frozenset(_calls(function, depth))


def _calls(function: FunctionType, depth: int) -> Iterator[str]:
    for code in _codes(function.__code__):
        for value in _globals_used(code, function.__globals__):
            name = name_of_replaced(value)
            if name is not None:
                yield name
            elif depth and isinstance(value, FunctionType) and _may_drop(value):
                yield from _called(value, depth - 1)


def _may_drop(function: FunctionType) -> bool:
    """Whether it is a model's helper, of whatever package: torch's own ways are known."""
    return str(function.__module__).partition(".")[0] not in _NOT_THE_MODELS


def _globals_used(code: CodeType, names: Mapping[str, Any]) -> Iterator[Any]:
    """What each ``a.b.c`` that begins with a global name stands for now."""
    value: Any = None
    is_chain = False
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if is_chain:
                yield value
            is_chain = step.argval in names
            value = names.get(step.argval)
        elif is_chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            # only what a file or a class holds: nobody's property is run
            if isinstance(value, ModuleType):
                value = getattr(value, step.argval, None)
            else:
                is_chain = False
        elif is_chain:
            yield value
            is_chain = False
    if is_chain:
        yield value
