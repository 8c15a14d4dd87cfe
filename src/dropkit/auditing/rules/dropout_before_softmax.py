"""DRP306."""

from collections.abc import Iterator

from dropkit.auditing.drops import Drop
from dropkit.auditing.finding import Finding
from dropkit.auditing.observations import Observations
from dropkit.auditing.rule import Rule
from dropkit.auditing.scales import scaling_of

_NOTHING_LEARNED = frozenset({"shape", "scale", "elementwise", "relu"})


class DropoutBeforeSoftmax(Rule):
    """Scores are dropped before a softmax turns them into shares.

    ## Why it matters
    A dropped score is zero, and zero is a score like any other: its share is ``exp(0)`` in place
    of nothing, more than that of every negative score. Those that are kept are scaled by ``1 /
    (1 - p)``, which makes the shares sharper in training than in use.

    ## Instead
    Drop the shares behind the softmax, as attention does, or what the scores are computed from.

    ## When it is fine
    What is dropped becomes minus infinity, as in DropKey; this is not reported.
    """

    code, name, severity, since = "DRP306", "dropout-before-softmax", "warning", "0.1"
    source = "Vaswani et al. 2017, NeurIPS, arXiv:1706.03762, for dropout behind the softmax"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Sites whose zeros reach a softmax with nothing learned between."""
        for site in seen.acting:
            edges = seen.edges(site, "softmax", only=_NOTHING_LEARNED)
            drop = next((one for one in site.drops if one.x is not None), None)
            if not edges or drop is None or scaling_of(drop) is None:
                continue
            module, share = edges[0].module, _outranked(drop)
            name = "" if module is None else seen.name_of(module)
            yield self.finding(
                site,
                f"Feeds a softmax{_in(name)} with scores of which dropped "
                f"ones are zero: {share:.0%} of the kept ones lie below that.",
                evidence={"below_zero": share, "rate": site.rate},
            )


def _outranked(drop: Drop) -> float:
    """The share of kept scores that a dropped one, a zero, outranks."""
    if drop.x is None or drop.y is None:
        return 0.0
    kept = drop.y[drop.y != 0]
    return float((kept < 0).double().mean())


def _in(name: str) -> str:
    return f" in `{name}`" if name else ""
