"""DRP201."""

import math
from collections.abc import Iterator

from torch import nn

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted
from dropkit.sites.code import reads

#: What PEFT's adapters say of themselves when they are not to act.
_OFF = ("merged", "disable_adapters")
_CONTAINERS = (nn.ModuleList, nn.ModuleDict)


class RateNeverApplied(Rule):
    """A drop rate on a module that no run applies.

    ## Why it matters
    The model is trained without the dropout that its author believes it has: a dropout module is
    built and never called, or a rate is stored and no path of the forward uses it.

    ## Instead
    Call the module, or hand the rate to what drops; else remove it.

    ## When it is fine
    Where another batch goes another way. A rate from which other modules were built is not
    reported, nor is anything in a part that did not run.
    """

    code, name, severity, since = "DRP201", "rate-never-applied", "warning", "0.1"
    source = "https://github.com/huggingface/pytorch-openai-transformer-lm/issues/49"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Rates above 0 in parts that ran in training mode, which no call of the run had."""
        for site in seen.sites:
            source = site.source
            if source is None or not site.rate or site.in_training or not source.acts:
                continue
            if source.is_whole:
                yield from self._never_called(seen, site)
            elif seen.training.run.n_calls.get(source.module):
                yield from self._unused(seen, site, source.attribute)

    def _never_called(self, seen: Observations, site: SeenSite) -> Iterator[Finding]:
        if seen.training.run.n_calls.get(site.module):
            return  # it drops in a way of its own
        owners = [one for one in seen.ancestors(site.module)[1:] if type(one) not in _CONTAINERS]
        owner = owners[0] if owners else None
        n_calls = 0 if owner is None else seen.training.run.n_calls.get(owner, 0)
        if owner is None or not n_calls or any(getattr(owner, name, False) for name in _OFF):
            return
        yield self.finding(
            site,
            f"{site.kind}(p={site.rate:g}) is never called, though {type(owner).__name__} ran "
            f"{counted(n_calls, 'time', 'times')}.",
            evidence={"rate": site.rate, "calls_of_owner": n_calls},
        )

    def _unused(self, seen: Observations, site: SeenSite, attribute: str) -> Iterator[Finding]:
        is_read = reads(type(site.module), attribute)
        # what nobody reads may be a note of what the layer around it does
        around = seen.ancestors(site.module)[: 1 if is_read else 2]
        if _is_used_within(seen, site, around[-1]):
            return
        how = "no call of this run had it" if is_read else "no method reads it"
        yield self.finding(
            site,
            f"The rate {site.rate:g} in `{attribute}` acts nowhere: {how}.",
            evidence={"rate": site.rate, "is_read": is_read},
            severity="info" if is_read else "warning",
        )


def _is_used_within(seen: Observations, site: SeenSite, part: nn.Module) -> bool:
    """Whether something in `part` drops at this rate, and so was built from it."""
    within = set(part.modules())
    return any(
        other.module in within
        and other.in_training
        and other.rate is not None
        and math.isclose(other.rate, site.rate or 0.0, rel_tol=1e-6)
        for other in seen.sites
    )
