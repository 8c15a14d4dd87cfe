"""What does a dropout call cost on a small tensor, beside F.dropout, and where does it go?

Prints a JSON line a size and case to stdout, and a table to stderr, in microseconds a call; then
what the parts of one call of dropkit cost. All masks are ambient, as in training.

    python bench/small.py > small.jsonl
"""

from collections.abc import Callable

import _measure as measure
import torch

from dropkit.core import kernels, naming, route
from dropkit.functional import dropout

QUESTION = "small"
RATE = 0.1
SIZES = [64, 256, 1024, 4096]

Call = Callable[[], object]


def _calls(n: int) -> dict[str, dict[str, Call]]:
    x, gradient = torch.randn(n), torch.randn(n)
    leaf = torch.randn(n, requires_grad=True)
    torchs = torch.nn.functional.dropout

    def both(function: Callable[..., torch.Tensor]) -> Call:
        return lambda: torch.autograd.grad(function(leaf, RATE), leaf, gradient)

    return {
        "forward": {"dropkit": lambda: dropout(x, RATE), "torch": lambda: torchs(x, RATE)},
        "forward, recorded": {
            "dropkit": lambda: dropout(leaf, RATE),
            "torch": lambda: torchs(leaf, RATE),
        },
        "forward+backward": {
            "dropkit": both(dropout),
            "torch": both(torchs),
            "clone": lambda: torch.autograd.grad(leaf.clone(), leaf, gradient),
        },
    }


def _parts() -> dict[str, Call]:
    x = torch.randn(64)
    leaf = torch.randn(64, requires_grad=True)
    mask = (1, 2, 6554, True, None)
    return {
        "draw an address": naming.ambient_words,
        "ask whether the tensor is plain": lambda: route.is_plain(x),
        "allocate the output": lambda: torch.empty_like(x),
        "allocate, draw and apply the mask": lambda: kernels.dropout(x, *mask),
        "the same in an autograd.Function": lambda: route._apply_masked(leaf, mask),
        "the whole call": lambda: dropout(x, RATE),
    }


def main() -> None:
    """Measure all sizes, then the parts."""
    options = measure.parser(__doc__).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    how = {"repeats": 7, "repeat_s": 0.004} if options.quick else {}
    measure.say(f"{'median us a call':<28}{'n':>6}{'dropkit':>10}{'torch':>10}{'dk/torch':>10}")
    for n in SIZES:
        for case, calls in _calls(n).items():
            seconds = measure.interleaved(calls, **how)
            times = {name: measure.spread(taken, n) for name, taken in seconds.items()}
            ours, theirs = times["dropkit"]["median_us"], times["torch"]["median_us"]
            ratio = round(ours / theirs, 3)
            line = {"question": QUESTION, "case": case, "n": n, "times": times}
            measure.emit({**line, "dropkit/torch": ratio, **measure.facts()})
            measure.say(f"{case:<28}{n:>6}{ours:>10.2f}{theirs:>10.2f}{ratio:>10.2f}")
    measure.say("")
    seconds = measure.interleaved(_parts(), **how)
    parts = {name: measure.spread(taken, 64)["median_us"] for name, taken in seconds.items()}
    measure.emit({"question": QUESTION, "case": "parts", "median_us": parts, **measure.facts()})
    for name, us in parts.items():
        measure.say(f"{name:<40}{us:>8.2f} us")


if __name__ == "__main__":
    main()
