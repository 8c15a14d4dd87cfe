"""DRP301."""

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.auditing.finding import Finding
from dropkit.auditing.flow import Edge
from dropkit.auditing.observations import Observations, SeenSite
from dropkit.auditing.rule import Rule
from dropkit.auditing.variance import Shift, shift_at

#: What lies further away is reported from this ratio on: less may be the luck of one mask.
_FAR = 1.25
_RIGHT_BEHIND = frozenset({"shape", "scale"})
_CLOSE = _RIGHT_BEHIND | {"relu", "elementwise"}
#: Beside what else is added, or pooled, most of the variance may not be dropout's.
_IN_LINE = _CLOSE | {"linear", "dropout"}
#: What sets the variance anew, for each example.
_RESET = frozenset({"batch_norm", "norm", "softmax", "attention", "recurrent"})


class DropoutBeforeBatchNorm(Rule):
    """Dropout whose output reaches a batch norm.

    ## Why it matters
    Dropout makes the variance in training larger than in use, and the batch norm keeps that of
    training in its running statistics: right behind dropout it is ``(1 + p * mean^2 / variance) /
    (1 - p)`` times as large.

    ## Instead
    Move the dropout behind the last batch norm of the block, or lower the rate. As a last resort
    call ``dropkit.recalibrate_batch_norm(model, loader)`` after training, and compare the loss on
    held-out data: it does not always fall.

    ## When it is fine
    The rate is small, or the batch norm keeps no running statistics or is frozen.
    """

    code, name, severity, since = "DRP301", "dropout-before-batch-norm", "warning", "0.1"
    source = "Li et al. 2019, CVPR, arXiv:1801.05134"

    def check(self, seen: Observations) -> Iterator[Finding]:
        """Batch norms whose variance shifts, at the site that reaches them by the shortest way."""
        reaching: dict[_BatchNorm, list[tuple[SeenSite, Edge]]] = {}
        for site in seen.acting:
            for edge in seen.edges(site, "batch_norm", without=_RESET):
                norm = edge.module
                if isinstance(norm, _BatchNorm) and _learns_statistics(seen, norm):
                    reaching.setdefault(norm, []).append((site, edge))
        for norm, pairs in reaching.items():
            finding = self._shifted(seen, norm, pairs)
            if finding is not None:
                yield finding

    def _shifted(
        self, seen: Observations, norm: _BatchNorm, pairs: list[tuple[SeenSite, Edge]]
    ) -> Finding | None:
        site, edge = min(reversed(pairs), key=lambda pair: len(pair[1].through))
        is_close = edge.through <= _CLOSE
        shift = shift_at(seen, norm, _rate(site) if edge.through <= _RIGHT_BEHIND else None)
        if shift is None or "alpha" in site.kind.lower():  # made to keep mean and variance
            return None
        if shift.expected is None and shift.median <= (1.0 if is_close else _FAR):
            return None
        name = seen.name_of(norm)
        others = sorted({other.name for other, _ in pairs} - {site.name})
        beside = f" with {len(others)} other site{'s' * (len(others) > 1)}" if others else ""
        return self.finding(
            site,
            f"{'Feeds' if is_close else 'Reaches'} batch norm `{name}`{_at(site)}{beside}: the "
            f"variance there is {shift.told}.",
            evidence=_evidence(name, shift) | {"other_sites": others},
            severity=None if edge.through <= _IN_LINE else "info",
        )


def _learns_statistics(seen: Observations, norm: _BatchNorm) -> bool:
    """Whether it keeps running statistics, and is not frozen in training."""
    return norm.running_mean is not None and seen.training.modes.get(norm, True)


def _rate(site: SeenSite) -> float | None:
    """The rate of a mask that keeps the mean, for which there is a closed form."""
    rate = site.rate
    if rate is None or not 0.0 < rate < 1.0 or not site.drops:
        return None
    scale = site.drops[0].scale * site.drops[0].scale_after
    return rate if abs(scale * (1.0 - rate) - 1.0) < 0.02 else None


def _at(site: SeenSite) -> str:
    return "" if site.rate is None else f" at rate {site.rate:g}"


def _evidence(norm: str, shift: Shift) -> dict[str, object]:
    return {
        "batch_norm": norm,
        "ratio": shift.median,
        "ratio_low": shift.low,
        "ratio_high": shift.high,
        "channels": shift.channels,
        "closed_form": shift.expected,
    }
