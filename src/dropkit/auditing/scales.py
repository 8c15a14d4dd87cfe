"""By how much the model multiplies what a mask keeps, and whether the mean stays what it was."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dropkit.auditing.drops import Drop
from dropkit.auditing.expectation import Interval, keep_interval
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.sites.draws import UNIFORM

#: How far two factors of one number may lie apart, in units of the rounding of its type.
_ROUNDINGS = 8


@dataclass(frozen=True)
class Scaling:
    """What a mask does to what it keeps, as one run in training mode showed it.

    Attributes:
        factor: By which it is multiplied; the same for all that is kept.
        n_kept: Independent elements of the mask that were kept.
        n: And how many there were.
        slack: How much rounding can change a factor, as a share.
    """

    factor: float
    n_kept: int
    n: int
    slack: float

    @property
    def keep(self) -> Interval:
        """Where the chance to be kept lies."""
        return keep_interval(self.n_kept, self.n)

    @property
    def mean(self) -> Interval:
        """Where the mean over masks lies, as a share of what came in."""
        keep = self.keep
        return Interval(keep.low * self.factor, keep.high * self.factor)

    def is_near(self, factor: float) -> bool:
        """Whether the factor is this one, up to rounding."""
        return abs(self.factor - factor) <= self.slack * abs(factor)


@dataclass(frozen=True)
class Biased:
    """A site whose mean in training is not what comes in.

    Attributes:
        site: The site.
        scaling: With all plain factors that only training has.
    """

    site: SeenSite
    scaling: Scaling

    @property
    def is_unscaled(self) -> bool:
        """Whether what is kept stays as it is."""
        return self.scaling.is_near(1.0)

    @property
    def is_scaled_twice(self) -> bool:
        """Whether the factor is that of the rate, squared."""
        low, high = self.scaling.keep
        root = self.scaling.factor**0.5
        return Interval(low * root, high * root).holds(1.0, self.scaling.slack)

    @property
    def evidence(self) -> dict[str, object]:
        """The numbers by name."""
        one = self.scaling
        numbers = {"factor": one.factor, "kept": one.n_kept, "elements": one.n}
        return numbers | {"mean": one.factor * one.n_kept / one.n, "interval": list(one.mean)}

    def told(self) -> str:
        """The numbers for people."""
        one, (low, high) = self.scaling, self.scaling.mean
        return (
            f"{one.n_kept:,} of {one.n:,} elements were kept, so that the mean in training is "
            f"{low:.3g} to {high:.3g} times that in eval"
        )


def biased_sites(seen: Observations) -> Iterator[Biased]:
    """The sites at which the mean in training cannot be that in use; each once.

    Where the code makes up for it elsewhere, or may, a site is left out.
    """
    training, use = seen.training.flow.factors, seen.evaluation.flow.factors
    only_training, only_use = _numbers(training - use), _numbers(use - training)
    for site in seen.acting:
        if _is_made_up_for(seen, site):
            continue
        for drop in site.drops:
            scaling = _biased(drop, only_training, only_use, _numbers(use))
            if scaling is not None and not _is_filled_up(drop, seen.training.drops):
                yield Biased(site, scaling)
                break


def shrunk_in_eval(seen: Observations) -> Iterator[tuple[SeenSite, Scaling, float]]:
    """Sites at which training scales by the rate and eval shrinks by it, and the factor of eval.

    It is looked for in the module whose code drops, and in the one around it.
    """
    training, use = seen.training.flow.factors, seen.evaluation.flow.factors
    only_training, only_use = _numbers(training - use), use - training
    for site in seen.acting:
        near = seen.ancestors(site.module)[:2]
        factors = {factor for module, factor in only_use if module in near and factor < 1.0}
        if not factors:
            continue
        for drop in site.drops:
            scaling = _with_factors(drop, only_training)
            if scaling is None:
                continue
            undone = [factor for factor in factors if scaling.is_near(1.0 / factor)]
            if undone and scaling.mean.holds(1.0, scaling.slack):
                yield site, scaling, undone[0]
                break


def _numbers(factors: Counter[tuple[nn.Module | None, float]]) -> set[float]:
    """The numbers, wherever the multiplication stands."""
    return {factor for _, factor in factors}


def scaling_of(drop: Drop) -> Scaling | None:
    """What the mask alone did; None where it is no mask of zeros and one other number."""
    x, y = drop.x, drop.y
    if x is None or y is None or not x.is_floating_point() or not bool(y.isfinite().all()):
        return None
    is_seen = (x != 0) & x.isfinite()
    kept, dropped = is_seen & (y != 0), is_seen & (y == 0)
    if not kept.any() or not dropped.any():
        return None
    ratios = y[kept].double() / x[kept].double()
    slack = _ROUNDINGS * torch.finfo(x.dtype).eps
    factor = float(ratios.median())
    if factor <= 0.0 or bool(((ratios - factor).abs() > slack * factor).any()):
        return None
    return Scaling(factor, *counted_apart(kept, dropped), slack)


def counted_apart(kept: Tensor, dropped: Tensor) -> tuple[int, int]:
    """How many independent elements were kept, and how many there are.

    Elements along a dimension in which no two differ are taken for one.
    """
    for dim in range(kept.dim()):
        any_kept, any_dropped = kept.any(dim, keepdim=True), dropped.any(dim, keepdim=True)
        if not (any_kept & any_dropped).any():
            kept, dropped = any_kept, any_dropped
    return int(kept.sum()), int((kept | dropped).sum())


def is_by_hand(drop: Drop) -> bool:
    """Whether the mask was made of random numbers in the model's own code."""
    function = drop.event.function
    return function in UNIFORM or function.startswith("bernoulli")


def drops_by_element(drop: Drop | None) -> bool:
    """Whether each element of what went in was kept or dropped by a decision of its own."""
    if drop is None or drop.x is None:
        return False
    scaling = scaling_of(drop)
    return scaling is not None and scaling.n == int((drop.x != 0).sum())


def _biased(
    drop: Drop, only_training: set[float], only_use: set[float], in_use: set[float]
) -> Scaling | None:
    """What the mask does with the plain factors beside it; None where the mean is as it should be.

    A factor that eval has too cancels out.
    """
    around = {factor for factor in (drop.scale_before, drop.scale_after) if factor != 1.0}
    own = around & only_training
    if not drop.has_grad or not around <= only_training | in_use or not (own or is_by_hand(drop)):
        return None
    whole = _with_factors(drop, only_training)
    if whole is None or any(whole.mean.holds(mean, whole.slack) for mean in {1.0, *only_use}):
        return None
    return whole


def _with_factors(drop: Drop, only_training: set[float]) -> Scaling | None:
    """What the mask does, with the factors just before and behind that only training has."""
    alone = scaling_of(drop)
    if alone is None:
        return None
    factor = alone.factor
    for beside in (drop.scale_before, drop.scale_after):
        factor *= beside if beside in only_training else 1.0
    return replace(alone, factor=factor)


def _is_made_up_for(seen: Observations, site: SeenSite) -> bool:
    """Whether what follows makes any factor the same, or may have a factor of its own.

    The first is a norm, or a sum to divide by; the second another mask.
    """
    behind = frozenset({"shape", "scale"})
    if seen.edges(site, "norm", only=behind):
        return True
    if any("scale" in edge.through for edge in seen.edges(site, "dropout", only=behind)):
        return True
    return any(edge.name == "sum" for edge in seen.edges(site, "reduce", only=behind))


def _is_filled_up(drop: Drop, drops: Iterable[Drop]) -> bool:
    """Whether something else stands where the mask drops: a token in place of what is masked."""
    others = [other for other in drops if other is not drop and other.event is drop.event]
    if len(others) >= 4:  # one mask for many steps, of which the first are kept to be looked at
        others = [other for other in others if other.x is not None]
    for other in others:
        if other.y is None or drop.y is None or other.y.shape != drop.y.shape:
            return True
        if not ((other.y != 0) & (drop.y != 0)).any():
            return True
    return False
