"""Which module of a model makes a call, and from which line of code: read off the stack."""

import sys
from collections.abc import Container, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

_HERE = str(Path(__file__).parent.parent)
_TORCH = str(Path(torch.__file__).parent)
_RESUMED = "torch_dynamo_resume_in_"  # the rest of a function that is compiled in parts
_NOT_THE_MODELS = (_HERE, _TORCH, "<frozen", "<string>")


class Line(NamedTuple):
    """A line of code."""

    file: str
    number: int

    def __str__(self) -> str:
        """``file:line``, the file as it is imported, or as seen from the working folder."""
        path = Path(self.file)
        for parent in path.parents:
            if parent.name in ("site-packages", "dist-packages") or parent == Path.cwd():
                path = path.relative_to(parent)
                break
        return f"{path.as_posix()}:{self.number}"


class Caller(NamedTuple):
    """Who made a call.

    Attributes:
        module: The innermost module of the model whose code is running.
        line: Of the model's own code; None where only torch's code is between the model's call
            and this one.
    """

    module: nn.Module
    line: Line | None


def find_caller(modules: Container[nn.Module]) -> Caller | None:
    """The innermost of the modules whose method is running in this thread, if any."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - no public way to walk cheaply
    within = resumed = None
    while frame is not None:
        code = frame.f_code
        if resumed is None and code.co_name.startswith(_RESUMED):
            resumed = frame
        if "self" in code.co_varnames[:1] or "self" in code.co_freevars:
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module) and module in modules:
                return Caller(module, _line(resumed or frame, within))
        within, frame = frame, frame.f_back
    return None


def _line(frame: FrameType, within: FrameType | None) -> Line | None:
    """The first line from `frame` outwards that is neither torch's nor dropkit's.

    Where `frame` is torch's, what it has called may be the model's all the same: a forward that
    has another word for ``self``.
    """
    outer: FrameType | None = frame
    if within is not None and _is_theirs(frame) and not _is_theirs(within):
        outer = within
    while outer is not None:
        if outer.f_code is run.__code__:
            return None  # the model was called from here: what lies further out is not its code
        if not _is_theirs(outer):
            return Line(outer.f_code.co_filename, outer.f_lineno)
        outer = outer.f_back
    return None


def _is_theirs(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_NOT_THE_MODELS)


def run(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call `model`; the code that this is called from is not the model's."""
    return model(*args, **kwargs)
