"""DRP602."""

from collections.abc import Iterator
from statistics import median

import torch

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule

#: From where on each is strong. Decay is decoupled from the gradient in AdamW, and else is not.
_RATE = 0.3
_DECOUPLED, _COUPLED = 0.1, 1e-3


class DropoutWithWeightDecay(Rule):
    """Strong dropout and strong weight decay in one training.

    ## Why it matters
    To first order dropout *is* a penalty on squared weights, one that adapts to the data. Both at
    full strength shrink the same weights twice, and a search over one of them says little about
    the other: the best rate without decay is not the best rate with it.

    ## Instead
    Search both together, or weaken one: ``dropkit.Study`` takes arms with a rate and a decay each.

    ## When it is fine
    You have measured both together. On small data sets the best pair may well be two strong ones.
    """

    code, name, severity, since = "DRP602", "dropout-with-weight-decay", "info", "0.1"
    source = "Wager et al. 2013, NeurIPS, arXiv:1307.1493"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """The middle rate of all sites, and the highest decay of the optimizer's matrices."""
        rates = [site.rate for site in seen.acting if site.rate is not None]
        if seen.optimizer is None or not rates:
            return
        decay, rate = _decay(seen.optimizer), median(rates)
        is_decoupled = _is_decoupled(seen.optimizer)
        if rate >= _RATE and decay >= (_DECOUPLED if is_decoupled else _COUPLED):
            kind = type(seen.optimizer).__name__
            yield self.finding(
                "",
                f"{kind} decays weights by {decay:g}, and the middle one of the rates "
                f"({len(rates)} in all) is {rate:g}.",
                evidence={"weight_decay": decay, "rate": rate, "decoupled": is_decoupled},
                proved=False,
            )


def _decay(optimizer: torch.optim.Optimizer) -> float:
    """The highest among the groups that hold a matrix: biases and norms are often left out."""
    return max(
        (
            float(group.get("weight_decay") or 0.0)
            for group in optimizer.param_groups
            if any(p.dim() > 1 for p in group["params"])
        ),
        default=0.0,
    )


def _is_decoupled(optimizer: torch.optim.Optimizer) -> bool:
    flag = optimizer.param_groups[0].get("decoupled_weight_decay")
    return bool(flag) if flag is not None else "adamw" in type(optimizer).__name__.lower()
