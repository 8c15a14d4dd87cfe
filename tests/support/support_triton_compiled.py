"""Compile the Triton kernel for CUDA, which needs no GPU: a line of JSON a variant.

Arguments go through Triton's own binder, so that types and specializations are those of a launch.
"""

import json
import re
import sys
from itertools import product
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from dropkit.core import triton as core

AMPERE = GPUTarget("cuda", 80, 32)
BACKEND = make_backend(AMPERE)
BIND = create_function_from_signature(core._kernel.signature, core._kernel.params, BACKEND)
NUMBERS = [1000, 200, 3, 200, 8, -1, 5, 6554, 1 << 62]


def bind(dtype: torch.dtype, numbers: list[int], **variant: bool) -> dict[str, tuple[str, Any]]:
    """Type and specialization of each argument: what Triton compiles once for."""
    x = torch.empty(1000, dtype=dtype)
    ids = torch.arange(5) if variant["has_rows"] else None
    residual = x if variant.pop("has_residual") else None
    arguments = (x, residual, x, ids, *numbers)
    specialized = BIND(*arguments, **variant, elements=core._ELEMENTS)[1]
    return dict(zip(core._kernel.arg_names, specialized, strict=True))


def compiled(types: dict[str, tuple[str, Any]]) -> dict[str, str]:
    """The kernel in each of Triton's languages, down to the GPU's own."""
    fixed = {name: value for name, (kind, value) in types.items() if kind == "constexpr"}
    known = {
        (i,): BACKEND.parse_attr(value)
        for i, (kind, value) in enumerate(types.values())
        if kind != "constexpr" and value
    }
    source = ASTSource(
        core._kernel, {name: kind for name, (kind, _) in types.items()}, fixed, known
    )
    return triton.compile(source, target=AMPERE, options=core._OPTIONS).asm


def main() -> None:
    """Print what the compiler made of each variant."""
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    for dtype, is_aligned, has_rows in product(dtypes, [True, False], [True, False]):
        variant = {"has_rows": has_rows, "is_aligned": is_aligned}
        variant |= {"is_even": is_aligned, "has_residual": has_rows}
        types = bind(dtype, NUMBERS, **variant)
        code = compiled(types)
        name = f"{dtype}, {'aligned' if is_aligned else 'odd'}, {'rows' if has_rows else 'a run'}"
        products = re.findall(r"arith\.muli .*: tensor<(\d+)xi64>", code["ttir"])
        result = {
            "name": name,
            "lanes of products": sorted({int(lanes) for lanes in products}),
            # Without .rn the assembler, too, may fuse.
            "fused": len(re.findall(r"\bfma\.|\b(?:mul|add)\.f\d", code["ptx"])),
            "flushed": len(re.findall(r"\.ftz", code["ptx"])),
            "rounded": sorted(set(re.findall(r"cvt\.r\w+\.bf16", code["ptx"]))),
            "moved": sorted(set(re.findall(r"st\.global\.(v\d)?", code["ptx"]))),
            "same for other numbers": all(
                bind(dtype, [number] * len(NUMBERS), **variant) == types
                for number in (0, 1, 16, -1, 1 << 31, -(1 << 63))
            ),
        }
        sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
