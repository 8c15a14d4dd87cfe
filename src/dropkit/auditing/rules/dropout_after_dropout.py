"""DRP302."""

from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import drops_by_element

_SAME_ELEMENTS = frozenset({"shape", "scale", "relu"})


class DropoutAfterDropout(Rule):
    """What one dropout has kept is dropped by another.

    ## Why it matters
    Two rates `a` and `b` in a row act as one rate of ``1 - (1 - a) * (1 - b)``, which no config
    shows: 0.5 twice is 0.75.

    ## Instead
    Keep one of the two, at the rate that is meant.

    ## When it is fine
    The two drop different things, such as single elements and whole branches.
    """

    code, name, severity, since = "DRP302", "dropout-after-dropout", "warning", "0.1"
    source = "Srivastava et al. 2014, JMLR 15, section 4: independent Bernoulli masks multiply"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Pairs of sites that drop single elements of one tensor, with nothing learned between."""
        for site in seen.acting:
            found = set()
            for edge in seen.edges(site, "dropout", only=_SAME_ELEMENTS):
                other = seen.site_of(edge.to)
                if other is None or other.name in found or not _drop_alike(site, other):
                    continue
                found.add(other.name)
                kept = [1.0 - rate for rate in (site.rate, other.rate) if rate is not None]
                if len(kept) < 2:
                    continue
                rate = 1.0 - kept[0] * kept[1]
                what = "itself" if other is site else f"`{other.name}` at rate {other.rate:g}"
                yield self.finding(
                    site,
                    f"What is kept at rate {site.rate:g} is dropped again by {what}: "
                    f"together they drop {rate:.3g}.",
                    evidence={"then": other.name, "rates": [site.rate, other.rate], "rate": rate},
                )


def _drop_alike(site: SeenSite, other: SeenSite) -> bool:
    """Whether both decide on each element of its own, of what went in and came out."""
    return all(one.drops and drops_by_element(one.drops[0]) for one in (site, other))
