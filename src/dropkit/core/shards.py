"""Sharded tensors: each process draws its part of the mask of the whole."""

import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dropkit.core.place import Place


def is_sharded(x: Tensor) -> bool:
    """Whether `x` is a DTensor; there is none where nobody imported their module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(x, module.DTensor)


def on_each_shard(
    x: Any, masked: Callable[[Tensor, Place], Tensor], noise_shape: tuple[int, ...] | None = None
) -> Tensor:
    """Apply `masked` to the local part of a DTensor and put the parts together again.

    Args:
        x: A DTensor with any mesh. What is still a sum over processes is summed first: dropping
            elements of the terms is not dropping elements of the sum.
        masked: Takes the local tensor and the place of its noise in the whole noise tensor.
        noise_shape: Of that, for each dimension its size or 1; None for the shape of `x`.
    """
    from torch.distributed.tensor import DTensor, Replicate  # noqa: PLC0415 - slow, and rare

    placements = [Replicate() if p.is_partial() else p for p in x.placements]
    x = x.redistribute(placements=placements)
    out = masked(x.to_local(), _local_place(x, x.shape if noise_shape is None else noise_shape))
    whole: Tensor = DTensor.from_local(
        out, x.device_mesh, placements, run_check=False, shape=x.shape, stride=x.stride()
    )
    return whole


def _local_place(x: Any, shape: tuple[int, ...]) -> Place:
    from torch.distributed.tensor import Replicate  # noqa: PLC0415 - slow, and rare
    from torch.distributed.tensor._utils import (  # noqa: PLC0415 - likewise
        compute_local_shape_and_global_offset,
    )

    # All processes have a dimension that elements share: it is cut in none of them.
    placements = [
        Replicate() if p.is_shard() and shape[p.dim] != x.shape[p.dim] else p for p in x.placements
    ]
    local, offset = compute_local_shape_and_global_offset(shape, x.device_mesh, placements)
    numel = math.prod(local)
    # The last dimension that is cut: what lies behind it is whole, what lies before it are rows.
    cut = max((d for d in range(len(shape)) if local[d] != shape[d]), default=0)
    rows = math.prod(local[:cut])
    if len(shape) == 0 or numel == 0:
        return Place.whole(numel)
    behind = math.prod(shape[cut + 1 :])
    row_ids = torch.zeros(1, dtype=torch.int64)
    for d in range(cut):
        own = torch.arange(offset[d], offset[d] + local[d])
        row_ids = (row_ids.unsqueeze(1) * shape[d] + own).reshape(-1)
    return Place(
        rows,
        row_stride=shape[cut] * behind,
        column_offset=offset[cut] * behind,
        row_ids=row_ids.contiguous(),
    )
