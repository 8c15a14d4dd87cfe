"""One process of a group: draws its shards and compares them with the whole.

python support_shards.py RANK WORLD FILE
"""

import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import dropkit
from dropkit.functional import alpha_dropout, dropout, gaussian_dropout

SHAPE = (8, 12, 5)


#: Dropout of elements, with noise of several shapes, and by each other law.
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "elements": lambda x: dropout(x, 0.3),
    "channels": lambda x: dropout(x, 0.3, noise_shape=(None, None, 1)),
    "positions": lambda x: dropout(x, 0.3, noise_shape=(None, 1, None)),
    "all examples": lambda x: dropout(x, 0.3, noise_shape=(1, None, None)),
    "one dimension": lambda x: dropout(x, 0.3, noise_shape=(1, None, 1)),
    "alpha": lambda x: alpha_dropout(x, 0.3, True),
    "gaussian": lambda x: gaussian_dropout(x, 0.3),
}


def with_gradient(x: Tensor, drop: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Dropout of `x` under a name, and the gradient of the sum of its squares."""
    leaf = x.detach().requires_grad_()
    with dropkit.masks_at(seed=3, step=4):
        y = drop(leaf)
    y.square().sum().backward()
    return [y.detach(), leaf.grad]


def check_shards(world: int) -> None:
    """Every placement on a line and on a square of processes gives the bits of the whole."""
    whole = torch.linspace(1, 2, 8 * 12 * 5).reshape(SHAPE)
    expected = {kind: with_gradient(whole, drop) for kind, drop in KINDS.items()}
    line = init_device_mesh("cpu", (world,))
    cases = [(line, [p]) for p in (Shard(0), Shard(1), Shard(2), Replicate())]
    if world == 4:
        square = init_device_mesh("cpu", (2, 2))
        pairs = [(0, 1), (1, 0), (1, 2), (0, 0)]
        cases += [(square, [Shard(a), Shard(b)]) for a, b in pairs]
        cases += [(square, [Replicate(), Shard(1)])]
    for mesh, placements in cases:
        for kind, drop in KINDS.items():
            found = with_gradient(distribute_tensor(whole, mesh, placements), drop)
            pairs = zip(expected[kind], found, strict=True)
            same = [torch.equal(a, b.full_tensor()) for a, b in pairs]
            assert all(same), (placements, kind, same)


def check_batches(rank: int, world: int) -> None:
    """A rank's part of the batch has, by rows, the masks it has in the whole batch."""
    batch = torch.ones(8, 6)
    with dropkit.masks_at(seed=1, rows=range(8)):
        whole = dropout(batch, 0.5)
    mine = range(rank * 8 // world, (rank + 1) * 8 // world)
    with dropkit.masks_at(seed=1, rows=mine):
        part = dropout(batch[list(mine)], 0.5)
    assert torch.equal(part, whole[list(mine)])


def check_ranks_differ(world: int) -> None:
    """Ranks that were seeded alike draw different masks for plain tensors, one for a DTensor."""
    torch.manual_seed(0)
    masks = [torch.empty(64) for _ in range(world)]
    dist.all_gather(masks, dropout(torch.ones(64), 0.5))
    assert len({tuple(mask.tolist()) for mask in masks}) == world
    torch.manual_seed(0)
    mesh = init_device_mesh("cpu", (world,))
    replicated = dropout(distribute_tensor(torch.ones(64), mesh, [Replicate()]), 0.5).to_local()
    dist.all_gather(masks, replicated)
    assert len({tuple(mask.tolist()) for mask in masks}) == 1


def main() -> None:
    """Join the group, check, leave."""
    rank, world = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    address = f"file://{sys.argv[3]}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    check_shards(world)
    check_batches(rank, world)
    check_ranks_differ(world)
    dist.barrier()  # who leaves early takes the others' connections away
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
