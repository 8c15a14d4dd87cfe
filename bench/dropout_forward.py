"""How long does dropout take, forward and backward, beside F.dropout and a plain copy?

Prints a JSON line a case and size to stdout, and a table to stderr. All compared calls allocate
their output, as `x.clone()` does, but those in place; `y.copy_(x)`, which allocates nothing, is the
hard floor.
Times are nanoseconds an element, the minimum and the median over interleaved repeats.

    python bench/dropout_forward.py > forward.jsonl
    python bench/dropout_forward.py --quick --threads 1
    DROPKIT_ISA=portable python bench/dropout_forward.py --quick
"""

from collections.abc import Callable
from typing import Any

import _measure as measure
import torch
from torch import Tensor

import dropkit
from dropkit.core.binding import LOADED

QUESTION = "dropout_forward"
RATE = 0.1
KIB = 1024
#: 4 KiB to 64 MiB of float32, in powers of 4.
SIZES = [4 * KIB * 4**k for k in range(8)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
ADDRESS = dropkit.Address.from_seed(0)

Cases = dict[str, Callable[[], object]]


def _forward(x: Tensor) -> Cases:
    y = torch.empty_like(x)
    return {
        "dropkit": lambda: dropkit.functional.dropout(x, RATE, address=ADDRESS),
        "dropkit ambient": lambda: dropkit.functional.dropout(x, RATE),
        "torch": lambda: torch.nn.functional.dropout(x, RATE),
        "clone": x.clone,
        "copy": lambda: y.copy_(x),
    }


def _in_place(x: Tensor) -> Cases:
    """Written over the input: nothing is allocated, in either library. The values do not matter."""
    ours, theirs, y = x.clone(), x.clone(), torch.empty_like(x)
    return {
        "dropkit": lambda: dropkit.functional.dropout(ours, RATE, inplace=True, address=ADDRESS),
        "torch": lambda: torch.nn.functional.dropout(theirs, RATE, inplace=True),
        "clone": x.clone,
        "copy": lambda: y.copy_(x),
    }


def _backward(x: Tensor) -> Cases:
    """The graph is built once and kept; each call runs its backward alone."""
    gradient, y = torch.ones_like(x), torch.empty_like(x)

    def backward_of(function: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        leaf = x.detach().requires_grad_()
        out = function(leaf)
        return lambda: torch.autograd.grad(out, leaf, gradient, retain_graph=True)

    return {
        "dropkit": backward_of(lambda x: dropkit.functional.dropout(x, RATE, address=ADDRESS)),
        "torch": backward_of(lambda x: torch.nn.functional.dropout(x, RATE)),
        "identity": backward_of(lambda x: x.clone()),  # what autograd itself costs
        "clone": gradient.clone,
        "copy": lambda: y.copy_(gradient),
    }


def _saved(x: Tensor) -> dict[str, int]:
    leaf = x.detach().requires_grad_()
    return {
        "dropkit": measure.saved_bytes(
            lambda: dropkit.functional.dropout(leaf, RATE, address=ADDRESS)
        ),
        "torch": measure.saved_bytes(lambda: torch.nn.functional.dropout(leaf, RATE)),
    }


def _line(question: str, x: Tensor, cases: Cases, how: dict[str, Any], **more: Any) -> None:
    """Measure the cases, print their JSON line and their line of the table."""
    seconds = measure.interleaved(cases, **how)
    n = x.numel()
    times = {name: measure.spread(taken, n) for name, taken in seconds.items()}
    mid = {name: row["median_us"] for name, row in times.items()}
    low = {name: row["min_us"] for name, row in times.items()}
    core = LOADED.core
    measure.emit(
        {
            "question": QUESTION,
            "case": question,
            "dtype": str(x.dtype).removeprefix("torch."),
            "n": n,
            "bytes": n * x.element_size(),
            "rate": RATE,
            "isa": "reference" if core is None else core.isa,
            "threads": torch.get_num_threads(),
            "times": times,
            "ratios": {
                which: {
                    "dropkit/copy": round(of["dropkit"] / of["copy"], 3),
                    "dropkit/clone": round(of["dropkit"] / of["clone"], 3),
                    "torch/dropkit": round(of["torch"] / of["dropkit"], 3),
                }
                for which, of in (("median", mid), ("min", low))
            },
            **more,
            **measure.facts(),
        }
    )
    columns = ("dropkit", "torch", "clone", "copy")
    cells = "".join(f"{times[name]['median_ns_per_element']:>10.3f}" for name in columns)
    measure.say(
        f"{question:<18}{str(x.dtype)[6:]:<10}{n * x.element_size() // KIB:>8} KiB{cells}"
        f"{mid['torch'] / mid['dropkit']:>9.1f}x{mid['dropkit'] / mid['copy']:>9.1f}x"
    )


def _at_offset(n: int, elements: int) -> Tensor:
    """`n` float32 values that begin `elements` behind a 64-byte boundary."""
    room = torch.randn(n + 32)
    to_boundary = -room.data_ptr() // 4 % 16
    return room[to_boundary + elements : to_boundary + elements + n]


def main() -> None:
    """Measure all cases."""
    options = measure.parser(__doc__).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    how = {"repeats": 7, "repeat_s": 0.004} if options.quick else {}
    sizes = [SIZES[0], SIZES[4]] if options.quick else SIZES
    measure.say(
        f"{'median ns an element':<40}{'dropkit':>10}{'torch':>10}{'clone':>10}{'copy':>10}"
        f"{'torch/dk':>10}{'dk/copy':>10}"
    )
    for size in sizes:
        x = torch.randn(size // 4)
        saved = _saved(x)
        _line("forward", x, _forward(x), how, saved_bytes=saved)
        _line("forward in place", x, _in_place(x), how)
        _line("backward", x, _backward(x), how, saved_bytes=saved)
    for dtype in DTYPES:
        x = torch.randn(SIZES[4] // 4).to(dtype)
        _line("forward by dtype", x, _forward(x), how, saved_bytes=_saved(x))
    for elements in (0, 1, 4, 15):
        x = _at_offset(SIZES[3] // 4, elements)
        _line("forward unaligned", x, _forward(x), how, offset_bytes=4 * elements)


if __name__ == "__main__":
    main()
