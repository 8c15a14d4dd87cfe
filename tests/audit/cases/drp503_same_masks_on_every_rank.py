"""Two ranks of one training: the other one has told where its generator stands."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.testing._internal.distributed import fake_pg  # noqa: F401 - registers the backend

import dropkit
from support_cases import Case
from support_entry import numbers


@dataclass(frozen=True)
class OfRank(Case):
    """Audited on rank 1 of 2.

    Attributes:
        ahead: How many numbers rank 0 has drawn before; None where it is not audited.
    """

    ahead: int | None = 0

    def audit(self) -> dropkit.Audit:
        """What all rules find, in a process group."""
        with _ranks(self.ahead):
            return super().audit()


@contextlib.contextmanager
def _ranks(ahead: int | None) -> Iterator[None]:
    store = dist.HashStore()
    dist.init_process_group("fake", rank=1, world_size=2, store=store)
    try:
        if ahead is not None:
            with torch.random.fork_rng(devices=[]):
                torch.rand(ahead)
                state = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()
            dist.distributed_c10d._get_default_store().set("dropkit/audit/generator/0", state)
        yield
    finally:
        dist.destroy_process_group()


def net(kind: type[nn.Module]) -> nn.Sequential:
    """A perceptron that drops."""
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), kind(0.3), nn.Linear(32, 4))


VECTORS = numbers(8, 16)
BAD = [
    OfRank("seeded alike", lambda: net(nn.Dropout), VECTORS, fault="transformers#31412"),
]
GOOD = [
    OfRank("seeded otherwise", lambda: net(nn.Dropout), VECTORS, ahead=3),
    OfRank("the first to be audited", lambda: net(nn.Dropout), VECTORS, ahead=None),
    OfRank("layers that know their rank", lambda: net(dropkit.nn.Dropout), VECTORS),
    Case("one process", lambda: net(nn.Dropout), VECTORS),
]
