"""DRP204."""

from collections.abc import Iterator

from torch.nn.modules.dropout import _DropoutNd

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import counted


class RateZeroLeftOver(Rule):
    """Dropout modules at rate 0 beside others of their kind that drop.

    ## Why it matters
    A rate that never reached its module, or was switched off for an experiment, looks like this.
    The model has less dropout than its code suggests.

    ## Instead
    Set the rate, or remove the module.

    ## When it is fine
    Where these sites are meant to be off, as by ``dropkit.set_rates``.
    """

    code, name, severity, since = "DRP204", "rate-zero-left-over", "info", "0.1"
    source = "https://github.com/OpenNMT/OpenNMT-py/issues/321"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Modules that are called at rate 0, where others of the class drop."""
        own = [site for site in seen.sites if isinstance(site.module, _DropoutNd)]
        dropping = {type(site.module) for site in own if site.draws_in_training}
        idle = [
            site
            for site in own
            if site.rate == 0.0
            and type(site.module) in dropping
            and seen.training.run.n_calls.get(site.module)
        ]
        if idle:
            total = sum(type(site.module) in dropping for site in own)
            yield self.finding(
                idle[0],
                f"{counted(len(idle), 'dropout module', 'dropout modules')} of {total} "
                f"{'is' if len(idle) == 1 else 'are'} called at rate 0.",
                evidence={"sites": [site.name for site in idle], "of": total},
            )
