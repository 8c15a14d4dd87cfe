"""Whether masks are the same, and how likely that is by chance."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.auditing.drops import Drop
from dropkit.auditing.scales import counted_apart
from dropkit.sites.caller import Caller

#: The chance that masks which have nothing to do with each other are called the same.
FALSE_ALARM = 1e-9


def chance_same(one: Drop, other: Drop) -> float:
    """The chance that independent masks agree all over, as these do; 1 where they do not agree.

    Elements that were zero before do not tell, and masks that drop all or nothing neither.
    """
    if one.x is None or one.y is None or other.x is None or other.y is None:
        return 1.0
    return 1.0 if one.x.shape != other.x.shape else _chance(one.x, one.y, other.x, other.y)


def chance_rows_same(drop: Drop) -> float:
    """The chance that all rows have one mask, as they do, by luck; 1 where they do not."""
    if drop.x is None or drop.y is None or drop.x.dim() < 2 or len(drop.x) < 2:
        return 1.0
    chance = 1.0
    for x, y in zip(drop.x[1:], drop.y[1:], strict=True):
        now = _chance(drop.x[0], drop.y[0], x, y)
        if now == 1.0:
            return 1.0
        chance *= now
    return chance


def differ(one: Drop, other: Drop) -> bool:
    """Whether two masks are not the same where both can be seen."""
    if one.x is None or one.y is None or other.x is None or other.y is None:
        return False
    if one.x.shape != other.x.shape:
        return True
    is_seen = (one.x != 0) & (other.x != 0)
    return not torch.equal((one.y == 0) & is_seen, (other.y == 0) & is_seen)


def by_caller(drops: Sequence[Drop]) -> dict[Caller, list[Drop]]:
    """The drops of each line of code in a module, in their order."""
    found: dict[Caller, list[Drop]] = defaultdict(list)
    for drop in drops:
        found[drop.event.caller].append(drop)
    return found


def paired(drops: Sequence[Drop], others: Sequence[Drop]) -> list[tuple[Drop, Drop]]:
    """Each drop of a site with the one of another run that stands in its place."""
    mine, theirs = by_caller(drops), by_caller(others)
    return [
        pair
        for caller, found in mine.items()
        for pair in zip(found, theirs.get(caller, []), strict=False)
    ]


def _chance(x: Tensor, y: Tensor, other_x: Tensor, other_y: Tensor) -> float:
    is_seen = (x != 0) & (other_x != 0)
    dropped = (y == 0) & is_seen
    if not torch.equal(dropped, (other_y == 0) & is_seen):
        return 1.0
    n_kept, n = counted_apart((y != 0) & is_seen, dropped)
    keep = n_kept / max(n, 1)
    return float((keep**2 + (1.0 - keep) ** 2) ** n)
