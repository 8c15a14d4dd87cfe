"""DRP501."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dropkit.auditing.drops import Drop
from dropkit.auditing.finding import Finding
from dropkit.auditing.masks import FALSE_ALARM, chance_rows_same
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import at_rate
from dropkit.core.scope import current_scope
from dropkit.sites.watch import arguments_of

#: In a small batch one mask says little: so many runs are made, at most, until luck is ruled out.
_FEWEST, _MOST = 2, 8


class SameMaskForEveryRow(Rule):
    """Dropout that draws one mask and applies it to every example of the batch.

    ## Why it matters
    Examples of a batch average out each other's noise, which is what makes a gradient under
    dropout usable. Under one mask they all lose the same units: the gradient is as noisy as that
    of a single example, and a unit that was dropped learns nothing from the whole batch.

    ## Instead
    Use ``nn.Dropout``, or draw the mask in the shape of what is dropped, the batch first:
    ``torch.bernoulli(torch.full_like(x, keep))``. To share it over time or space, give it the size
    1 in that dimension only.

    ## When it is fine
    A whole layer is skipped for the batch (LayerDrop), weights are dropped instead of activations,
    or one sub-network is to be asked about many examples.
    """

    code, name, severity, since = "DRP501", "same-mask-for-every-row", "warning", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 5.1: each training case has its own network"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites whose rows agree, in as many runs as it takes to rule out luck."""
        rows = batch_size(seen.batch)
        if rows < 2 or current_scope() is not None:
            return
        for site in seen.acting:
            if not _drops_rows(seen, site, rows):
                continue
            chance, runs = _chance(seen, site)
            if chance < FALSE_ALARM:
                yield self.finding(
                    site,
                    f"All {rows} examples of the batch lose the same elements{at_rate(site.rate)}, "
                    f"in {runs} of {runs} forwards.",
                    evidence={"rows": rows, "runs": runs, "chance": chance},
                )


def batch_size(batch: Any) -> int:
    """The first dimension of the first tensor in `batch`; 0 where there is none."""
    leaves = tree_leaves([*arguments_of(batch)[0], *arguments_of(batch)[1].values()])
    return next((len(x) for x in leaves if isinstance(x, Tensor) and x.dim()), 0)


def _drops_rows(seen: Observations, site: SeenSite, rows: int) -> bool:
    """Whether the first dimension of all that is dropped is the batch, beyond doubt."""
    steps_first = any(getattr(one, "batch_first", True) is False for one in seen.model.modules())
    name = type(site.module).__name__.lower()
    may_be_steps = steps_first or "lock" in name or "variational" in name
    return bool(site.drops) and all(
        drop.shape[:1] == (rows,)
        and drop.event.elements > drop.event.n_draws  # else a layer is skipped for all
        and not isinstance(drop.x, nn.Parameter)
        and (len(drop.shape) == 2 or not may_be_steps)
        for drop in site.drops
    )


def _chance(seen: Observations, site: SeenSite) -> tuple[float, int]:
    """Of all rows being alike by luck in all runs made, and how many these were."""
    chance, runs = _of(site.drops), 1
    while chance < 1.0 and runs < _MOST and (runs < _FEWEST or chance >= FALSE_ALARM):
        callers = {drop.event.caller for drop in site.drops}
        now = _of([one for one in seen.again(seed=runs).drops if one.event.caller in callers])
        chance, runs = (1.0 if now == 1.0 else chance * now), runs + 1
    return chance, runs


def _of(drops: Sequence[Drop]) -> float:
    chances = [chance_rows_same(drop) for drop in drops if drop.x is not None]
    return 1.0 if not chances or max(chances) == 1.0 else math.prod(chances)
