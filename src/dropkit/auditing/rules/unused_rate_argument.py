"""DRP207."""

import dis
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.sites.caller import Line

#: A constructor that asks for all its arguments at once may use any of them.
_ALL_AT_ONCE = {"locals", "vars", "save_hyperparameters", "currentframe", "register_to_config"}


class UnusedRateArgument(Rule):
    """A module that takes a drop rate when it is made, and does nothing with it.

    ## Why it matters
    Whoever builds the model hands over a rate and believes that it acts.

    ## Instead
    Use the argument, or remove it.

    ## When it is fine
    Where it is kept for callers of an older version. Name it ``_dropout``, or ignore this rule.
    """

    code, name, severity, since = "DRP207", "unused-rate-argument", "warning", "0.1"
    source = "https://github.com/lucidrains/x-transformers/issues/175"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Constructors of the model's classes with an argument that their code never loads."""
        met = set()
        for module, name in seen.names.items():
            init = type(module).__dict__.get("__init__")
            ours = type(module).__module__.partition(".")[0] in ("torch", "dropkit")
            if ours or not isinstance(init, FunctionType) or init in met:
                continue
            met.add(init)
            for argument in _unused(init):
                line = Line(init.__code__.co_filename, init.__code__.co_firstlineno)
                yield self.finding(
                    name,
                    f"`{type(module).__name__}` takes `{argument}` and never reads it.",
                    evidence={"argument": argument, "class": type(module).__qualname__},
                    where=str(line),
                    proved=False,
                )


def _unused(init: FunctionType) -> Iterator[str]:
    if hasattr(init, "__wrapped__") or _ALL_AT_ONCE & set(init.__code__.co_names):
        return
    for name, parameter in inspect.signature(init).parameters.items():
        is_named = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        is_rate = is_named and "drop" in name.lower() and not name.startswith("_")
        if is_rate and not _loads(init.__code__, name):
            yield name


def _loads(code: CodeType, name: str) -> bool:
    if name in code.co_cellvars:
        return True  # a function within uses it
    return any(
        step.argval == name and step.opname.startswith("LOAD_FAST")
        for step in dis.get_instructions(code)
    )
