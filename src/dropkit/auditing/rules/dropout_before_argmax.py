"""DRP208."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.operations import DIRECT
from dropkit.auditing.rule import Rule
from dropkit.auditing.words import at_rate

_ORDER_KEPT = DIRECT | {"softmax"}


class DropoutBeforeArgmax(Rule):
    """Dropout whose output is only used to choose by size.

    ## Why it matters
    No gradient comes back through an argmax, so nothing learns from the masks: the choice is made
    among fewer candidates in training, and that is all.

    ## Instead
    Choose from the values before the dropout.

    ## When it is fine
    Where choices are to be random on purpose, and a dropout stands in for sampling.
    """

    code, name, severity, since = "DRP208", "dropout-before-argmax", "warning", "0.1"
    source = "https://docs.pytorch.org/docs/stable/generated/torch.argmax.html"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites that reach an argmax directly, and whatever else through it alone."""
        for site in seen.sites:
            if not site.draws_in_training:
                continue
            chosen = seen.edges(site, "argmax", only=_ORDER_KEPT)
            rest = [edge for edge in seen.edges(site) if edge.kind not in ("argmax", "softmax")]
            if chosen and not any("argmax" not in edge.through for edge in rest):
                yield self.finding(
                    site,
                    f"What {site.kind} drops{at_rate(site.rate)} goes to `{chosen[0].name}` and "
                    "nowhere else.",
                    evidence={"rate": site.rate, "operator": chosen[0].name},
                )
