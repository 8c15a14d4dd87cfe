"""How long do dropout of channels, alpha, locked and gaussian dropout take, beside torch's own?

Prints a JSON line a layer and size to stdout, and a table to stderr, in microseconds a call. All
masks are ambient, as in training. torch has no locked and no gaussian dropout: beside them stand
the lines that people write.

    python bench/layers.py --threads 1 > layers.jsonl
"""

from collections.abc import Callable

import _measure as measure
import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from dropkit import functional

QUESTION = "layers"
RATE = 0.1
#: Images, ``(N, C, H, W)``.
SIZES = [(2, 16, 8, 8), (8, 64, 28, 28), (32, 64, 56, 56)]

Drop = Callable[[Tensor], Tensor]


def _locked(x: Tensor) -> Tensor:
    mask = x.new_empty(x.shape[0], 1, *x.shape[2:]).bernoulli_(1 - RATE).div_(1 - RATE)
    return x * mask


def _gaussian(x: Tensor) -> Tensor:
    noise: Tensor = torch.randn_like(x) * (RATE / (1 - RATE)) ** 0.5 + 1
    return x * noise


PAIRS: dict[str, tuple[Drop, Drop]] = {
    "dropout2d": (lambda x: functional.dropout2d(x, RATE), lambda x: F.dropout2d(x, RATE)),
    "alpha_dropout": (
        lambda x: functional.alpha_dropout(x, RATE, True),
        lambda x: F.alpha_dropout(x, RATE, True),
    ),
    "locked": (
        lambda x: functional.dropout(x, RATE, noise_shape=(None, 1, None, None)),
        _locked,
    ),
    "gaussian_dropout": (lambda x: functional.gaussian_dropout(x, RATE), _gaussian),
}


def _cases(ours: Drop, theirs: Drop, leaf: Tensor) -> dict[str, Callable[[], object]]:
    plain, gradient = leaf.detach(), torch.randn_like(leaf)
    return {
        "forward": lambda: ours(plain),
        "torch": lambda: theirs(plain),
        "both ways": lambda: torch.autograd.grad(ours(leaf), leaf, gradient),
        "torch both": lambda: torch.autograd.grad(theirs(leaf), leaf, gradient),
    }


def _saved(ours: Drop, theirs: Drop, leaf: Tensor) -> dict[str, int]:
    return {
        "dropkit": measure.saved_bytes(lambda: ours(leaf)),
        "torch": measure.saved_bytes(lambda: theirs(leaf)),
    }


def main() -> None:
    """Measure all layers at all sizes."""
    options = measure.parser(__doc__).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    how = {"repeats": 5, "repeat_s": 0.01} if options.quick else {}
    columns = ("forward", "torch", "both ways", "torch both")
    measure.say(f"{'microseconds':<18}{'elements':>10}" + "".join(f"{c:>12}" for c in columns))
    for shape in SIZES[:2] if options.quick else SIZES:
        leaf = torch.randn(shape, requires_grad=True)
        for name, pair in PAIRS.items():
            seconds = measure.interleaved(_cases(*pair, leaf), **how)
            times = {case: measure.spread(taken, leaf.numel()) for case, taken in seconds.items()}
            saved = _saved(*pair, leaf)
            case = {"layer": name, "shape": shape, "rate": RATE, "saved_bytes": saved}
            facts = {"threads": torch.get_num_threads(), **measure.facts()}
            measure.emit({"question": QUESTION, "case": case, "times": times, **facts})
            cells = "".join(f"{times[column]['min_us']:>12.1f}" for column in columns)
            measure.say(f"{name:<18}{leaf.numel():>10}{cells}")


if __name__ == "__main__":
    main()
