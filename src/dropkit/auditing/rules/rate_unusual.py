"""DRP601."""

from collections import defaultdict
from collections.abc import Iterator

from dropkit.auditing.finding import Finding
from dropkit.auditing.kinds import Usual, usual_for
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule

#: A rate above this one is as often meant as the chance to be kept.
_MAY_BE_KEPT = 0.8


class RateUnusual(Rule):
    """A rate far above what networks of its kind are trained with.

    ## Why it matters
    Nobody's experiments speak for it. Rates come over from another kind of network (0.5 belongs to
    wide fully connected layers, not to a transformer), or from a library in which the number is
    the chance to be *kept*: 0.9 there is 0.1 here.

    ## Instead
    Begin within the range that the finding names, and measure: ``dropkit.Study`` compares rates on
    your data.

    ## When it is fine
    You have measured it. High rates pay where data are few and layers are wide.
    """

    code, name, severity, since = "DRP601", "rate-unusual", "info", "0.1"
    source = (
        "Srivastava et al. 2014, JMLR 15; Zaremba et al. 2014, arXiv:1409.2329; Vaswani et al. "
        "2017, NeurIPS; Devlin et al. 2019, NAACL; Hu et al. 2022, ICLR"
    )

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites whose rate is far above; those of one kind and rate are one finding."""
        found: dict[tuple[Usual, float], list[SeenSite]] = defaultdict(list)
        for site in seen.acting:
            usual = None if site.rate is None else usual_for(seen, site)
            if usual is not None and site.rate is not None and site.rate >= usual.far:
                found[usual, site.rate].append(site)
        for (usual, rate), sites in found.items():
            others = f", here and at {len(sites) - 1} more sites" if len(sites) > 1 else ""
            kept = ""
            if _MAY_BE_KEPT <= rate < 1.0:
                kept = f" If {rate:g} was to be the chance to keep, the rate is {1 - rate:.2g}."
            yield self.finding(
                sites[0],
                f"Drops at rate {rate:g}{others}; {usual.kind} are trained with {usual.low:g} to "
                f"{usual.high:g} ({usual.source}).{kept}",
                evidence={
                    "rate": rate,
                    "low": usual.low,
                    "high": usual.high,
                    "sites": [site.name for site in sites],
                },
                proved=False,
            )
