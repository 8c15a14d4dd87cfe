"""DRP202."""

import difflib
import functools
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

from torch import nn

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule


class ConfigRateUnused(Rule):
    """A drop rate in a model's config that nothing reads.

    ## Why it matters
    Setting it changes nothing: the field belongs to no layer, or its name is not the one that the
    model reads. Configs take any field without a word.

    ## Instead
    Set the field that the model reads; ``dropkit.find_sites`` lists the rates that it has.

    ## When it is fine
    Where another class of the same file reads the field; that is not reported.
    """

    code, name, severity, since = "DRP202", "config-rate-unused", "warning", "0.1"
    source = "https://github.com/huggingface/transformers/issues/25854"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Fields above 0 that rule no site and whose name is in none of the model's files."""
        events = {event.rate for event in seen.training.run.events}
        read = None
        for field in seen.fields:
            rate = getattr(field.config, field.name)
            if field.sites or not rate or rate in events:
                continue
            read = _names_read(seen.model) if read is None else read
            if field.name in read:
                continue
            ruling = [other.name for other in seen.fields if other.sites]
            near = difflib.get_close_matches(field.name, ruling, n=1)
            hint = f" The model reads `{near[0]}`." if near else ""
            yield self.finding(
                "",
                f"The config's `{field.name}` is {rate:g}, and no code of the model reads it.{hint}",
                evidence={"field": field.name, "rate": rate, "near": near},
                proved=False,
            )


def _names_read(model: nn.Module) -> frozenset[str]:
    """Names and texts in the code of the files of the model's classes."""
    files = {cls.__module__ for module in model.modules() for cls in type(module).__mro__}
    return frozenset().union(*(_names_in(file) for file in files if not _is_torchs(file)))


def _is_torchs(file: str) -> bool:
    return file.partition(".")[0] in ("torch", "builtins", "dropkit")


@functools.cache
def _names_in(file: str) -> frozenset[str]:
    module = sys.modules.get(file)
    found: set[str] = set()
    for function in _functions(module) if isinstance(module, ModuleType) else ():
        _collect(function.__code__, found)
    return frozenset(found)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    for value in list(vars(module).values()):
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for own in vars(value).values():
                inner = getattr(own, "__wrapped__", own)
                yield from (f for f in (own, inner) if isinstance(f, FunctionType))


def _collect(code: CodeType, found: set[str]) -> None:
    found.update(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, str):
            found.add(constant)
        elif isinstance(constant, CodeType):
            _collect(constant, found)
