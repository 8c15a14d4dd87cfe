"""DRP105."""

from collections.abc import Iterator

from dropkit.auditing.declared import is_declared
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import at_rate


class DropoutAlwaysOn(Rule):
    """Dropout that stays on in eval mode by design.

    ## Why it matters
    Whoever serves the model should know that two calls on one input differ, and how to seed them.

    ## Instead
    Nothing, if it is so by design. To fix the masks, call the model inside ``dropkit.masks_at``.

    ## When it is fine
    Always: the module, its class, or a module around it declares it.
    """

    code, name, severity, since = "DRP105", "dropout-always-on", "info", "0.1"
    source = "Gal and Ghahramani 2016, ICML, arXiv:1506.02142; Shen et al. 2018, arXiv:1712.05884"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Declared sites that draw in eval."""
        for site in seen.sites:
            if site.draws_in_eval and is_declared(seen, site.module):
                yield self.finding(
                    site,
                    f"{site.kind} stays on by design: it draws{at_rate(site.rate)} in eval mode.",
                    evidence={"rate": site.rate},
                )
