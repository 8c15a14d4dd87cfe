"""How long does attention with dropout take, and what does it keep, beside torch's own?

Prints a JSON line a shape to stdout, and a table to stderr: milliseconds of torch's own without
dropout, and how many times as long torch's own and dropkit take with dropout 0.1, forward and
forward with backward; then the peak memory of one forward with backward in a process of its own,
above what it held before (Linux only).

    python bench/attention.py > attention.jsonl
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable

import _measure as measure
import torch
from torch import Tensor

import dropkit

QUESTION = "attention"
RATE = 0.1
#: (batch, heads, length, width of a head)
SHAPES = [
    (1, 8, 512, 64),
    (1, 8, 1024, 64),
    (1, 8, 2048, 64),
    (1, 8, 4096, 64),
    (4, 12, 512, 64),
]

Shape = tuple[int, ...]
KINDS: dict[str, Callable[..., Tensor]] = {
    "without": torch.nn.functional.scaled_dot_product_attention,
    "torch": lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
        q, k, v, dropout_p=RATE
    ),
    "dropkit": lambda q, k, v: dropkit.functional.scaled_dot_product_attention(
        q, k, v, dropout_p=RATE
    ),
}


def _forward(kind: str, shape: Shape) -> Callable[[], object]:
    q, k, v = (torch.randn(shape) for _ in range(3))
    return lambda: KINDS[kind](q, k, v)


def _both(kind: str, shape: Shape) -> Callable[[], object]:
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    gradient = torch.randn(shape)
    return lambda: torch.autograd.grad(KINDS[kind](q, k, v), (q, k, v), gradient)


def _peak_mib(kind: str, shape: Shape) -> float:
    """Peak memory of one forward with backward, above what the process held before."""
    command = [sys.executable, __file__, "--peak-of", kind, json.dumps(shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure all shapes."""
    parser = measure.parser(__doc__)
    parser.add_argument("--peak-of", nargs=2, help="print the peak of one case, in MiB, and end")
    options = parser.parse_args()
    if options.peak_of:
        kind, shape = options.peak_of
        warm = _both(kind, (1, 1, 64, 64))
        warm()
        print(measure.peak_mib(_both(kind, tuple(json.loads(shape)))))
        return
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    how = {"repeats": 5, "repeat_s": 0.01} if options.quick else {"repeats": 9, "repeat_s": 0.05}
    measure.say(
        f"{'(B, H, L, E)':<20}{'':<18}{'ms without':>11}{'torch':>8}{'dropkit':>9}"
        "   MiB without, torch, dropkit"
    )
    for shape in SHAPES[:2] if options.quick else SHAPES:
        peaks = {kind: round(_peak_mib(kind, shape), 1) for kind in KINDS}
        for case, make in (("forward", _forward), ("forward+backward", _both)):
            calls = {kind: make(kind, shape) for kind in KINDS}
            seconds = measure.interleaved(calls, **how)
            ms = {kind: statistics.median(taken) * 1e3 for kind, taken in seconds.items()}
            ratios = {kind: round(ms[kind] / ms["without"], 3) for kind in ("torch", "dropkit")}
            measure.emit(
                {
                    "question": QUESTION,
                    "shape": shape,
                    "case": case,
                    "threads": torch.get_num_threads(),
                    "median_ms": {kind: round(value, 3) for kind, value in ms.items()},
                    "over_without": ratios,
                    "peak_mib_forward_backward": peaks,
                    **measure.facts(),
                }
            )
            memory = ", ".join(f"{mib:.0f}" for mib in peaks.values())
            measure.say(
                f"{shape!s:<20}{case:<18}{ms['without']:>11.2f}{ratios['torch']:>8.2f}"
                f"{ratios['dropkit']:>9.2f}" + (f"   {memory}" if case != "forward" else "")
            )


if __name__ == "__main__":
    main()
