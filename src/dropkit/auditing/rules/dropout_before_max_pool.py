"""DRP305."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.pooling import _AdaptiveMaxPoolNd, _MaxPoolNd

from dropkit.auditing.drops import Drop
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import drops_by_element

_DIRECTLY = frozenset({"shape", "scale", "relu"})


class DropoutBeforeMaxPool(Rule):
    """Single elements are dropped right in front of a max-pool.

    ## Why it matters
    The pool takes the largest that is left, scaled by ``1 / (1 - p)``: where the largest is dropped
    the next one stands in, so that little is dropped, and what comes out is larger in training than
    in use. Behind a layer without a ReLU a dropped element even wins, as zero, over negative ones.

    ## Instead
    Put the dropout behind the pool, or drop whole channels with ``nn.Dropout2d``.

    ## When it is fine
    Max-pooling dropout is meant, and eval mode averages over what may be picked (Wu and Gu 2015).
    """

    code, name, severity, since = "DRP305", "dropout-before-max-pool", "warning", "0.1"
    source = "Wu and Gu 2015, arXiv:1512.01400"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites that feed a max-pool directly, and decide within its windows."""
        for site in seen.acting:
            edge = next(iter(seen.edges(site, "max_pool", only=_DIRECTLY)), None)
            drop = next((one for one in site.drops if one.x is not None), None)
            if edge is None or drop is None or not drops_by_element(drop):
                continue
            name, said, evidence = "a max-pool", "", {"rate": site.rate}
            pooled = None if edge.path else _pooled_means(drop, edge.module)
            if edge.module is not None and pooled is not None:
                name = f"max-pool `{seen.name_of(edge.module)}`"
                said = (
                    f": the mean behind it is {pooled[0]:.3g} in training, {pooled[1]:.3g} in use"
                )
                evidence |= {"mean_in_training": pooled[0], "mean_in_use": pooled[1]}
            yield self.finding(
                site, f"Drops single elements in front of {name}{said}.", evidence=evidence
            )


def _pooled_means(drop: Drop, pool: nn.Module | None) -> tuple[float, float] | None:
    """The mean behind the pool, with and without dropout; None where these cannot be told."""
    if not isinstance(pool, (_MaxPoolNd, _AdaptiveMaxPoolNd)) or drop.x is None or drop.y is None:
        return None
    if drop.x.shape[2:] != drop.shape[2:]:  # a sample without whole maps
        return None
    with torch.no_grad():  # its forward, so that nobody's hooks are called
        means = [_values(pool.forward(x.float())).mean().item() for x in (drop.y, drop.x)]
    return means[0], means[1]


def _values(pooled: Tensor | tuple[Tensor, ...]) -> Tensor:
    return pooled if isinstance(pooled, Tensor) else pooled[0]
