"""Compare the Triton kernel with the slow twin in Triton's interpreter: a line of JSON a case.

Run with TRITON_INTERPRET=1, which Triton reads when it is imported. Prints ``{"name": ...,
"wrong": [...]}``, with the places where the bits differ.
"""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import triton
import triton.language as tl
from support_triton import CASES, POWER, Case
from torch import Tensor

from dropkit.core import reference
from dropkit.core import triton as core
from dropkit.core.place import Place
from dropkit.core.rate import scale_from_threshold

_PATTERNS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@triton.jit
def _philox_kernel(
    out: tl.tensor, block: tl.int64, key: tl.int64, stream: tl.int64, n: tl.constexpr
) -> None:
    """The words of `n` equal blocks, one word after another."""
    blocks = tl.full((n,), 0, tl.uint64) + block.to(tl.uint64)
    w0, w1, w2, w3 = core._philox(blocks, key.to(tl.uint64), stream.to(tl.uint64))
    at = out + tl.arange(0, n)
    tl.store(at, w0)
    tl.store(at + n, w1)
    tl.store(at + 2 * n, w2)
    tl.store(at + 3 * n, w3)


def known_answer(line: str) -> list[int]:
    """Which of the four words of a known answer the kernel gets wrong."""
    counter, key, answer = ([int(word, 16) for word in part.split()] for part in line.split(";"))
    numbers = (counter[0:2], key, counter[2:4])
    out = torch.zeros((4, 2), dtype=torch.int64)
    _philox_kernel[1,](out, *(core._signed(low | high << 32) for low, high in numbers), n=2)
    return [i for i, word in enumerate(answer) if out[i].tolist() != [word, word]]


def _ramp(case: Case, n: int) -> Tensor:
    if case.dtype == "bfloat16":
        return torch.arange(n) % 13 - 6.0
    return torch.linspace(-3.0, 3.0, n, dtype=torch.float64)


def values(case: Case) -> Tensor:
    """The input of a case: ``(n,)`` of its dtype."""
    dtype = getattr(torch, case.dtype)
    if case.values == "ramp":
        return _ramp(case, case.n).to(dtype)
    info = torch.finfo(dtype)
    special = [math.inf, math.nan, 0.0, 1.0, info.max, info.max / 2, info.smallest_normal]
    if case.dtype != "bfloat16":  # the interpreter takes bfloat16's subnormals for others
        special += [info.smallest_normal * info.eps, 3 * info.smallest_normal * info.eps]
    both = torch.tensor([sign * value for value in special for sign in (1, -1)], dtype=dtype)
    return both.repeat(case.n // len(both) + 1)[: case.n]


def drawn(case: Case) -> Tensor:
    """What the kernel makes of a case."""
    core._ELEMENTS = case.elements
    x = values(case)
    numbers = (case.key, case.stream, case.threshold, scale_from_threshold(case.threshold))
    place = case.place or Place.whole(case.n)
    if case.call == "dropout_add":
        return core.dropout_add(x, x.flip(0).contiguous(), *numbers, place)
    return core.dropout(x, *numbers, place)


def expected(case: Case) -> Tensor:
    """What the slow twin, or torch's own arithmetic with its mask, makes of it."""
    x = values(case)
    scale = scale_from_threshold(case.threshold)
    place = case.place or Place.whole(case.n)
    if case.call == "dropout":
        return reference.dropout(x, case.key, case.stream, case.threshold, scale, place)
    keep = reference.keep_mask(case.key, case.stream, case.threshold, place, case.n)
    wide = x if case.dtype == "float64" else x.float()
    leaf = wide.clone().requires_grad_()
    out = torch.where(keep, leaf * torch.tensor(scale, dtype=wide.dtype), 0.0)
    if case.call == "dropout_add":
        return (out + wide.flip(0)).detach().to(x.dtype)
    return torch.autograd.grad(out, leaf, wide)[0].to(x.dtype)


def bits(x: Tensor) -> Tensor:
    """Bit patterns; all nans look the same, +0 and -0 do not."""
    canonical = torch.where(x.isnan(), torch.full_like(x, torch.nan), x)
    return canonical.view(_PATTERNS[x.element_size()])


def wrong(case: Case) -> list[int]:
    """Where the kernel's bits are not the twin's."""
    twin = replace(case, **case.twin)
    return (bits(drawn(case)) != bits(expected(twin))).nonzero().flatten().tolist()


def main() -> None:
    """Print the results of all cases."""
    np.seterr(all="ignore")  # overflow to infinity is part of the cases
    answers = (Path(__file__).parents[1] / "core/known_answers.txt").read_text().splitlines()
    for i, line in enumerate(answers):
        sys.stdout.write(json.dumps({"name": f"known answer {i}", "wrong": known_answer(line)}))
        sys.stdout.write("\n")
    for case in CASES + POWER:
        sys.stdout.write(json.dumps({"name": case.name, "wrong": wrong(case)}) + "\n")


if __name__ == "__main__":
    main()
