"""A compiled graph may draw a mask in forward and again in backward: both must get the same.

Under ``torch._functorch.config.activation_memory_budget`` below 1, torch recomputes in backward
what it could have saved, random operators too, whatever their tags and effects say. So a draw in
a compiled graph carries a number of its own, and what it drew stays with the autograd node of
that very call of the graph, where a second run of the draw finds it.
"""

import itertools
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor

_numbers = itertools.count()
_NODE = "CompiledFunctionBackward"
_KEPT = "_dropkit_draws"


def draw_number() -> int:
    """A number for one draw in a graph: asked for while tracing, a constant from then on."""
    return next(_numbers)


# What torch.compiler.assume_constant_result does; calling it would import the whole compiler.
draw_number._dynamo_marked_constant = True  # type: ignore[attr-defined]  # noqa: SLF001


def drawn_once(number: int, draw: Callable[[], Tensor]) -> Tensor:
    """What the draw of this number gave in this call of the compiled graph, drawn if need be.

    Args:
        number: From `draw_number`; negative outside compiled graphs, where nothing is kept.
        draw: Makes the tensor, some bytes large.
    """
    node = _node_of_compiled_call() if number >= 0 else None
    if node is None:
        return draw()
    kept: dict[int, Tensor] = node.__dict__.setdefault(_KEPT, {})
    if number not in kept:
        kept[number] = draw()
    return kept[number].clone()  # an operator's result is its caller's own


def _node_of_compiled_call() -> Any:
    """The autograd node whose compiled forward or backward is running; None in inference."""
    frame = sys._getframe()  # noqa: SLF001 - torch hands the node to its own functions only
    while (caller := frame.f_back) is not None:
        frame = caller
        if "ctx" in frame.f_code.co_varnames:
            node = frame.f_locals.get("ctx")
            if type(node).__name__ == _NODE:
                return node
    return None
